package stage

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

// mapOwn maps our own ids alone.
func mapOwn(pid int) error {
	proc := "/proc/" + strconv.Itoa(pid) + "/"
	for _, file := range []struct{ name, text string }{
		{"setgroups", "deny"},
		{"uid_map", "0 " + strconv.Itoa(os.Geteuid()) + " 1\n"},
		{"gid_map", "0 " + strconv.Itoa(os.Getegid()) + " 1\n"},
	} {
		if err := os.WriteFile(proc+file.name, []byte(file.text), 0); err != nil {
			return err
		}
	}
	return nil
}

// An anchor that was not told to stay ends with its maker's word; one that was ends when it is killed, or the folder is removed in
// which it is written down.
func TestAnchor(t *testing.T) {
	left, err := Drop(mapOwn)
	if err != nil {
		t.Fatal(err)
	}
	if err := left.Abandon(); err != nil {
		t.Error(err)
	}
	gone(t, left)

	folder := t.TempDir() + "/node"
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	stays, err := Drop(mapOwn)
	if err != nil {
		t.Fatal(err)
	}
	if err := stays.Stay(folder); err != nil {
		t.Fatal(err)
	}
	if !linux.Alive(stays.PID, stays.Birth) {
		t.Fatal("it did not stay")
	}
	for _, kind := range []string{"user", "net"} {
		ours, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		its, err := os.Readlink("/proc/" + strconv.Itoa(stays.PID) + "/ns/" + kind)
		if err != nil || its == ours {
			t.Errorf("its %s namespace: %s, %v", kind, its, err)
		}
	}
	var open []string
	for range 5000 { // it answers before it closes the socket
		if open = openFiles(stays.PID); len(open) == 0 {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	if len(open) > 0 {
		t.Errorf("it has %q open", open)
	}
	if err := linux.KillProcess(stays.PID, stays.Birth, 9); err != nil {
		t.Error(err)
	}
	gone(t, stays)

	lost, err := Drop(mapOwn)
	if err == nil {
		err = lost.Stay(folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	if !linux.Alive(lost.PID, lost.Birth) {
		t.Error("it did not stay")
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Error(err)
	}
	gone(t, lost)
}

// openFiles are what the process has open, but for /dev/null and what has no name outside of Go's runtime.
func openFiles(pid int) (names []string) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	fds, err := os.ReadDir(dir)
	if err != nil { // another user's: there is nothing to be seen
		return nil
	}
	for _, fd := range fds {
		if target, err := os.Readlink(dir + fd.Name()); err == nil && target != "/dev/null" && !strings.HasPrefix(target, "anon") {
			names = append(names, target)
		}
	}
	return names
}

func gone(t *testing.T, a *Anchored) {
	t.Helper()
	for range 3000 {
		if !linux.Alive(a.PID, a.Birth) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("anchor %d is still there", a.PID)
}

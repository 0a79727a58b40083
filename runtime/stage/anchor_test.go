package stage

import (
	"os"
	"strconv"
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

// An anchor that was not told to stay ends with its maker's word; one that was ends when it is killed.
func TestAnchor(t *testing.T) {
	left, err := Drop(mapOwn)
	if err != nil {
		t.Fatal(err)
	}
	if err := left.Abandon(); err != nil {
		t.Error(err)
	}
	gone(t, left)

	stays, err := Drop(mapOwn)
	if err != nil {
		t.Fatal(err)
	}
	if err := stays.Stay(); err != nil {
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
	if fds, err := os.ReadDir("/proc/" + strconv.Itoa(stays.PID) + "/fd"); err == nil {
		for _, fd := range fds {
			if target, _ := os.Readlink("/proc/" + strconv.Itoa(stays.PID) + "/fd/" + fd.Name()); target != "/dev/null" && target[:min(4, len(target))] != "anon" {
				t.Errorf("it has %s open", target)
			}
		}
	}
	if err := linux.KillProcess(stays.PID, stays.Birth, 9); err != nil {
		t.Error(err)
	}
	gone(t, stays)
}

func gone(t *testing.T, a *Anchored) {
	t.Helper()
	for range 500 {
		if !linux.Alive(a.PID, a.Birth) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("anchor %d is still there", a.PID)
}

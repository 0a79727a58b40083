package pod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"codeberg.org/minipod/minipod/state"
)

// onSmallDisk runs the calling test once more, with a file system of 256 KB, and there it returns its folder. Elsewhere it is "".
func onSmallDisk(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("FULL_DISK"); dir != "" {
		return dir
	}
	cmd := exec.Command("sh", "-c", `mount -t tmpfs -o size=256k none "$FULL_DISK" && exec "$0" -test.run="^$1\$"`, os.Args[0], t.Name())
	cmd.Env = append(os.Environ(), "FULL_DISK="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return ""
}

// fill writes to a file in dir until the disk is full.
func fill(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "volume"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return f
}

// A status can be written on a full disk, again and again, and changes at once for those who read it.
func TestStatusOnFullDisk(t *testing.T) {
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	text := func(i int) []byte {
		return fmt.Appendf(nil, `{"phase": "%d", "message": %q}`, i, strings.Repeat("m", 700*(i%20)))
	}
	check := func(i int) {
		t.Helper()
		var s Status
		if err := state.ReadJSON(filepath.Join(dir, statusFile), &s); err != nil || s.Phase != strconv.Itoa(i) || len(s.Message) != 700*(i%20) {
			t.Fatalf("status %d: %v, phase %q", i, err, s.Phase)
		}
	}
	r := reserve{dir}
	if err := r.put(statusFile, text(0)); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		f := fill(t, dir)
		for i := range 60 {
			if err := r.put(statusFile, text(i)); err != nil {
				t.Fatalf("round %d, status %d: %v", round, i, err)
			}
			check(i)
		}
		if err := r.put(statusFile, make([]byte, reserved+1)); !isFull(err) {
			t.Errorf("one that is too long: %v", err)
		}
		check(59)
		away := filepath.Join(dir, "away")
		if err := os.Rename(r.second(), away); err != nil {
			t.Fatal(err)
		}
		if err := r.put(statusFile, text(19)); !isFull(err) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without a reserve: %v", err)
		}
		check(59)
		if err := os.Rename(away, r.second()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Close(), os.Remove(f.Name()), r.put(statusFile, text(7))); err != nil {
			t.Fatal(err)
		}
		check(7)
		if info, err := os.Stat(filepath.Join(dir, statusFile)); err != nil || info.Size() >= reserved {
			t.Errorf("with room again it has %v, %v", info, err)
		}
	}
}

// A small status that became a reserve, since the first one was missing when the disk was full, has its whole room again once there is any.
func TestReserveIsToppedUp(t *testing.T) {
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	r := reserve{dir}
	if err := errors.Join(r.put(statusFile, []byte("{}")), os.Remove(r.first())); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f := fill(t, dir)
		if err := r.put(statusFile, []byte(`{"phase": "Failed"}`)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Close(), os.Remove(f.Name()), r.put(statusFile, []byte("{}"))); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{r.first(), r.second()} {
			if info, err := os.Stat(name); err != nil || info.Size() != reserved {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
		if err := os.Remove(r.first()); err != nil {
			t.Fatal(err)
		}
	}
}

// The pod that has filled the disk can be deleted.
func TestDeleteOnFullDisk(t *testing.T) {
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	dirs := state.Dirs{Data: dir}
	s, err := Create(dirs, &Pod{Metadata: Metadata{Name: "a", Namespace: "default"}, Spec: Spec{Containers: named("a")}}, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	uid := s.Metadata.UID
	f := fill(t, s.Dir())
	for _, grace := range []int64{20, 3, 10} { // the last is no faster
		if _, err := condemn(dirs, uid, &grace); err != nil {
			t.Fatal(err)
		}
		want := min(grace, 3)
		if grace == 20 {
			want = 20
		}
		if s, err = Get(dirs, uid); err != nil || s.Metadata.Deleted == nil || *s.Metadata.Grace != want || s.Metadata.Generation != 2 {
			t.Errorf("%v, %+v", err, s.Metadata)
		}
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name()), Change(dirs, uid, nil, func(*Pod) error { return nil })); err != nil {
		t.Fatal(err)
	}
	if s, err = Get(dirs, uid); err != nil || s.Metadata.Deleted == nil || *s.Metadata.Grace != 3 || s.Metadata.Generation != 3 {
		t.Errorf("with room again: %v, %+v", err, s.Metadata)
	}
}

package pod

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"codeberg.org/minipod/minipod/state"
)

// The pod that has filled the disk can be deleted.
func TestDeleteOnFullDisk(t *testing.T) {
	dir := os.Getenv("FULL_DISK")
	if dir == "" {
		cmd := exec.Command("sh", "-c", `mount -t tmpfs -o size=64k none "$FULL_DISK" && exec "$0" -test.run='^TestDeleteOnFullDisk$'`, os.Args[0])
		cmd.Env = append(os.Environ(), "FULL_DISK="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	dirs := state.Dirs{Data: dir}
	s, err := Create(dirs, &Pod{Metadata: Metadata{Name: "a", Namespace: "default"}, Spec: Spec{Containers: named("a")}}, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	uid := s.Metadata.UID
	f, err := os.Create(filepath.Join(s.Dir(), "volume"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
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

package linux

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCloneFails: what Clone made fails at once, perhaps before the one that cloned it has told of it. Both are waited for: a zombie
// would keep the last process of its pid namespace from ending.
func TestCloneFails(t *testing.T) {
	for range 300 {
		p := &Program{}
		p.Clone(0)
		p.Execve("/no/such/program", []string{"x"}, nil)
		child, err := Fork(0, p)
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Started(); !errors.Is(err, syscall.ENOENT) {
			t.Fatalf("started: %v", err)
		}
		if status, err := child.Wait(); err != nil || status.ExitStatus() != 125 {
			t.Fatalf("status %v, %v", status, err)
		}
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
			t.Fatalf("process %d is left: %v", pid, err)
		}
	}
}

// TestSpawnSession leaves nothing open that its caller has open, but for what it is given.
func TestSpawnSession(t *testing.T) {
	leaked, err := unix.Dup(0) // not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leaked)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = SpawnSession("/bin/sh", []string{"sh", "-c", "echo $(ls /proc/self/fd) >&3"}, w)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Wait4(-1, nil, 0, nil) }()
	buf := make([]byte, 100)
	n, err := r.Read(buf)
	if got := string(buf[:n]); err != nil || got != "0 1 2 3 4\n" && got != "0 1 2 3\n" { // the folder itself is one
		t.Errorf("open in there: %q, %v", got, err)
	}
}

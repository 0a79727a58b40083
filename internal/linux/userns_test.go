package linux

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// userNamespace makes a user namespace with our own id alone, which lives until the test ends, and opens it.
func userNamespace(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &Program{}
	p.WaitForByte(int(r.Fd()))
	child, err := Fork(NewUser, p)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() {
		w.Close()
		_ = child.Kill(syscall.SIGKILL)
		_ = child.Started()
		if _, err := child.Wait(); err != nil {
			t.Error(err)
		}
	})
	for name, text := range map[string]string{"uid_map": fmt.Sprintf("0 %d 1\n", os.Geteuid()), "setgroups": "deny"} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", child.PID, name), []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/gid_map", child.PID), []byte(fmt.Sprintf("0 %d 1\n", os.Getegid())), 0); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", child.PID))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestCloneMapped: the process is in a user namespace that is a child of the one that was joined, with the ids that were asked for.
func TestCloneMapped(t *testing.T) {
	parent := userNamespace(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p := &Program{}
	p.Setns(int(parent.Fd()), "user")
	p.CloneMapped(NewUser, []byte("0 0 1\n"), []byte("7 0 1\n"))
	p.WaitForByte(int(r.Fd()))
	child, err := Fork(0, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Cloned(); err != nil {
		t.Fatal(err)
	}
	proc := fmt.Sprintf("/proc/%d/", child.PID)
	for name, want := range map[string]string{"uid_map": fmt.Sprint("0 ", os.Geteuid(), " 1"), "gid_map": fmt.Sprint("7 ", os.Getegid(), " 1")} {
		data, err := os.ReadFile(proc + name)
		if got := strings.Join(strings.Fields(string(data)), " "); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	above, _, err := NamespaceOwner(proc + "ns/user")
	var st unix.Stat_t
	if err := errors.Join(err, unix.Fstat(int(parent.Fd()), &st)); err != nil || above != st.Ino {
		t.Errorf("its parent is %d and not %d: %v", above, st.Ino, err)
	}
	if err := errors.Join(child.Kill(syscall.SIGKILL), child.Started()); err != nil {
		t.Error(err)
	}
	if _, err := child.Wait(); err != nil {
		t.Error(err)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err == nil && pid != 0 {
		t.Errorf("process %d is left", pid)
	}
}

// TestCloneUnmapped: ids that the parent does not have can't be mapped, and Started says so.
func TestCloneUnmapped(t *testing.T) {
	parent := userNamespace(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p := &Program{}
	p.Setns(int(parent.Fd()), "user")
	p.CloneMapped(NewUser, []byte("0 5 1\n"), []byte("0 0 1\n"))
	p.WaitForByte(int(r.Fd()))
	child, err := Fork(0, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Cloned(); err != nil {
		t.Fatal(err)
	}
	var call *CallError
	if err := child.Started(); !errors.As(err, &call) || call.Call != "map ids" || call.Err != syscall.EPERM {
		t.Errorf("started: %v", err)
	}
	if err := child.Kill(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if _, err := child.Wait(); err != nil {
		t.Error(err)
	}
}

// A process that is to be cloned and is not: Cloned says why.
func TestNotCloned(t *testing.T) {
	p := &Program{}
	p.Setns(-1, "user")
	p.CloneMapped(NewUser, nil, nil)
	child, err := Fork(0, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Cloned(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("cloned: %v", err)
	}
	if _, err := child.Wait(); err != nil {
		t.Error(err)
	}
}

// An orphan is the child of whoever reaps orphans, and not ours.
func TestCloneOrphan(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fd, err := DupHigh(w)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	p := &Program{}
	p.Dup(fd, 1)
	p.CloneOrphan(NewUser)
	p.Execve("/bin/sh", []string{"sh", "-c", "echo $PPID; readlink /proc/self/ns/user"}, []string{"PATH=/usr/bin:/bin"})
	child, err := Fork(0, p)
	Close(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Release(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 256)
	text := ""
	for {
		n, err := r.Read(buf)
		text += string(buf[:n])
		if err != nil {
			break
		}
	}
	parent, namespace, _ := strings.Cut(strings.TrimSpace(text), "\n")
	ours, err := os.Readlink("/proc/self/ns/user")
	if err != nil || parent == "" || parent == fmt.Sprint(os.Getpid()) || namespace == ours || !strings.HasPrefix(namespace, "user:[") {
		t.Errorf("it says %q, and we are %d in %s", text, os.Getpid(), ours)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err == nil && pid != 0 {
		t.Errorf("process %d is ours to reap", pid)
	}
}

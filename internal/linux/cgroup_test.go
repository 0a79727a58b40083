package linux

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// forkEcho has fork run a program that prints its pid to the returned child's output.
func forkEcho(t *testing.T, fork func(*Program) (*Child, error)) (*Child, string, error) {
	t.Helper()
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
	prog := &Program{}
	prog.Dup(fd, 1)
	prog.Execve("/bin/sh", []string{"sh", "-c", "echo $$"}, nil)
	child, err := fork(prog)
	Close(fd)
	if err != nil {
		return nil, "", err
	}
	started := child.Started()
	text, err := io.ReadAll(r)
	status, waitErr := child.Wait()
	if err := errors.Join(started, err, waitErr); err != nil || status != 0 {
		t.Fatalf("%v, status %#x", err, status)
	}
	return child, strings.TrimSpace(string(text)), nil
}

// TestClone3 is ForkInto's way without the group: the kernel takes our struct, and fills in pid and pidfd.
func TestClone3(t *testing.T) {
	child, pid, err := forkEcho(t, func(p *Program) (*Child, error) {
		child, err := forkBy(&cloneArgs{}, 0, p)
		if err == nil {
			if _, fdErr := unix.FcntlInt(uintptr(child.pidfd), unix.F_GETFD, 0); fdErr != nil {
				t.Errorf("the pidfd %d: %v", child.pidfd, fdErr)
			}
		}
		return child, err
	})
	if errors.Is(err, syscall.ENOSYS) {
		t.Skip("clone3 is not there: Linux before 5.3, or a seccomp filter")
	}
	if err != nil || pid != strconv.Itoa(child.PID) {
		t.Errorf("the child says that it is %s, want %+v, %v", pid, child, err)
	}
}

func TestForkInto(t *testing.T) {
	if _, pid, err := forkEcho(t, func(p *Program) (*Child, error) { return ForkInto(nil, 0, p) }); err != nil || pid == "" {
		t.Errorf("into no group: %q, %v", pid, err)
	}
	// A folder that is no group is refused by the kernel, and the error says by whom.
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	_, _, err = forkEcho(t, func(p *Program) (*Child, error) { return ForkInto(dir, 0, p) })
	if err == nil || !strings.Contains(err.Error(), "cgroup") {
		t.Errorf("into an ordinary folder: %v", err)
	}
	_, _, err = forkEcho(t, func(p *Program) (*Child, error) { return ForkInto(dir, unix.CLONE_NEWCGROUP, p) })
	if err == nil || !strings.Contains(err.Error(), "unshare") {
		t.Errorf("with a cgroup namespace: %v", err)
	}
}

// TestForkThenMove is what happens without clone3. A folder with a file stands in for the group.
func TestForkThenMove(t *testing.T) {
	name := t.TempDir()
	dir, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	_, _, err = forkEcho(t, func(p *Program) (*Child, error) { return forkThenMove(dir, 0, p) })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without cgroup.procs: %v", err)
	}
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("a child that could not be moved is still there: %v", err)
	}
	procs := filepath.Join(name, "cgroup.procs")
	if err := os.WriteFile(procs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	child, pid, err := forkEcho(t, func(p *Program) (*Child, error) { return forkThenMove(dir, 0, p) })
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(procs); string(text) != pid || pid != strconv.Itoa(child.PID) {
		t.Errorf("cgroup.procs got %q, the child is %s", text, pid)
	}
}

// TestUnshare: a user namespace needs no privileges, and everything else comes with it.
func TestUnshare(t *testing.T) {
	if err := TryUserns(); err != nil {
		t.Skipf("no user namespaces: %v", err)
	}
	ours, err := os.Readlink("/proc/self/ns/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	output, _, started := run(t, func(out int, p *Program) {
		p.Dup(out, 1)
		p.Unshare(unix.CLONE_NEWUSER | unix.CLONE_NEWCGROUP)
		p.Execve("/bin/readlink", []string{"readlink", "/proc/self/ns/cgroup"}, nil)
		if name := p.Calls()[1]; name != "unshare(CLONE_NEWUSER|CLONE_NEWCGROUP)" {
			t.Errorf("it is told as %s", name)
		}
	})
	if started != nil || !strings.HasPrefix(output, "cgroup:") || output == ours+"\n" {
		t.Errorf("%v, in %q, we in %q", started, output, ours)
	}
}

func TestWaitChangedGivesUp(t *testing.T) {
	f, err := os.Open("/proc/self/mounts") // reports its changes as cgroup.events does
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.ReadAll(f); err != nil {
		t.Fatal(err)
	}
	if changed, err := WaitChanged(int(f.Fd()), 20*time.Millisecond); changed || err != nil {
		t.Errorf("%t, %v", changed, err)
	}
}

func TestBlockDevice(t *testing.T) {
	for _, path := range []string{"/dev/null", "/", "/no/such/disk"} {
		if _, _, err := BlockDevice(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

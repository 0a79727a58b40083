package cgroup

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	stdruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// realGroup makes a group on this machine, with limits where their controllers are there.
func realGroup(t *testing.T, r *specs.LinuxResources) *Group {
	t.Helper()
	stdruntime.LockOSThread()
	t.Cleanup(stdruntime.UnlockOSThread)
	g, err := New(Options{ID: linux.RandomID(), Description: "minipod's test", Resources: r})
	var missing *MissingController
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNoV2) || errors.Is(err, ErrNotDelegated) || errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("%v (%s)", err, hint.Of(err))
	}
	t.Cleanup(func() {
		if err := errors.Join(g.Kill(), g.Remove(), g.Remove()); err != nil {
			t.Error(err)
		}
		if _, err := Load(g.Path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Remove: %v", err)
		}
	})
	return g
}

// in starts a shell in the group, born there.
func in(t *testing.T, g *Group, script string, namespaces uintptr) (*linux.Child, io.Reader) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	fd, err := linux.DupHigh(w)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	dir, err := g.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	prog := &linux.Program{}
	if namespaces != 0 {
		prog.Unshare(namespaces)
	}
	prog.Dup(fd, 1)
	prog.Execve("/bin/sh", []string{"sh", "-c", script}, []string{"PATH=/usr/bin:/bin"})
	child, err := linux.ForkInto(dir, 0, prog)
	linux.Close(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Started(); err != nil {
		t.Fatal(err)
	}
	return child, r
}

func output(t *testing.T, child *linux.Child, r io.Reader) (string, syscall.WaitStatus) {
	t.Helper()
	text, err := io.ReadAll(r)
	status, waitErr := child.Wait()
	if err := errors.Join(err, waitErr); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text)), status
}

// TestGroup is a container's life in its group, on the kernel: birth, freeze, counts, death.
func TestGroup(t *testing.T) {
	g := realGroup(t, nil)
	t.Logf("%s has %q", g.Path, g.Controllers())
	child, r := in(t, g, "cat /proc/self/cgroup; cat /proc/1/cgroup >&2", 0)
	if text, _ := output(t, child, r); !strings.HasSuffix(g.Path, strings.TrimPrefix(text, "0::")) || !strings.HasSuffix(text, "/container") {
		t.Errorf("born in %s, want %s", text, g.Path)
	}
	const ns = 6 // CLONE_NEWCGROUP in linux.Namespaces
	child, r = in(t, g, "cat /proc/self/cgroup", linux.Namespaces[0].Flag|linux.Namespaces[ns].Flag)
	if text, _ := output(t, child, r); text != "0::/" {
		t.Errorf("in a cgroup namespace of its own it sees %s", text)
	}

	child, _ = in(t, g, "while :; do :; done", 0)
	loaded, err := Load(g.Path)
	if err != nil {
		t.Fatal(err)
	}
	if pids, err := loaded.Pids(); err != nil || !slices.Equal(pids, []int{child.PID}) {
		t.Errorf("%v, %v; want %d", pids, err, child.PID)
	}
	if err := loaded.Freeze(); err != nil {
		t.Fatal(err)
	}
	usage := func() time.Duration {
		s, err := loaded.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return s.CPU.Usage
	}
	before := usage()
	time.Sleep(100 * time.Millisecond)
	if after := usage(); after != before || before == 0 {
		t.Errorf("frozen it used %v, then %v", before, after)
	}
	if frozen, err := g.Frozen(); !frozen || err != nil {
		t.Errorf("%t, %v", frozen, err)
	}
	if err := g.removeContainer(20 * time.Millisecond); !errors.Is(err, linux.EBUSY) {
		t.Errorf("removed with a process in it: %v", err)
	}
	if err := loaded.Thaw(); err != nil {
		t.Error(err)
	}
	if err := loaded.Freeze(); err != nil {
		t.Error(err)
	}
	if err := loaded.Kill(); err != nil { // frozen as it is
		t.Error(err)
	}
	if status, err := child.Wait(); err != nil || status.Signal() != syscall.SIGKILL {
		t.Errorf("%#x, %v", status, err)
	}
	if err := g.Renew(nil); err != nil {
		t.Error(err)
	}
	if s, err := g.Stats(); err != nil || s.CPU.Usage != 0 {
		t.Errorf("renewed: %+v, %v", s, err)
	}
}

// TestLimits has each limit bite.
func TestLimits(t *testing.T) {
	r := memory(32<<20, 32<<20, 0)
	r.Pids = &specs.LinuxPids{Limit: p(int64(20))}
	g := realGroup(t, r)
	child, out := in(t, g, `cat /dev/zero | head -c 100000000 | tail >/dev/null; echo survived`, 0)
	text, _ := output(t, child, out)
	kills, err := g.OOMKills()
	if s, statsErr := g.Stats(); err != nil || statsErr != nil || kills == 0 || s.Memory.Limit != 32<<20 {
		t.Errorf("%q; %d kills, %v; %+v, %v", text, kills, err, s, statsErr)
	}
	child, out = in(t, g, `i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done 2>/dev/null; echo all`, 0)
	output(t, child, out)
	if s, err := g.Stats(); err != nil || s.Pids.Refused == 0 || s.Pids.Limit != 20 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	if err := g.Set(memory(64<<20, -1, 0)); err != nil {
		t.Error(err)
	}
	if text, err := read(g.Path, "memory.max"); err != nil || text != strconv.Itoa(64<<20) {
		t.Errorf("changed to %s, %v", text, err)
	}
}

// TestProcessors needs controllers that systemd hands down when told only: without them, the error says so.
func TestProcessors(t *testing.T) {
	first := realGroup(t, nil)
	have := first.Controllers() // it goes when we, its supervisor, move on
	if slices.Contains(have, "cpuset") {
		err := first.Set(cpu(specs.LinuxCPU{Cpus: "4000"}))
		if err == nil || !strings.Contains(err.Error(), "4000 is not available") || hint.Of(err) == "" {
			t.Errorf("a processor that nobody has: %v (%s)", err, hint.Of(err))
		}
	}
	for controller, r := range map[string]*specs.LinuxResources{
		"cpu":    cpu(specs.LinuxCPU{Quota: p(int64(10_000)), Shares: p(uint64(512))}),
		"cpuset": cpu(specs.LinuxCPU{Cpus: "0"}),
		"io":     {BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: throttle(7, 0, 1<<20)}},
	} {
		t.Run(controller, func(t *testing.T) {
			if !slices.Contains(have, controller) {
				_, err := New(Options{ID: linux.RandomID(), Resources: r})
				var missing *MissingController
				if !errors.As(err, &missing) || !slices.Equal(missing.Controllers, []string{controller}) || hint.Of(err) == "" {
					t.Errorf("%v (%s)", err, hint.Of(err))
				}
				t.Logf("%v (%s)", err, hint.Of(err))
				return
			}
			g := realGroup(t, r)
			if controller != "cpu" {
				return
			}
			child, _ := in(t, g, "while :; do :; done", 0)
			time.Sleep(500 * time.Millisecond)
			s, err := g.Stats()
			if err != nil || s.CPU.Throttled == 0 || s.CPU.ThrottledTime == 0 {
				t.Errorf("%+v, %v", s, err)
			}
			if err := g.Kill(); err != nil {
				t.Error(err)
			}
			child.Wait()
		})
	}
}

// TestParent makes groups where the user says: in a slice of systemd's, and below any group that is ours.
func TestParent(t *testing.T) {
	g := realGroup(t, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: p(int64(1000))}})
	parent := strings.TrimPrefix(g.Path, "/sys/fs/cgroup")
	inner, err := New(Options{ID: linux.RandomID(), Parent: parent, Resources: &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: p(int64(9))}}})
	if err != nil {
		t.Fatalf("%v (%s)", err, hint.Of(err))
	}
	if dir := filepath.Dir(inner.base); dir != g.Path || inner.Unit != "" {
		t.Errorf("%+v is not below %s", inner, g.Path)
	}
	if text, err := read(inner.Path, "pids.max"); text != "9" || err != nil {
		t.Errorf("pids.max is %s, %v", text, err)
	}
	if err := inner.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(inner.base); !errors.Is(err, fs.ErrNotExist) { // the supervisor went back to where it was
		t.Errorf("something is left: %v", err)
	}

	if _, err := New(Options{ID: linux.RandomID(), Parent: "/"}); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("below the root: %v", err)
	}
	if g.Unit == "" {
		return
	}
	sliced, err := New(Options{ID: linux.RandomID(), Parent: "minipodtest.slice"})
	if err != nil {
		t.Fatalf("%v (%s)", err, hint.Of(err))
	}
	if !strings.Contains(sliced.Path, "/minipodtest.slice/") {
		t.Errorf("%s is not in the slice", sliced.Path)
	}
	if err := sliced.Remove(); err != nil {
		t.Error(err)
	}
}

// TestAttach moves a process that was started elsewhere.
func TestAttach(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	g := realGroup(t, nil)
	if err := g.Attach(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.Pids(); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("%v, %v; want %d", pids, err, cmd.Process.Pid)
	}
	g.Kill()
	cmd.Wait()
}

// TestTwice: a second start of the same container waits for the scope of the first to go.
func TestTwice(t *testing.T) {
	id := linux.RandomID()
	sleeper := func() *exec.Cmd {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	first := sleeper()
	_, err := New(Options{ID: id, PID: first.Process.Pid})
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	first.Process.Kill()
	first.Wait()
	second := sleeper()
	g, err := New(Options{ID: id, PID: second.Process.Pid})
	if err != nil {
		t.Fatal(err)
	}
	second.Process.Kill()
	second.Wait()
	if err := errors.Join(g.Remove(), g.Remove()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(g.base); g.Unit == "" && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its supervisor is dead, and %s still there: %v", g.base, err)
	}
}

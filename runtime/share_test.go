package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/spec"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// donor starts a container for others to join, which runs until stop.
func (w *world) donor(o spec.Options, share Shares) *box {
	w.Helper()
	cfg := w.config(o)
	cfg.Share = share
	b, err := w.start(cfg)
	w.must(err)
	w.must(errors.Join(b.SaveBundle(&cfg.Bundle), b.Save()))
	return b
}

func (b *box) stop() {
	b.w.Helper()
	b.w.must(b.sandbox.Signal(syscall.SIGKILL))
	_, _, err := b.end()
	b.w.must(err)
}

// idle waits to be killed. No shell becomes it: from its start on it is what a census sees.
var idle = spec.Options{Args: []string{"sleep", "60"}}

// ready ends a script that says that it has come this far, and waits to be killed then.
const ready = "echo ready; exec sleep 60"

func (b *box) awaitReady() {
	b.w.Helper()
	line := make([]byte, len("ready\n"))
	if _, err := b.output.Read(line); err != nil || string(line) != "ready\n" {
		b.w.Fatalf("the container said %q, %v", line, err)
	}
}

func namespaceOf(t *testing.T, pid int, kind string) string {
	t.Helper()
	text, err := os.Readlink(namespacePath(pid, kind))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var allKinds = []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}

// TestShare joins each kind of namespace alone, and all of them, and compares the inodes that the command sees with the other's.
func TestShare(t *testing.T) {
	onOverlay(t, func(w *world) {
		before := takeCensus(w.T)
		web := w.donor(idle, nil)
		every := Shares{}
		var cases []Shares
		for _, ns := range joinable {
			every[ns.kind] = web.ID
			cases = append(cases, Shares{ns.kind: web.ID})
		}
		running := takeCensus(w.T)
		for _, share := range append(cases, every) {
			cfg := w.config(sh("for ns in " + strings.Join(allKinds, " ") + "; do readlink /proc/self/ns/$ns; done"))
			cfg.Share = share
			status, output, err := w.run(cfg)
			got := strings.Fields(output)
			if err != nil || status != 0 || len(got) != len(allKinds) {
				w.Errorf("%v: status %d, %v, %q", share, status, err, output)
				continue
			}
			for i, kind := range allKinds {
				want := kind == "user"
				for _, ns := range joinable {
					want = want || ns.file == kind && share[ns.kind] != ""
				}
				if shared := got[i] == namespaceOf(w.T, web.PID, kind); shared != want {
					w.Errorf("%v: that %s is shared is %v, want %v", share, kind, shared, want)
				}
				if got[i] == namespaceOf(w.T, os.Getpid(), kind) {
					w.Errorf("%v: %s is the host's", share, kind)
				}
			}
			running.settles(w.T)
		}
		web.stop()
		before.settles(w.T, w.dirs.Containers())
	})
}

// TestShareIPC: what goes with an ipc namespace is /dev/shm, the same file system in both, and the message queues of POSIX. A volume of the
// user's there is what the user wants.
func TestShareIPC(t *testing.T) {
	onOverlay(t, func(w *world) {
		web := w.donor(sh("echo from web >/dev/shm/a; "+ready), nil)
		defer web.stop()
		web.awaitReady()
		share := Shares{specs.IPCNamespace: web.ID}
		device := func(box *box) uint64 {
			var st syscall.Stat_t
			w.must(syscall.Stat(fmt.Sprintf("/proc/%d/root/dev/shm", box.PID), &st))
			return st.Dev
		}
		side := w.donor(sh("cat /dev/shm/a; echo from side >/dev/shm/b; "+ready), share)
		text := make([]byte, 100)
		n, err := side.output.Read(text)
		for err == nil && !strings.HasSuffix(string(text[:n]), "ready\n") {
			var more int
			more, err = side.output.Read(text[n:])
			n += more
		}
		if err != nil || string(text[:n]) != "from web\nready\n" || device(web) != device(side) {
			w.Errorf("%q, %v; devices %x and %x", text[:n], err, device(web), device(side))
		}
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/dev/shm/b", web.PID)); string(text) != "from side\n" {
			w.Errorf("web sees %q, %v", text, err)
		}
		side.stop()

		if !few { // else this binary may need libraries
			for _, tt := range []struct{ verb, want string }{{"send", ""}, {"receive", "through a queue\n"}} {
				cfg := w.config(spec.Options{Args: []string{"/bin/queue", queueRole, tt.verb}})
				cfg.Share = share
				exe, err := os.Executable()
				w.must(err)
				cfg.Spec.Mounts = append(cfg.Spec.Mounts, specs.Mount{Destination: "/bin/queue", Type: "bind", Source: exe, Options: []string{"bind", "ro"}})
				w.want(cfg, 0, tt.want)
			}
		}

		cfg := w.config(sh("ls -A /dev/shm"))
		cfg.Share = share
		i := slices.IndexFunc(cfg.Spec.Mounts, func(m specs.Mount) bool { return m.Destination == shm })
		cfg.Spec.Mounts[i] = specs.Mount{Destination: shm, Type: "tmpfs", Source: "tmpfs"}
		w.want(cfg, 0, "")
	})
}

// queueRole is the first argument of this binary where it is a program in a container that sends or receives through a System V queue.
const queueRole = "runtime-test-queue"

func queue(verb string) error {
	const key, text = 4711, "through a queue\n"
	id, _, errno := syscall.Syscall(unix.SYS_MSGGET, key, unix.IPC_CREAT|0o600, 0)
	message := struct {
		kind int
		text [len(text)]byte
	}{kind: 1}
	switch {
	case errno != 0:
	case verb == "send":
		copy(message.text[:], text)
		_, _, errno = syscall.Syscall6(unix.SYS_MSGSND, id, uintptr(unsafe.Pointer(&message)), unsafe.Sizeof(message.text), unix.IPC_NOWAIT, 0, 0)
	default:
		_, _, errno = syscall.Syscall6(unix.SYS_MSGRCV, id, uintptr(unsafe.Pointer(&message)), unsafe.Sizeof(message.text), 0, unix.IPC_NOWAIT, 0)
		fmt.Print(string(message.text[:]))
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// TestShareUTS: the name is the other's, whatever the specification says.
func TestShareUTS(t *testing.T) {
	onOverlay(t, func(w *world) {
		o := idle
		o.Hostname = "pod"
		web := w.donor(o, nil)
		defer web.stop()
		cfg := w.config(sh("hostname"))
		cfg.Share = Shares{specs.UTSNamespace: web.ID}
		w.want(cfg, 0, "pod\n")
	})
}

// TestSharePIDs: the command lives among web's processes, under its own name and number, and the sandbox does not. Another command by way
// of exec does, too. What the command leaves ends with it; and all ends with web.
func TestSharePIDs(t *testing.T) {
	onOverlay(t, func(w *world) {
		before := takeCensus(w.T)
		web := w.donor(idle, nil)
		running := takeCensus(w.T)
		share := Shares{specs.PIDNamespace: web.ID}

		cfg := w.config(sh("tr '\\0' ' ' </proc/1/cmdline; set -- /proc/[0-9]*; echo $#; (setsid sleep 61 &) ; (trap '' HUP TERM; sleep 62) & exit 9"))
		cfg.Share = share
		w.want(cfg, 9, "minipod sandbox "+web.Name+" 3\n") // PID 1, web's sleep and sh
		running.settles(w.T)

		side := w.donor(idle, share)
		if namespaceOf(w.T, side.sandbox.PID, "pid") != namespaceOf(w.T, os.Getpid(), "pid") {
			w.Error("the sandbox is seen by web's processes")
		}
		bundle, err := LoadBundle(w.dirs, side.ID)
		w.must(err)
		r, theirs, err := os.Pipe()
		w.must(err)
		held, err := side.sandbox.Hold()
		w.must(err)
		child, _, err := Exec(held, bundle, ExecOptions{
			Args: []string{"sh", "-c", "readlink /proc/self/ns/pid; readlink /proc/self/ns/mnt"}, Stdio: [3]*os.File{theirs, theirs, theirs},
		})
		w.must(err)
		theirs.Close()
		w.must(held.Close())
		lines := bufio.NewScanner(r)
		for _, want := range []string{namespaceOf(w.T, web.PID, "pid"), namespaceOf(w.T, side.PID, "mnt")} {
			if lines.Scan(); lines.Text() != want {
				w.Errorf("exec is in %q, want %q", lines.Text(), want)
			}
		}
		r.Close()
		if status, err := child.Wait(); err != nil || status != 0 {
			w.Errorf("exec: %v, %v", status, err)
		}

		w.must(web.sandbox.Signal(syscall.SIGKILL))
		if status, _, err := side.end(); status != 137 || err != nil {
			w.Errorf("web has ended, and what lives among its processes ends with %d, %v", status, err)
		}
		_, _, err = web.end()
		w.must(err)
		before.settles(w.T, w.dirs.Containers())
	})
}

// TestShareWithSharer: who joins a container that has joined another is with both.
func TestShareWithSharer(t *testing.T) {
	w := newWorld(t, false, "overlay")
	web := w.donor(idle, nil)
	defer web.stop()
	side := w.donor(idle, Shares{specs.NetworkNamespace: web.ID, specs.PIDNamespace: web.ID, specs.IPCNamespace: web.ID})
	defer side.stop()
	cfg := w.config(sh("readlink /proc/self/ns/net; readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc"))
	cfg.Share = Shares{specs.NetworkNamespace: side.ID, specs.PIDNamespace: side.ID, specs.IPCNamespace: web.ID}
	w.want(cfg, 0, namespaceOf(t, web.PID, "net")+"\n"+namespaceOf(t, web.PID, "pid")+"\n"+namespaceOf(t, web.PID, "ipc")+"\n")
}

// TestShareRefused is every reason why a container can't join others. Nothing of it is left.
func TestShareRefused(t *testing.T) {
	w := newWorld(t, false, "overlay")
	before := takeCensus(t)
	web, other := w.donor(idle, nil), w.donor(idle, nil)
	ended := w.donor(sh("true"), nil)
	_, _, err := ended.waitOnly()
	w.must(err)
	ended.Status, ended.PID = StatusExited, 0
	w.must(ended.Save())
	stale := w.donor(idle, nil)
	stale.Birth++ // another process has its number by now
	w.must(stale.Save())
	running := takeCensus(t, w.dirs.Containers())
	for _, tt := range []struct {
		name   string
		share  Shares
		change func(*Config)
		want   string
	}{
		{"not running", Shares{specs.NetworkNamespace: ended.ID}, nil, "cannot join the network namespace of a non running container: " + ended.Name + " is exited"},
		{"removed", Shares{specs.IPCNamespace: strings.Repeat("e", 64)}, nil, "cannot join the ipc namespace of container eeeeeeeeeeee: no such container"},
		{"another process", Shares{specs.UTSNamespace: stale.ID}, nil, "has just ended"},
		{"two user namespaces", Shares{specs.NetworkNamespace: web.ID, specs.IPCNamespace: other.ID}, nil, "another user namespace"},
		{"no kind of ours", Shares{specs.TimeNamespace: web.ID}, nil, "of a kind that nobody knows"},
		{"PID 1", Shares{specs.PIDNamespace: web.ID}, func(c *Config) { c.Reaper = false }, "can't be PID 1"},
		{"tracers", Shares{specs.PIDNamespace: web.ID}, func(c *Config) {
			names := append(caps.Default.Names(), "CAP_SYS_PTRACE")
			c.Spec.Process.Capabilities.Bounding = names
		}, "with CAP_SYS_PTRACE, which it does not have itself"},
	} {
		cfg := w.config(sh("true"))
		cfg.Share = tt.share
		if tt.change != nil {
			tt.change(cfg)
		}
		_, _, err := w.run(cfg)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		} else if tt.name != "no kind of ours" && hint.Of(err) == "" {
			t.Errorf("%s: no hint", tt.name)
		}
		running.settles(t, w.dirs.Containers())
	}
	w.must(ended.Delete(w.removeInside))
	for _, b := range []*box{web, other, stale} {
		b.stop()
	}
	before.settles(t, w.dirs.Containers())
}

// TestShareTracing: a container that may trace can join one that may be traced.
func TestShareTracing(t *testing.T) {
	w := newWorld(t, false, "overlay")
	o := idle
	o.Capabilities = caps.Default | 1<<19
	web := w.donor(o, nil)
	defer web.stop()
	o = sh("cat /proc/1/maps >/dev/null && echo traced; grep CapBnd /proc/1/status")
	o.Capabilities = caps.Default | 1<<19
	cfg := w.config(o)
	cfg.Share = Shares{specs.PIDNamespace: web.ID}
	w.want(cfg, 0, "traced\nCapBnd:\t00000000a80c25fb\n")
}

// waitOnly is end without the removal.
func (b *box) waitOnly() (int, string, error) {
	status, err := b.sandbox.Wait()
	b.output.Close()
	return status, "", err
}

// TestSharerKilledAtEachStep is TestKilledAtEachStep for a container that joins everything of another: that one lives on, unharmed.
func TestSharerKilledAtEachStep(t *testing.T) {
	w := newWorld(t, false, "overlay")
	names := steps(w)
	web := w.donor(idle, nil)
	defer web.stop()
	before := takeCensus(t, w.dirs.Containers())
	family := descendants(t)
	for _, name := range names {
		cfg := w.config(terminal("sleep 60"))
		cfg.Share = Shares{}
		for _, ns := range joinable {
			cfg.Share[ns.kind] = web.ID
		}
		cfg.Pause = func(e stage.Event) error {
			if e.Step != name {
				return nil
			}
			for _, pid := range descendants(t) {
				if !slices.Contains(family, pid) {
					w.must(syscall.Kill(pid, syscall.SIGKILL))
				}
			}
			return nil
		}
		if _, _, err := w.run(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
		before.settles(t, w.dirs.Containers())
	}
}

// TestSharerSandboxKilled kills the sandbox of a container that lives among another's processes: its supervisor ends the rest.
func TestSharerSandboxKilled(t *testing.T) {
	w := newWorld(t, false, "overlay")
	web := w.donor(idle, nil)
	defer web.stop()
	before := takeCensus(t, w.dirs.Containers())
	side := w.donor(sh("(setsid sleep 60 >/dev/null 2>&1 &); sleep 60 >/dev/null 2>&1 & echo ready; wait"), Shares{specs.PIDNamespace: web.ID})
	side.awaitReady()
	w.must(syscall.Kill(side.sandbox.PID, syscall.SIGKILL))
	if status, _, err := side.end(); status != 137 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	before.settles(t, w.dirs.Containers())
}

// sharedVariable names the container that TestHeldSharer joins.
const sharedVariable = "MINIPOD_TEST_SHARED"

// TestHeldSharer is the helper process of TestSharerParentKilled.
func TestHeldSharer(t *testing.T) {
	held, id := os.Getenv(heldVariable), os.Getenv(sharedVariable)
	if held == "" || id == "" {
		return
	}
	w := newWorld(t, false, "overlay")
	cfg := w.config(terminal("trap '' TERM HUP INT; (trap '' HUP; setsid sleep 60 &); (trap '' HUP; sleep 60) & sleep 60"))
	cfg.Share = Shares{}
	for _, ns := range joinable {
		cfg.Share[ns.kind] = id
	}
	cfg.Pause = func(e stage.Event) error {
		if e.Step != held {
			return nil
		}
		fmt.Println("held")
		select {}
	}
	b, err := w.start(cfg)
	w.must(err)
	fmt.Println("held")
	_, _, err = b.end()
	w.must(err)
}

// TestSharerParentKilled ends the supervisor of a container that joins another's with SIGKILL, at each step and while the command runs. All
// of its processes end, although the pid namespace, which is the other's, does not.
func TestSharerParentKilled(t *testing.T) {
	adoptOrphans(t)
	w := newWorld(t, false, "overlay")
	names := steps(w)
	web := w.donor(idle, nil)
	defer web.stop()
	before := takeCensus(t, w.dirs.Containers())
	others := descendants(t)
	for _, step := range append(names, "running") {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestHeldSharer$")
		cmd.Env = append(os.Environ(), heldVariable+"="+step, sharedVariable+"="+web.ID, dataVariable+"="+w.dirs.Data)
		out, err := cmd.StdoutPipe()
		w.must(err)
		w.must(cmd.Start())
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
			t.Errorf("%s: %q, %v", step, line, err)
		}
		var family []int
		least := map[bool]int{true: 5, false: 2}[step == "running"] // supervisor, sandbox, command and two that sleep
		for range 3000 {
			family = slices.DeleteFunc(descendants(t), func(pid int) bool { return slices.Contains(others, pid) })
			if len(family) >= least {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if len(family) < least {
			t.Errorf("%s: only %v are there", step, family)
		}
		w.must(cmd.Process.Kill())
		_ = cmd.Wait()
		gone(t, step, family)
		left, _ := filepath.Glob(filepath.Join(w.dirs.Containers(), strings.Repeat("?", 64)))
		if len(left) != 2 {
			t.Errorf("%s: containers on disk: %v", step, left)
		}
		w.must(Sweep(w.dirs, w.removeInside, func(Record) error { return nil }))
		before.settles(t, w.dirs.Containers())
	}
}

// TestPlanOfPaths is the pure half: namespaces[].path decides what is set up, and what makes no sense is an error.
func TestPlanOfPaths(t *testing.T) {
	paths := func(paths map[specs.LinuxNamespaceType]string) *specs.Spec {
		s := &specs.Spec{Hostname: "own", Process: &specs.Process{Args: []string{"true"}}, Linux: &specs.Linux{Namespaces: spec.Namespaces()}}
		for i := range s.Linux.Namespaces {
			s.Linux.Namespaces[i].Path = paths[s.Linux.Namespaces[i].Type]
		}
		return s
	}
	for _, tt := range []struct {
		name     string
		spec     *specs.Spec
		hostname string
		loopback bool
		fails    string
	}{
		{"own", paths(nil), "own", true, ""},
		{"network", paths(map[specs.LinuxNamespaceType]string{specs.UserNamespace: "/u", specs.NetworkNamespace: "/n"}), "own", false, ""},
		{"uts", paths(map[specs.LinuxNamespaceType]string{specs.UserNamespace: "/u", specs.UTSNamespace: "/n"}), "", true, ""},
		{"no user", paths(map[specs.LinuxNamespaceType]string{specs.UTSNamespace: "/n"}), "", false, "the user namespace that owns it"},
		{"mounts", paths(map[specs.LinuxNamespaceType]string{specs.UserNamespace: "/u", specs.MountNamespace: "/n"}), "", false, "join the mount namespace /n"},
		{"cgroup", paths(map[specs.LinuxNamespaceType]string{specs.UserNamespace: "/u", specs.CgroupNamespace: "/n"}), "", false, "join the cgroup namespace /n"},
	} {
		p, err := planOf(tt.spec, manyIDs, manyIDs)
		switch {
		case tt.fails != "":
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s: %v", tt.name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case p.Hostname != tt.hostname || p.Loopback != tt.loopback:
			t.Errorf("%s: hostname %q, loopback %v", tt.name, p.Hostname, p.Loopback)
		}
	}
}

// TestWithPaths writes a start's processes into a specification, and leaves the one on disk alone.
func TestWithPaths(t *testing.T) {
	s := &specs.Spec{
		Linux:  &specs.Linux{Namespaces: spec.Namespaces()},
		Mounts: []specs.Mount{{Destination: "/dev/shm", Type: "tmpfs", Source: "shm"}, {Destination: "/dev/shm", Type: "bind", Source: "/x"}},
	}
	web, db := &donor{Record: Record{PID: 10}}, &donor{Record: Record{PID: 20}}
	got := withPaths(s, web, map[specs.LinuxNamespaceType]*donor{specs.NetworkNamespace: web, specs.IPCNamespace: db}, true)
	found := map[specs.LinuxNamespaceType]string{}
	for _, ns := range got.Linux.Namespaces {
		if ns.Path != "" {
			found[ns.Type] = ns.Path
		}
	}
	want := map[specs.LinuxNamespaceType]string{"user": "/proc/10/ns/user", "network": "/proc/10/ns/net", "ipc": "/proc/20/ns/ipc"}
	if !maps.Equal(found, want) {
		t.Errorf("%v, want %v", found, want)
	}
	if got.Mounts[0].Source != "/proc/20/root/dev/shm" || got.Mounts[1].Source != "/x" {
		t.Errorf("%+v", got.Mounts)
	}
	for _, ns := range s.Linux.Namespaces {
		if ns.Path != "" || s.Mounts[0].Type != "tmpfs" {
			t.Errorf("it changed what it was given: %+v", s)
		}
	}
}

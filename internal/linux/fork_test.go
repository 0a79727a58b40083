package linux

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	stdruntime "runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// guardVariable makes this binary a process that puts its terminal into raw mode, with a guard, and waits for its end.
const guardVariable = "MINIPOD_TEST_GUARD"

func TestMain(m *testing.M) {
	if os.Getenv(takerVariable) != "" {
		os.Exit(takeSignals())
	}
	if os.Getenv(guardVariable) == "" {
		os.Exit(m.Run())
	}
	terminal, err := SaveTerminal(0)
	if err != nil {
		os.Exit(1)
	}
	r, w, err := os.Pipe()
	if err != nil {
		os.Exit(2)
	}
	if _, err := terminal.Guard(r); err != nil {
		os.Exit(3)
	}
	if err := terminal.MakeRaw(); err != nil {
		os.Exit(5)
	}
	r.Close()
	_, _ = os.Stdout.WriteString("raw")
	time.Sleep(time.Minute)
	w.Close()
	os.Exit(4)
}

// run forks prog, and returns what its child wrote on descriptor 1, how it started and how it ended.
func run(t *testing.T, prog func(out int, p *Program)) (output string, status syscall.WaitStatus, started error) {
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
	p := &Program{}
	prog(fd, p)
	child, err := Fork(0, p)
	Close(fd)
	if err != nil {
		t.Fatal(err)
	}
	started = child.Started()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	status, err = child.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return string(text), status, started
}

// TestFork runs programs of calls and looks at what the executed one sees of them.
func TestFork(t *testing.T) {
	sh := func(p *Program, script string) {
		p.Execve("/bin/sh", []string{"sh", "-c", script}, []string{"A=b", "PATH=/bin:/usr/bin"})
	}
	for name, tt := range map[string]struct {
		prog func(out int, p *Program)
		want string
	}{
		"arguments and environment": {func(_ int, p *Program) {
			p.Execve("/bin/sh", []string{"zero", "-c", "echo $0 $1 $A", "a b", "ü"}, []string{"A=b"})
		}, "a b ü b\n"},
		"umask":               {func(_ int, p *Program) { p.Umask(0o071); sh(p, "umask") }, "0071\n"},
		"limits":              {func(_ int, p *Program) { p.Rlimit(7, "RLIMIT_NOFILE", 55, 66); sh(p, "ulimit -n; ulimit -Hn") }, "55\n66\n"},
		"session":             {func(_ int, p *Program) { p.Setsid(); sh(p, "set -- $(cat /proc/self/stat); [ $6 = $$ ] && echo leads") }, "leads\n"},
		"no new privileges":   {func(_ int, p *Program) { p.NoNewPrivileges(); sh(p, "grep ^NoNewPrivs /proc/self/status") }, "NoNewPrivs:\t1\n"},
		"ambient set":         {func(_ int, p *Program) { p.ClearAmbient(); sh(p, "grep ^CapAmb /proc/self/status") }, "CapAmb:\t0000000000000000\n"},
		"descriptors":         {func(_ int, p *Program) { p.CloseFrom(3); sh(p, "echo /proc/self/fd/*") }, "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n"},
		"parent-death signal": {func(_ int, p *Program) { p.ParentDeathSignal(syscall.SIGTERM); sh(p, "echo ok") }, "ok\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, status, started := run(t, func(out int, p *Program) { p.Dup(out, 1); tt.prog(out, p) })
			if started != nil || status != 0 || got != tt.want {
				t.Errorf("%v, status %#x, %q; want %q", started, status, got, tt.want)
			}
		})
	}
}

// TestForkFails has each call fail in turn: the report names the call, and the child goes no further.
func TestForkFails(t *testing.T) {
	for name, tt := range map[string]struct {
		prog  func(p *Program)
		call  string
		index int
		errno syscall.Errno
	}{
		"setns":     {func(p *Program) { p.Setns(1, "net") }, "setns(net)", 1, syscall.EINVAL},
		"dup":       {func(p *Program) { p.Setsid(); p.Dup(9999, 5) }, "dup3(9999, 5)", 2, syscall.EBADF},
		"same dup":  {func(p *Program) { p.Dup(1, 1) }, "dup3(1, 1)", 1, syscall.EINVAL},
		"terminal":  {func(p *Program) { p.ControllingTerminal(1) }, "ioctl(1, TIOCSCTTY)", 1, syscall.ENOTTY},
		"limit":     {func(p *Program) { p.Rlimit(7, "RLIMIT_NOFILE", 9, 1) }, "setrlimit(RLIMIT_NOFILE, 9:1)", 1, syscall.EINVAL},
		"execve":    {func(p *Program) { p.Umask(0); p.Execve("/no/such/file", []string{"x"}, nil) }, "execve", 2, syscall.ENOENT},
		"no format": {func(p *Program) { p.Execve("/dev/null", []string{"x"}, nil) }, "execve", 1, syscall.EACCES},
		"a NUL":     {func(p *Program) { p.Execve("/bin/sh\x00x", []string{"x"}, nil) }, "execve", 1, syscall.ENOENT},
		"by fd":     {func(p *Program) { p.ExecveFD(9999, "nothing", []string{"x"}, nil) }, "execveat(nothing", 1, syscall.EBADF},
		"filter":    {func(p *Program) { p.NoNewPrivileges(); p.Seccomp(make([]byte, 8)) }, "seccomp", 2, syscall.EINVAL},
	} {
		t.Run(name, func(t *testing.T) {
			output, status, started := run(t, func(out int, p *Program) {
				p.Dup(out, 1)
				tt.prog(p)
				p.Execve("/bin/echo", []string{"echo", "went on"}, nil)
			})
			var call *CallError
			if !errors.As(started, &call) || !strings.HasPrefix(call.Call, tt.call) || call.Index != tt.index || !errors.Is(started, tt.errno) {
				t.Errorf("%v (%+v); want %s at %d: %v", started, call, tt.call, tt.index, tt.errno)
			}
			if output != "" || status.ExitStatus() != 125 {
				t.Errorf("it wrote %q, status %d", output, status.ExitStatus())
			}
		})
	}
	prog := &Program{}
	prog.Execve("/bin/true", []string{"true"}, nil)
	var call *CallError
	if _, err := Fork(unix.CLONE_NEWUSER|unix.CLONE_FS, prog); !errors.As(err, &call) || call.Call != "clone" || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a clone that the kernel refuses: %v", err)
	}
}

// TestForkForbidden has a filter forbid every call: no report is written and nobody can exit. It is told all the same, and nothing is left that spins.
func TestForkForbidden(t *testing.T) {
	output, status, started := run(t, func(out int, p *Program) {
		p.Dup(out, 1)
		p.NoNewPrivileges()
		p.Seccomp([]byte{unix.BPF_RET | unix.BPF_K, 0, 0, 0, byte(syscall.EPERM), 0, unix.SECCOMP_RET_ERRNO >> 16, 0})
		p.Execve("/bin/echo", []string{"echo", "went on"}, nil)
	})
	var call *CallError
	if !errors.As(started, &call) || !strings.HasPrefix(call.Call, "execve") || !errors.Is(started, syscall.EPERM) {
		t.Errorf("%v; want execve and EPERM", started)
	}
	if output != "" || !status.Signaled() || status.Signal() != syscall.SIGSEGV {
		t.Errorf("it wrote %q, status %#x", output, status)
	}
}

// TestForkStress forks from many threads at once, while others open and close files: nothing of theirs may go along.
func TestForkStress(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	for range 4 {
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					if f, err := os.Open("/dev/null"); err == nil {
						f.Close()
					}
					_ = bytes.Repeat([]byte("garbage"), 1000)
					stdruntime.GC()
				}
			}
		}()
	}
	done := make(chan error, 4)
	for range 4 {
		go func() {
			for range 25 {
				p := &Program{}
				p.Setsid()
				p.Execve("/bin/sh", []string{"sh", "-c", "exec test ! -e /proc/self/fd/3"}, []string{"PATH=/bin:/usr/bin"})
				child, err := Fork(0, p)
				if err == nil {
					err = child.Started()
				}
				if err == nil {
					var status syscall.WaitStatus
					if status, err = child.Wait(); err == nil && status != 0 {
						err = errors.New("a descriptor went along")
					}
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestKill(t *testing.T) {
	p := &Program{}
	p.Execve("/bin/sleep", []string{"sleep", "60"}, nil)
	child, err := Fork(0, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(child.Started(), child.Kill(syscall.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	if status, err := child.Wait(); err != nil || status.Signal() != syscall.SIGTERM {
		t.Errorf("%v, %v", status, err)
	}
	if err := child.Kill(syscall.SIGTERM); err == nil {
		t.Error("a process that is gone took a signal")
	}
}

// TestGuard ends a process with SIGKILL that had made its terminal raw: the terminal comes back.
func TestGuard(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSEGV} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), guardVariable+"=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // as from a shell: touching the terminal from behind stops others
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		now, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil || now.Lflag&(unix.ICANON|unix.ECHO) != 0 {
			t.Errorf("not raw: %+v, %v", now, err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		for range 3000 {
			if now, err = unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS); err != nil || *now == *before {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil || *now != *before {
			t.Errorf("%v: the terminal is still %+v, %v", sig, now, err)
		}
	}
}

// TestTerminal copies a size from one terminal to another. OpenTerminal needs a devpts of its own: see runtime's TestConsole.
func TestTerminal(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	if !IsTerminal(int(slave.Fd())) || IsTerminal(-1) {
		t.Error("IsTerminal")
	}
	other, otherSlave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	defer otherSlave.Close()
	if err := pty.Setsize(other, &pty.Winsize{Rows: 33, Cols: 77}); err != nil {
		t.Fatal(err)
	}
	if err := WindowSize(int(otherSlave.Fd()), master); err != nil {
		t.Error(err)
	}
	if rows, cols, err := pty.Getsize(slave); err != nil || rows != 33 || cols != 77 {
		t.Errorf("%d×%d, %v", rows, cols, err)
	}
	terminal, err := SaveTerminal(int(slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(terminal.MakeRaw(), terminal.Restore()); err != nil {
		t.Error(err)
	}
	if _, err := SaveTerminal(-1); !errors.Is(err, syscall.EBADF) {
		t.Errorf("raw mode of nothing: %v", err)
	}
}

// TestRecords sends records over a control socket, with and without descriptors.
func TestRecords(t *testing.T) {
	ours, theirs, err := SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	a, b := int(ours.Fd()), int(theirs.Fd())
	buf := make([]byte, 100)
	if !IsSeqpacket(a) || IsSeqpacket(0) || IsSeqpacket(-1) {
		t.Error("IsSeqpacket")
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := errors.Join(Send(a, []byte("one"), -1), Send(a, []byte("two"), int(null.Fd()))); err != nil {
		t.Fatal(err)
	}
	if n, fd, err := Receive(b, buf); err != nil || string(buf[:n]) != "one" || fd != -1 {
		t.Errorf("%q, %d, %v", buf[:n], fd, err)
	}
	n, fd, err := Receive(b, buf)
	if err != nil || string(buf[:n]) != "two" || fd < 0 {
		t.Errorf("%q, %d, %v", buf[:n], fd, err)
	}
	info, err := StatFD(fd)
	flags, err2 := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err := errors.Join(err, err2); err != nil || info.Rdev != NullDevice() || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the descriptor is %+v, flags %d, %v", info, flags, err)
	}
	Close(fd)
	// A record that does not fit, and descriptors that nobody asked for: an error, and nothing stays open.
	open := func() int { e, _ := os.ReadDir("/proc/self/fd"); return len(e) }
	before := open()
	two := unix.UnixRights(int(null.Fd()), int(null.Fd()))
	if err := errors.Join(Send(a, bytes.Repeat([]byte("x"), 200), int(null.Fd())), unix.Sendmsg(a, []byte("y"), two, nil, 0)); err != nil {
		t.Fatal(err)
	}
	if _, fd, err := Receive(b, buf); !errors.Is(err, syscall.EMSGSIZE) || fd != -1 {
		t.Errorf("a long record: %d, %v", fd, err)
	}
	if _, fd, err := Receive(b, buf); err == nil || fd != -1 {
		t.Errorf("two descriptors: %d, %v", fd, err)
	}
	if after := open(); after != before {
		t.Errorf("descriptors before %d, after %d", before, after)
	}
	theirs.Close()
	if n, _, err := Receive(a, buf); n != 0 || err != nil {
		t.Errorf("from nobody: %d, %v", n, err)
	}
	if err := Send(a, []byte("x"), -1); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("to nobody: %v", err)
	}
	ours.Close()
}

// TestSealedFile: nobody changes it, through whatever door.
func TestSealedFile(t *testing.T) {
	f, err := SealedFile("test", []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte("x")); !errors.Is(err, syscall.EPERM) {
		t.Errorf("write: %v", err)
	}
	if err := f.Truncate(0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("truncate: %v", err)
	}
	if err := f.Truncate(100); !errors.Is(err, syscall.EPERM) {
		t.Errorf("grow: %v", err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL); !errors.Is(err, syscall.EPERM) {
		t.Errorf("seal: %v", err)
	}
	if _, err := unix.Mmap(int(f.Fd()), 0, 7, unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, syscall.EPERM) {
		t.Errorf("map: %v", err)
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "content" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestStartTime(t *testing.T) {
	p := &Program{}
	p.Execve("/bin/sleep", []string{"sl) eep ", "60"}, nil)
	child, err := Fork(0, p)
	if err != nil {
		t.Fatal(err)
	}
	started, err := StartTime(child.PID)
	if err != nil || started == 0 {
		t.Errorf("%d, %v", started, err)
	}
	if err := KillProcess(child.PID, started+1, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("killed a process of that number and another time: %v", err)
	}
	if err := KillProcess(child.PID, started, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if _, err := child.Wait(); err != nil {
		t.Error(err)
	}
	if err := KillProcess(child.PID, started, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("killed what is gone: %v", err)
	}
}

func TestRandomID(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := RandomID()
		if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" || seen[id] {
			t.Fatal(id)
		}
		seen[id] = true
	}
}

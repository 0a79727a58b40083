package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	stdruntime "runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Fork clones this process with the given CLONE_* flags and lets the child run prog, whose last call is an execve or an
// exit. It is fork(2) in the old sense: the child has a copy of our memory, so unlike Go's own ForkExec it may join a
// user namespace first (setns(CLONE_NEWUSER) needs a single-threaded process) and may make any calls in between.
//
// The child's first failing call ends it; Child.Wait tells which one it was. The calling goroutine should be locked
// to its thread when the program sets a parent-death signal: the kernel sends that when the *thread* dies.
func Fork(flags uintptr, prog *Program) (*Child, error) { return forkBy(nil, flags, prog) }

// forkBy forks by clone(2), or where args are given by clone3(2) with flags added to them.
func forkBy(args *cloneArgs, flags uintptr, prog *Program) (*Child, error) {
	var report [2]int
	if err := unix.Pipe2(report[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make the child's report pipe: %w", err)
	}
	slate, err := newSlate(prog)
	if err != nil {
		unix.Close(report[0])
		unix.Close(report[1])
		return nil, err
	}
	var pidfd int32 = -1
	syscall.ForkLock.Lock()
	pid, errno := fork(args, flags|unix.CLONE_PIDFD, &pidfd, prog.calls, uintptr(report[1]), slate.failure())
	syscall.ForkLock.Unlock()
	stdruntime.KeepAlive(prog)
	unix.Close(report[1])
	if errno != 0 {
		unix.Close(report[0])
		slate.wipe()
		return nil, &CallError{Call: "clone", Err: errno}
	}
	return &Child{PID: int(pid), pidfd: int(pidfd), report: report[0], prog: prog, slate: slate}, nil
}

// The runtime's own hooks around fork: signals are blocked before, and in the child handlers are reset. gVisor
// relies on the same three.

//go:linkname runtimeBeforeFork syscall.runtime_BeforeFork
func runtimeBeforeFork()

//go:linkname runtimeAfterFork syscall.runtime_AfterFork
func runtimeAfterFork()

//go:linkname runtimeAfterForkInChild syscall.runtime_AfterForkInChild
func runtimeAfterForkInChild()

// fork returns in the parent only. After the clone the child is a copy of a threaded program with one thread left:
// locks may be held for ever, so nothing here may allocate, grow the stack or call into Go's scheduler.
//
//go:norace
//go:noinline
//go:nocheckptr
func fork(args *cloneArgs, flags uintptr, pidfd *int32, calls []Call, report uintptr, slate *[2]uint32) (pid uintptr, errno syscall.Errno) {
	var kept, result uintptr
	var refused syscall.Errno
	var failure [8]byte
	runtimeBeforeFork()
	if args == nil {
		pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, flags|uintptr(syscall.SIGCHLD), 0, uintptr(unsafe.Pointer(pidfd)), 0, 0, 0)
	} else { // pidfd's address is taken here, behind the last point where our stack may move
		args.flags |= uint64(flags)
		if flags&unix.CLONE_PARENT == 0 { // else it is the one of its maker, and clone3 takes no other (man 2 clone)
			args.exitSignal = uint64(syscall.SIGCHLD)
		}
		args.pidfd = uint64(uintptr(unsafe.Pointer(pidfd)))
		pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	}
	if errno != 0 || pid != 0 {
		runtimeAfterFork()
		return pid, errno
	}
	runtimeAfterForkInChild()
	for i := 0; i < len(calls); i++ {
		c := &calls[i]
		a := c.args
		for j := range a {
			if c.use&(1<<j) != 0 {
				a[j] = kept
			}
		}
		for {
			result, _, errno = syscall.RawSyscall6(c.number, a[0], a[1], a[2], a[3], a[4], a[5])
			if errno != syscall.EINTR {
				break
			}
		}
		if c.spawn && errno == 0 && result != 0 {
			*(*uint32)(unsafe.Pointer(&failure[0])) = spawned
			*(*uint32)(unsafe.Pointer(&failure[4])) = uint32(result)
			syscall.RawSyscall(unix.SYS_WRITE, report, uintptr(unsafe.Pointer(&failure[0])), 8)
			if c.maps == nil {
				break
			}
			for j := range c.maps {
				if errno = c.maps[j].write(result); errno != 0 {
					*(*uint32)(unsafe.Pointer(&failure[0])) = unmapped
					*(*uint32)(unsafe.Pointer(&failure[4])) = uint32(errno)
					syscall.RawSyscall(unix.SYS_WRITE, report, uintptr(unsafe.Pointer(&failure[0])), 8)
					break
				}
			}
			break
		}
		if errno != 0 && c.search {
			if errno != syscall.ENOENT && errno != syscall.ENOTDIR {
				refused = errno
			} else if refused != 0 {
				errno = refused
			}
		}
		if errno != 0 && !c.mayFail {
			*(*uint32)(unsafe.Pointer(&failure[0])) = uint32(i)
			*(*uint32)(unsafe.Pointer(&failure[4])) = uint32(errno)
			if slate != nil {
				slate[0], slate[1] = uint32(i)+1, uint32(errno)
			}
			syscall.RawSyscall(unix.SYS_WRITE, report, uintptr(unsafe.Pointer(&failure[0])), 8)
			break
		}
		if c.keep {
			kept = result
		}
	}
	syscall.RawSyscall(unix.SYS_EXIT_GROUP, 125, 0, 0)
	// A seccomp profile may forbid even that. The runtime's handlers are reset, so a fault ends us without a call.
	var nowhere *uint32
	for {
		*nowhere = 0
	}
}

// write writes the map of process pid. It runs after a fork.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *idMap) write(pid uintptr) syscall.Errno {
	m.aim(pid)
	for {
		fd, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, atFdcwd, uintptr(unsafe.Pointer(&m.path[0])), unix.O_WRONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return errno
		}
		_, _, errno = syscall.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(m.text))), uintptr(len(m.text)))
		syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
		return errno
	}
}

// Run makes the program's calls in this process, on this thread, and returns only where one failed: a thread that
// executes a program ends all the others, and what it set for itself (capabilities, seccomp) is what counts.
func (p *Program) Run() error {
	var kept uintptr
	for i := range p.calls {
		c := &p.calls[i]
		a := c.args
		for j := range a {
			if c.use&(1<<j) != 0 {
				a[j] = kept
			}
		}
		result, _, errno := syscall.RawSyscall6(c.number, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 && !c.mayFail {
			return &CallError{Call: c.Name, Index: i, Err: errno}
		}
		if c.keep {
			kept = result
		}
	}
	return nil
}

// A Child is a process that Fork made. Its parent calls Started once, and Wait or Close in the end.
type Child struct {
	PID    int
	pidfd  int
	report int
	prog   *Program
	slate  slate
}

// Indexes in a child's report that are no call's: spawned announces the process which Program.Clone made, whose number comes in the errno's
// place; unmapped says why its ids could not be mapped (Program.CloneMapped).
const (
	spawned  = ^uint32(0)
	unmapped = spawned - 1
)

// Started waits until the child has executed its program's execve (or ended). It returns a *CallError for the call
// that failed. Where the program clones, c is the process that it made from then on.
func (c *Child) Started() error { return c.started(c.follow) }

// Cloned waits until the program's CloneMapped has made its process, which is c from then on, and its ids are mapped. Started is called after it.
func (c *Child) Cloned() (err error) {
	defer func() {
		if err != nil {
			unix.Close(c.report)
			c.slate.wipe()
		}
	}()
	index, value, err := c.reported()
	switch {
	case errors.Is(err, io.EOF):
		err = errors.New("the child died before it made another")
	case err == nil && index == spawned:
		return c.follow(int(value)) // who made it ends when it has mapped its ids; what kept it from that Started tells
	case err == nil:
		err = &CallError{Call: c.prog.calls[index].Name, Index: int(index), Err: syscall.Errno(value)}
	}
	return err
}

// StartedForParent is Started for a child that was forked with CLONE_PARENT: it is our parent's, who takes it over with TakeOver. It
// returns the process that the program's Clone made, 0 if it came to none.
func (c *Child) StartedForParent() (clone int, err error) {
	err = c.started(func(pid int) error {
		clone = pid
		return nil
	})
	unix.Close(c.pidfd)
	return clone, err
}

// CloneParent is the flag for a Fork on our parent's behalf.
const CloneParent = unix.CLONE_PARENT

// TakeOver makes a Child of what a child of ours has forked for us: forked has ended or is about to, and is reaped; so is clone, the
// process that it made (0: none), where it was not started. The numbers are their own until then, since they are our children.
func TakeOver(forked, clone int, started bool) (*Child, error) {
	c := &Child{PID: clone, pidfd: -1}
	if _, err := WaitProcess(forked); err != nil {
		return nil, err
	}
	if !started {
		if clone == 0 {
			return nil, nil
		}
		_, err := WaitProcess(clone)
		return nil, err
	}
	var err error
	if c.pidfd, err = unix.PidfdOpen(clone, 0); err != nil {
		return nil, fmt.Errorf("open process %d: %w", clone, err)
	}
	return c, nil
}

func (c *Child) started(follow func(clone int) error) error {
	defer unix.Close(c.report)
	defer c.slate.wipe()
	var failed *CallError
	cloned := false
	for {
		index, value, err := c.reported()
		switch {
		case errors.Is(err, io.EOF) && failed == nil:
			if err := c.slate.read(c.prog); err != nil {
				return err
			}
			return nil // the pipe is close-on-exec: its end means that execve worked
		case errors.Is(err, io.EOF):
			return failed
		case err != nil:
			return fmt.Errorf("read the child's report: %w", err)
		case index == spawned:
			if err := follow(int(value)); err != nil {
				return err
			}
			cloned = true
		case index == unmapped:
			return &CallError{Call: "map ids", Index: c.prog.cloneIndex(), Err: syscall.Errno(value)}
		default:
			failed = &CallError{Call: c.prog.calls[index].Name, Index: int(index), Err: syscall.Errno(value)}
		}
		// What Clone made may have failed before the one that cloned it has told of it.
		if failed != nil && (cloned || failed.Index <= c.prog.cloneIndex()) {
			return failed
		}
	}
}

// reported reads a record of the child's. Its eight bytes are written and read at once (man 7 pipe, PIPE_BUF).
func (c *Child) reported() (index, value uint32, err error) {
	var record [8]byte
	WaitReadable(c.report)
	for {
		n, err := unix.Read(c.report, record[:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		if n == 0 {
			return 0, 0, io.EOF
		}
		return binary.NativeEndian.Uint32(record[:4]), binary.NativeEndian.Uint32(record[4:]), nil
	}
}

// follow reaps the child that cloned, and makes c the process that it made: a child of ours too, so its number is its own until we
// wait for it.
func (c *Child) follow(pid int) error {
	if _, err := WaitProcess(c.PID); err != nil {
		return err
	}
	unix.Close(c.pidfd)
	c.PID = pid
	var err error
	if c.pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	return nil
}

// Kill sends sig through the pidfd: it can never reach another process that was given the same number later.
func (c *Child) Kill(sig syscall.Signal) error {
	if err := unix.PidfdSendSignal(c.pidfd, sig, nil, 0); err != nil {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), c.PID, err)
	}
	return nil
}

// Wait reaps the child and returns how it ended.
func (c *Child) Wait() (syscall.WaitStatus, error) {
	status, err := WaitProcess(c.PID)
	if err == nil {
		unix.Close(c.pidfd)
		c.pidfd = -1 // the descriptor may be another's from now on
	}
	return status, err
}

// Release lets go of a child whose program made an orphan (Program.CloneOrphan), once that one executes. c.PID is the orphan's from then on.
func (c *Child) Release() error {
	err := c.Started()
	unix.Close(c.pidfd)
	return err
}

// AwaitExit waits until the child pid has ended, and does not reap it: until somebody does, its number is its own.
func AwaitExit(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, syscall.EINTR) {
			if err != nil {
				return fmt.Errorf("wait for process %d: %w", pid, err)
			}
			return nil
		}
	}
}

// WaitProcess reaps the child pid and returns how it ended.
func WaitProcess(pid int) (status syscall.WaitStatus, err error) {
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return status, fmt.Errorf("wait for process %d: %w", pid, err)
		}
		return status, nil
	}
}

// Spawn starts the program at path, with nothing to read and its output on stderr. The caller waits for it.
func Spawn(path string, argv, env []string, stderr *os.File) (pid int, err error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	files := []uintptr{null.Fd(), null.Fd(), stderr.Fd()}
	if pid, err = syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: env, Files: files}); err != nil {
		return 0, &os.PathError{Op: "execute", Path: path, Err: err}
	}
	return pid, nil
}

// SpawnSession starts the program at path as the leader of a session of its own, in the folder /, with our environment, nothing to read
// and nobody to write to. It gets files as its descriptors from 3 on. Nobody waits for it: it is to outlive us. It waits most of the
// time itself, so it gets no huge pages: see Program.HugePages.
func SpawnSession(path string, argv []string, files ...*os.File) error {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	all := []uintptr{null.Fd(), null.Fd(), null.Fd()}
	for _, f := range files {
		all = append(all, f.Fd())
	}
	// What our caller left open (a shell's lock, the other end of a pipe that somebody reads to its end) is not to live on with it.
	if err := SetCloseOnExec(3); err != nil {
		return err
	}
	defer withoutHugePages()()
	attributes := &syscall.ProcAttr{Dir: "/", Env: os.Environ(), Files: all, Sys: &syscall.SysProcAttr{Setsid: true}}
	if _, err := syscall.ForkExec(path, argv, attributes); err != nil {
		return &os.PathError{Op: "execute", Path: path, Err: err}
	}
	return nil
}

// withoutHugePages has what this process executes get none, until the function that it returns is called.
func withoutHugePages() (restore func()) {
	set := func(disable uintptr) error { return unix.Prctl(unix.PR_SET_THP_DISABLE, disable, 0, 0, 0) }
	if disabled, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0); err != nil || disabled != 0 || set(1) != nil {
		return func() {}
	}
	return func() { _ = set(0) }
}

// A CallError names the system call that failed in a child; it unwraps to the errno, as the kernel gave it.
type CallError struct {
	Call  string
	Index int // in its Program
	Err   syscall.Errno
}

func (e *CallError) Error() string { return e.Call + ": " + e.Err.Error() }
func (e *CallError) Unwrap() error { return e.Err }

// Forwardable returns the signals that somebody may send to a supervisor and mean the program. Left out is what the kernel
// raises for our own faults and children, Go's preemption (SIGURG), and SIGPIPE, which ends us as it ends any filter.
//
// Go takes 20 µs to take over each one. So the real-time ones, which hardly anybody sends,
// come in a list of their own, for when the program runs.
func Forwardable() (usual, realTime []os.Signal) {
	for number := syscall.Signal(1); number <= lastSignal; number++ {
		switch set := Signals(number); {
		case set&usualSignals != 0:
			usual = append(usual, number)
		case set&realTimeSignals != 0:
			realTime = append(realTime, number)
		}
	}
	return usual, realTime
}

// ForwardableSet returns both.
func ForwardableSet() SignalSet { return usualSignals | realTimeSignals }

const (
	firstRealTime, lastSignal = 35, 64 // 32 to 34 are those of C libraries, which Go does not take over

	realTimeSignals SignalSet = 1<<(lastSignal-1) | (1<<(lastSignal-1) - 1<<(firstRealTime-1))

	usualSignals SignalSet = 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGQUIT-1) | 1<<(unix.SIGABRT-1) | 1<<(unix.SIGUSR1-1) |
		1<<(unix.SIGUSR2-1) | 1<<(unix.SIGALRM-1) | 1<<(unix.SIGTERM-1) | 1<<(unix.SIGCONT-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGWINCH-1) |
		1<<(unix.SIGIO-1) | 1<<(unix.SIGPWR-1) | 1<<(unix.SIGXCPU-1) | 1<<(unix.SIGXFSZ-1) | 1<<(unix.SIGVTALRM-1)
)

// Flags of clone(2) that callers name. A child that is born in a group makes its cgroup namespace itself (see ForkInto).
const (
	NewCgroup = unix.CLONE_NEWCGROUP
	NewUser   = unix.CLONE_NEWUSER
	NewNS     = unix.CLONE_NEWNS // mounts
	NewPID    = unix.CLONE_NEWPID
	NewNet    = unix.CLONE_NEWNET
)

// Namespaces are the seven that a container has of its own, by the names of clone(2).
var Namespaces = [...]struct {
	Name string
	Flag uintptr
}{
	{"CLONE_NEWUSER", unix.CLONE_NEWUSER},
	{"CLONE_NEWNS", unix.CLONE_NEWNS},
	{"CLONE_NEWPID", unix.CLONE_NEWPID},
	{"CLONE_NEWNET", unix.CLONE_NEWNET},
	{"CLONE_NEWIPC", unix.CLONE_NEWIPC},
	{"CLONE_NEWUTS", unix.CLONE_NEWUTS},
	{"CLONE_NEWCGROUP", unix.CLONE_NEWCGROUP},
}

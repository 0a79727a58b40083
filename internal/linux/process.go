package linux

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BecomeRoot makes every thread of the process uid 0 and gid 0 of its user namespace.
func BecomeRoot() error {
	if err := syscall.Setresgid(0, 0, 0); err != nil {
		return fmt.Errorf("setresgid(0): %w", err)
	}
	if err := syscall.Setresuid(0, 0, 0); err != nil {
		return fmt.Errorf("setresuid(0): %w", err)
	}
	return nil
}

// BecomeRootOnThread is BecomeRoot, and DropGroups where setgroups(2) is allowed, for this thread alone: it takes three system
// calls instead of three rounds through all threads. Children that this thread forks inherit it.
func BecomeRootOnThread(setgroups bool) error {
	if setgroups {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			return fmt.Errorf("setgroups(0): %w", errno)
		}
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0); errno != 0 {
		return fmt.Errorf("setresgid(0): %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); errno != 0 {
		return fmt.Errorf("setresuid(0): %w", errno)
	}
	return nil
}

// DropGroups empties the supplementary groups, where the user namespace allows setgroups(2) at all.
func DropGroups() error {
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	return nil
}

// SetParentDeathSignal has the kernel send sig to us when our parent's thread dies.
func SetParentDeathSignal(sig syscall.Signal) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(sig), 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_PDEATHSIG): %w", err)
	}
	return nil
}

// NewSessionKeyring leaves the user's session keyring for an empty one: keys are not namespaced.
// A kernel without keyrings, or a quota that is used up, is no reason to stop.
func NewSessionKeyring() {
	_, _ = unix.KeyctlJoinSessionKeyring("minipod")
}

// SetCapabilities sets the capabilities of this thread. The kernel judges who may look into a process by its first thread,
// which is the one that runs init functions and what they call; the others run nothing but Go's scheduler.
func SetCapabilities(set uint64) error {
	header, data := capabilityData(set, set, 0)
	if err := unix.Capset(header, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}

// LimitAllThreads takes from every thread the supplementary groups (where setgroups(2) is allowed), the capabilities
// outside of keep and, in the bounding set, outside of bounding; and it gives every thread no_new_privs and a seccomp
// filter, as Program.Seccomp takes it, where asked to, but for what a PID 1 does while it waits. Without no_new_privs the filter takes CAP_SYS_ADMIN.
func LimitAllThreads(setgroups bool, keep, bounding uint64, noNewPrivileges bool, filter []byte) error {
	if setgroups {
		if err := onAllThreads("setgroups(0)", unix.SYS_SETGROUPS); err != nil {
			return err
		}
	}
	for c := 0; c <= LastCapability(); c++ {
		if bounding&(1<<c) == 0 {
			if err := onAllThreads("prctl(PR_CAPBSET_DROP)", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c)); err != nil {
				return err
			}
		}
	}
	capabilities := func() error {
		header, data := capabilityData(keep, keep, 0)
		return onAllThreads("capset", unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(data)))
	}
	if !noNewPrivileges {
		return errors.Join(seccompAllThreads(filter), capabilities())
	}
	if err := capabilities(); err != nil {
		return err
	}
	if err := onAllThreads("prctl(PR_SET_NO_NEW_PRIVS)", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return err
	}
	return seccompAllThreads(filter)
}

// onAllThreads makes a call on this thread alone in a binary that is linked with C (go test -race): Go can't reach the others.
func onAllThreads(name string, number uintptr, args ...uintptr) error {
	var a [5]uintptr
	copy(a[:], args)
	_, _, errno := syscall.AllThreadsSyscall6(number, a[0], a[1], a[2], a[3], a[4], 0)
	if errno == syscall.ENOTSUP {
		_, _, errno = syscall.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], 0)
	}
	if errno != 0 {
		return fmt.Errorf("%s: %w", name, errno)
	}
	return nil
}

func seccompAllThreads(filter []byte) error {
	if len(filter) == 0 {
		return nil
	}
	program := seccompProgram(lenient(filter))
	thread, _, errno := syscall.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("seccomp: thread %d has another filter", thread)
	}
	return nil
}

// SetCloseOnExec marks every descriptor from first on close-on-exec.
func SetCloseOnExec(first int) error {
	if err := unix.CloseRange(uint(first), ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	return nil
}

// SocketPair makes a connected pair of SOCK_SEQPACKET sockets: records keep their bounds, and a closed peer reads as EOF.
func SocketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// IsSeqpacket tells whether fd is a SOCK_SEQPACKET socket.
func IsSeqpacket(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_SEQPACKET
}

// Send sends one record, with a descriptor when passed is not negative. A peer that is gone answers EPIPE, and no
// signal.
func Send(fd int, record []byte, passed int) error {
	var rights []byte
	if passed >= 0 {
		rights = unix.UnixRights(passed)
	}
	for {
		err := unix.Sendmsg(fd, record, rights, nil, unix.MSG_NOSIGNAL)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("send on the control socket: %w", err)
		}
		return nil
	}
}

// Pause waits for a signal.
func Pause() { _ = unix.Pause() }

// WaitReadable waits until fd can be read, or its other end is gone. It does not tell Go's scheduler, which would start another
// thread for whatever else there is to do: it is for a wait that is short, or in a process that has nothing else to do.
func WaitReadable(fd int) {
	poll := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, 0, 0, 0, 0)
		if errno != syscall.EINTR {
			return // what is wrong with fd, reading it will tell
		}
	}
}

// Receive receives one record into buf, and a descriptor or -1. No record (n is 0) means that the peer is gone.
func Receive(fd int, buf []byte) (n, passed int, err error) {
	rights := make([]byte, unix.CmsgSpace(4))
	var nrights, flags int
	for {
		n, nrights, flags, _, err = unix.Recvmsg(fd, buf, rights, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		break
	}
	if errors.Is(err, syscall.ECONNRESET) { // the peer died with records of ours unread
		return 0, -1, nil
	}
	if err != nil {
		return 0, -1, fmt.Errorf("receive on the control socket: %w", err)
	}
	fds := descriptors(rights[:nrights])
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(fds) > 1 {
		for _, fd := range fds { // they are ours by now, wanted or not
			unix.Close(fd)
		}
		return 0, -1, fmt.Errorf("receive on the control socket: %w", syscall.EMSGSIZE)
	}
	if len(fds) == 1 {
		return n, fds[0], nil
	}
	return n, -1, nil
}

// descriptors are those that came along with a record.
func descriptors(rights []byte) (fds []int) {
	messages, _ := unix.ParseSocketControlMessage(rights)
	for i := range messages {
		if list, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, list...)
		}
	}
	return fds
}

// SealedFile returns an anonymous file with the given content that nobody can change or resize any more.
func SealedFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(content)
	if err == nil {
		const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("seal %s: %w", name, err)
	}
	return f, nil
}

// DupHigh returns a close-on-exec copy of f's descriptor that is at least 64, so that a child may put anything at the low
// numbers without running over it. The caller closes it.
func DupHigh(f *os.File) (int, error) { return DupHighFD(int(f.Fd()), f.Name()) }

// DupHighFD is DupHigh for a descriptor that is no *os.File.
func DupHighFD(fd int, name string) (int, error) {
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 64)
	if err != nil {
		return -1, fmt.Errorf("dup %s: %w", name, err)
	}
	return high, nil
}

// NullStdio points descriptors 0, 1 and 2 at /dev/null.
func NullStdio() error {
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/null", Err: err}
	}
	defer unix.Close(fd)
	for i := range 3 {
		if err := unix.Dup3(fd, i, 0); err != nil {
			return fmt.Errorf("dup3: %w", err)
		}
	}
	return nil
}

// SignalNumber returns the number of a signal by its name, SIGTERM.
func SignalNumber(name string) (int, bool) {
	n := unix.SignalNum(name)
	return int(n), n != 0
}

// RlimitNumber returns the number of a resource limit by the runtime specification's name, RLIMIT_NOFILE.
func RlimitNumber(name string) (int, bool) {
	for i, known := range [...]string{ // asm-generic/resource.h, which all of Go's architectures but MIPS share
		"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
		"MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
	} {
		if name == "RLIMIT_"+known {
			return i, true
		}
	}
	return 0, false
}

// HardRlimit returns the process's hard limit, above which an ordinary user can't go.
func HardRlimit(resource int) (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(resource, &limit); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	return limit.Max, nil
}

// MaxDescriptors returns how many descriptors this process may have: RLIMIT_NOFILE, whose soft limit Go's runtime has raised to the hard one.
func MaxDescriptors() (int, error) {
	limit, err := HardRlimit(unix.RLIMIT_NOFILE)
	const most = 1 << 20 // fs.nr_open, mostly, which holds where the limit is none
	return int(min(limit, most)), err
}

// RandomID returns 64 hexadecimal digits straight from getrandom(2). The library's crypto/rand brings a megabyte of
// cryptography along, which would be linked into every PID 1.
func RandomID() string {
	var raw [32]byte
	for n := 0; n < len(raw); {
		more, err := unix.Getrandom(raw[n:], 0)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			panic(fmt.Errorf("getrandom: %w", err)) // not since Linux 3.17
		}
		n += max(more, 0)
	}
	const digits = "0123456789abcdef"
	var id [64]byte
	for i, b := range raw {
		id[2*i], id[2*i+1] = digits[b>>4], digits[b&15]
	}
	return string(id[:])
}

// Drain copies what can be read of from without waiting.
func Drain(to io.Writer, from *os.File) error {
	conn, err := from.SyscallConn()
	if err != nil {
		return err
	}
	if err := from.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		for {
			n, err := unix.Read(int(fd), buf)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if n <= 0 {
				return true // EAGAIN, EIO or the end
			}
			if _, failed = to.Write(buf[:n]); failed != nil {
				return true
			}
		}
	})
	return errors.Join(err, failed)
}

// SetNonblock makes fd one that Go's poller can wait for, with deadlines.
func SetNonblock(fd int) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("make a descriptor non-blocking: %w", err)
	}
	return nil
}

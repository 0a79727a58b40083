package linux

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cloneArgs is struct clone_args of clone3(2), up to its member cgroup (Linux 5.7, CLONE_ARGS_SIZE_VER2).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// ForkInto is Fork with the child born in the cgroup behind group: no moment passes in which it is outside of the group's
// limits. A nil group is our own.
//
// CLONE_NEWCGROUP must not be among flags: a cgroup namespace's root is the group that its maker is in, and here that
// still is the parent. The program unshares it, as its child's first act in the group.
//
// Where clone3(2) is missing (a container's seccomp filter can't see into its arguments, so some forbid it) the child is moved
// right after its birth. A program that gives others a say before that should wait for them (Program.WaitForByte).
func ForkInto(group *os.File, flags uintptr, prog *Program) (*Child, error) {
	if group == nil {
		return Fork(flags, prog)
	}
	if flags&unix.CLONE_NEWCGROUP != 0 {
		return nil, errors.New("fork into a cgroup: the namespace would show the parent's; unshare it in the program")
	}
	args := &cloneArgs{flags: unix.CLONE_INTO_CGROUP, cgroup: uint64(group.Fd())}
	child, err := forkBy(args, flags, prog)
	switch {
	case err == nil:
		return child, nil
	case errors.Is(err, syscall.ENOSYS):
		return forkThenMove(group, flags, prog)
	}
	var call *CallError
	if errors.As(err, &call) {
		switch call.Err { // what only the group may have against it; the rest is clone's own (man 2 clone)
		case syscall.EACCES, syscall.EBADF, syscall.EBUSY, syscall.ENODEV, syscall.ENOENT, syscall.EOPNOTSUPP:
			call.Call = "clone into the cgroup " + group.Name()
		}
	}
	return nil, err
}

func forkThenMove(group *os.File, flags uintptr, prog *Program) (*Child, error) {
	child, err := Fork(flags, prog)
	if err != nil {
		return nil, err
	}
	if err := writeIn(group, "cgroup.procs", strconv.Itoa(child.PID)); err != nil {
		_ = child.Kill(syscall.SIGKILL) // it is our child and not waited for, so it is there
		unix.Close(child.report)
		_, waitErr := child.Wait()
		return nil, errors.Join(fmt.Errorf("move the child into its cgroup: %w", err), waitErr)
	}
	return child, nil
}

// writeIn writes text to an existing file of the folder.
func writeIn(folder *os.File, name, text string) error {
	f, err := open(int(folder.Fd()), name, folder.Name()+"/"+name, &unix.OpenHow{Flags: unix.O_WRONLY, Resolve: unix.RESOLVE_BENEATH})
	if err != nil {
		return err
	}
	defer f.Close()
	return f.self("write", func() error { _, err := unix.Write(f.FD, []byte(text)); return err })
}

// WaitChanged waits until a file of the kernel's that reports its changes (cgroup.events) is another than it was when fd was
// last read, at most for timeout. It tells whether that happened. To be asked again, fd must be read again from its start.
func WaitChanged(fd int, timeout time.Duration) (bool, error) {
	deadline := time.Now().Add(timeout)
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		left := unix.NsecToTimespec(max(0, time.Until(deadline)).Nanoseconds())
		n, err := unix.Ppoll(poll, &left, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("poll: %w", err)
		}
		return n > 0, nil
	}
}

// Writable tells whether our effective ids may write to path (faccessat2(2)).
func Writable(path string) error {
	err := unix.Faccessat2(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS)
	if errors.Is(err, syscall.ENOSYS) {
		err = unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, 0)
	}
	if err != nil {
		return &os.PathError{Op: "write to", Path: path, Err: err}
	}
	return nil
}

// BlockDevice returns the number of the block device at path.
func BlockDevice(path string) (major, minor uint32, err error) {
	var st unix.Stat_t
	if err := restarted(func() error { return unix.Stat(path, &st) }); err != nil {
		return 0, 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, &os.PathError{Op: "use", Path: path, Err: unix.ENOTBLK}
	}
	return unix.Major(st.Rdev), unix.Minor(st.Rdev), nil
}

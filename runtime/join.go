package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// JoinVerb is the verb of our own process that works with a running container's files: `JoinVerb ARGUMENT…`, as Join starts it.
const JoinVerb = "in-container"

// RootFD is where that process finds the container's root folder, opened with O_PATH.
const RootFD = 3

// Join runs this binary with `JoinVerb args…` as root of the running container's user namespace, and returns its exit status.
// All its other namespaces are ours: it sees the host's tree, and the container sees nothing of it; the one way into the
// container's tree is the descriptor RootFD. It dies with the calling thread, which must be locked to its goroutine.
func Join(r Record, args []string, files [3]*os.File) (status int, err error) {
	root, user, err := openContainer(r)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	defer user.Close()
	prog := &linux.Program{}
	for i, f := range []*os.File{files[0], files[1], files[2], root} {
		fd, err := linux.DupHigh(f)
		if err != nil {
			return 0, err
		}
		defer linux.Close(fd) //nolint:gocritic // four of them
		prog.Dup(fd, i)
	}
	prog.Setns(int(user.Fd()), "user")
	prog.Credentials(0, 0, nil, false)
	prog.ParentDeathSignal(syscall.SIGKILL)
	prog.Execve("/proc/self/exe", append([]string{"minipod", JoinVerb}, args...), os.Environ())
	child, err := linux.Fork(0, prog)
	if err != nil {
		return 0, err
	}
	started := child.Started()
	ended, err := child.Wait()
	switch {
	case started != nil:
		return 0, fmt.Errorf("join container %s: %w", r.Name, started)
	case err != nil:
		return 0, err
	case ended.Signaled():
		return 128 + int(ended.Signal()), nil
	}
	return ended.ExitStatus(), nil
}

// openContainer opens the root and the user namespace of the container's PID 1. That its start time is still the same
// afterwards proves that it was that process which we opened, and not another with its number.
func openContainer(r Record) (root, user *os.File, err error) {
	proc := "/proc/" + strconv.Itoa(r.PID)
	fd, err := linux.OpenPath(proc + "/root")
	if err == nil {
		root = os.NewFile(uintptr(fd), proc+"/root")
		user, err = os.Open(proc + "/ns/user")
	}
	if err == nil {
		var birth uint64
		if birth, err = linux.StartTime(r.PID); err == nil && birth != r.Birth {
			err = fs.ErrNotExist
		}
	}
	if err == nil {
		return root, user, nil
	}
	if root != nil {
		root.Close()
	}
	if user != nil {
		user.Close()
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, nil, hint.Wrap(fmt.Errorf("join container %s: it has just ended", r.Name), "try again: a container that ended can be looked at, too")
	}
	return nil, nil, fmt.Errorf("join container %s: %w", r.Name, err)
}

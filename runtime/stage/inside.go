package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// InsideRole is argv[1] of a process of ours that works inside the user's id range: it unpacks layers, whose files have
// many owners, and removes what containers left.
const InsideRole = "inside"

// Inside runs this binary with args in a new user and mount namespace that has all of the user's ids, as its root, on
// the host's network. It shares files as standard input, output and error, and dies with the calling thread. When ctx ends it is interrupted, and
// killed if that does not end it.
func Inside(ctx context.Context, args []string, files [3]*os.File, mapIDs func(pid int) error) (status int, err error) {
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	defer theirs.Close()
	prog := &linux.Program{}
	for i, f := range []*os.File{files[0], files[1], files[2], theirs} {
		fd, err := linux.DupHigh(f)
		if err != nil {
			return 0, err
		}
		defer linux.Close(fd) //nolint:gocritic // four of them
		prog.Dup(fd, i)
	}
	prog.AmbientCapabilities(1<<(linux.LastCapability()+1) - 1)
	prog.Execve("/proc/self/exe", append([]string{"minipod", InsideRole}, args...), os.Environ())
	child, err := linux.Fork(linux.Namespaces[0].Flag|linux.Namespaces[1].Flag, prog)
	if err != nil {
		return 0, err
	}
	theirs.Close()
	err = errors.Join(mapIDs(child.PID), child.Started())
	if err == nil {
		err = linux.Send(int(ours.Fd()), []byte("mapped"), -1)
	}
	if err != nil {
		return 0, errors.Join(err, child.Kill(syscall.SIGKILL), reap(child))
	}
	ended, err := waitInterrupted(ctx, child)
	if err != nil {
		return 0, err
	}
	if ended.Signaled() {
		return 128 + int(ended.Signal()), nil
	}
	return ended.ExitStatus(), nil
}

// patience is for how long who was interrupted may clean up.
const patience = 5 * time.Second

// waitInterrupted reaps the child, which is interrupted when ctx ends. Nobody signals a process that was reaped: its number may be another's.
func waitInterrupted(ctx context.Context, child *linux.Child) (syscall.WaitStatus, error) {
	ended, done := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = child.Kill(syscall.SIGINT) // ESRCH: it has just ended
		select {
		case <-ended:
		case <-time.After(patience):
			_ = child.Kill(syscall.SIGKILL)
		}
	})
	err := linux.AwaitExit(child.PID)
	close(ended)
	if !stop() {
		<-done
	}
	if err != nil {
		return 0, err
	}
	return child.Wait()
}

func reap(child *linux.Child) error {
	_, err := child.Wait()
	return err
}

// EnterInside is the other end: it makes this process root of its namespace where Inside started it, and returns the
// arguments that Inside was given. ok is false in every other process.
func EnterInside(args []string) (rest []string, ok bool) {
	if len(args) < 2 || args[0] != "minipod" || args[1] != InsideRole || !linux.IsSeqpacket(controlFD) {
		return nil, false
	}
	if err := enterInside(); err != nil {
		fmt.Fprintf(os.Stderr, "minipod: enter the user namespace: %v\n", err)
		os.Exit(hint.ExitRuntime)
	}
	return slices.Clone(args[2:]), true
}

func enterInside() error {
	if err := linux.SetCloseOnExec(controlFD); err != nil {
		return err
	}
	var word [16]byte
	n, _, err := linux.Receive(controlFD, word[:])
	if err != nil || string(word[:n]) != "mapped" {
		return errors.New("the parent left")
	}
	if err := linux.DropGroups(); err != nil && !errors.Is(err, syscall.EPERM) { // one id: setgroups is denied
		return err
	}
	if err := linux.BecomeRoot(); err != nil {
		return err
	}
	if err := linux.SetParentDeathSignal(syscall.SIGKILL); err != nil {
		return err
	}
	if err := linux.Send(controlFD, []byte("alive"), -1); err != nil { // nobody there: an orphan would never end
		return err
	}
	linux.Close(controlFD)
	return nil
}

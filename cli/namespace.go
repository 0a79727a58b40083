package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime/idmap"
)

// insideVariable tells a process of ours that it is in the user's namespace, or on its way there.
const insideVariable = "MINIPOD_INSIDE"

// inUserNamespace tells whether this process was started by reexecInUserNamespace.
func inUserNamespace() bool { return os.Getenv(insideVariable) != "" }

// reexecInUserNamespace runs this program with args inside a new user namespace that has all of the user's ids, in
// which this user is root, and returns its exit status. Standard input, output and error are shared.
func reexecInUserNamespace(_ context.Context, args []string) (int, error) {
	uids, gids, warning, err := idmap.ForUser(os.Geteuid(), os.Getegid())
	if err != nil {
		return 0, err
	}
	if warning != nil {
		a := &app{err: os.Stderr}
		a.warn(warning)
	}
	wait, mapped, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideVariable+"=wait")
	cmd.ExtraFiles = []*os.File{wait}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	err = cmd.Start()
	wait.Close()
	if err != nil {
		mapped.Close()
		return 0, err
	}
	err = idmap.Write(cmd.Process.Pid, uids, gids)
	mapped.Close()
	waitErr := cmd.Wait()
	if err != nil {
		return 0, err
	}
	var ended *exec.ExitError
	if errors.As(waitErr, &ended) {
		return ended.ExitCode(), nil
	}
	return 0, waitErr
}

// waitForIDs is the other end: the child waits for its ids, then starts anew as the namespace's root with all
// capabilities there, which only an exec after the map is written gives.
func waitForIDs() error {
	if os.Getenv(insideVariable) != "wait" {
		return nil
	}
	mapped := os.NewFile(3, "pipe")
	_, _ = mapped.Read(make([]byte, 1))
	mapped.Close()
	if err := os.Setenv(insideVariable, "yes"); err != nil {
		return err
	}
	return hint.Wrap(syscall.Exec("/proc/self/exe", os.Args, os.Environ()), "run `minipod doctor`")
}

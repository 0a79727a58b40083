package supervisor

import (
	"context"
	"os"

	"codeberg.org/minipod/minipod/runtime"
)

// Exec runs a command in the container that this process supervises, with stdio for its own, and returns its exit status. When ctx ends the
// command is killed.
func (s *Supervisor) Exec(ctx context.Context, args []string, stdio [3]*os.File) (status int, err error) {
	o := runtime.ExecOptions{Args: args, Stdio: stdio}
	inside, b, err := s.enterable(&o)
	if err != nil {
		return 0, err
	}
	defer inside.Close()
	if o.Cgroup != nil {
		defer o.Cgroup.Close()
	}
	child, _, err := runtime.Exec(inside, b, o)
	if err != nil {
		return 0, err
	}
	ended, err := s.await(child, ctx.Done())
	if ended.Signaled() {
		return 128 + int(ended.Signal()), err
	}
	return ended.ExitStatus(), err
}

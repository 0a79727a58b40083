package run

import (
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
	"codeberg.org/minipod/minipod/supervisor"
)

// Exec is `minipod exec` with the arguments after the verb. It returns the exit status: the command's, or 125 to 127 with an error.
// It answers ErrCold for --help.
func Exec(args []string, _ *Parts) (status int, err error) {
	f, err := flags.ParseExec(args)
	if errors.Is(err, flags.ErrHelp) {
		return 0, ErrCold
	}
	if err != nil {
		return hint.ExitRuntime, err
	}
	dirs, err := state.Find(os.Getenv)
	if err != nil {
		return hint.ExitRuntime, err
	}
	record, err := runtime.Find(dirs, f.Container)
	if err != nil {
		return 1, err // docker's
	}
	return execIn(dirs, record, f)
}

// execEarly is Exec for what can only be docker's: a container by its whole name, and no flag behind it. All else, a pod's name, a part of
// an id, whatever is wrong, the CLI looks at more closely.
func execEarly(args []string) (int, error) {
	f, err := flags.ParseExec(args)
	if err != nil || strings.HasPrefix(f.Args[0], "-") {
		return 0, ErrCold
	}
	dirs, err := state.Find(os.Getenv)
	if err != nil {
		return 0, ErrCold
	}
	record, err := runtime.Find(dirs, f.Container)
	if err != nil || record.Name != f.Container && record.ID != f.Container {
		return 0, ErrCold
	}
	return execIn(dirs, record, f)
}

func execIn(dirs state.Dirs, record runtime.Record, f *flags.Exec) (status int, err error) {
	status, err = execute(supervisor.Of(dirs, record), f)
	if errors.Is(err, supervisor.ErrNotRunning) {
		return 1, err
	}
	if err != nil {
		status = hint.ExitStatus(err, hint.ExitRuntime)
		if status == hint.ExitNotFound || hint.Of(err) == "" { // there is a container to look at, and not only its image
			err = hint.Wrap(err, "look around in the container: minipod exec -it "+record.Name+" sh")
		}
	}
	return status, err
}

func execute(peer *supervisor.Peer, f *flags.Exec) (int, error) {
	stdio, err := supervisor.OpenStdio(supervisor.StdioOptions{TTY: f.TTY, Input: f.Interactive && !f.Detach, Foreground: !f.Detach, Discard: f.Detach})
	if err != nil {
		return hint.ExitRuntime, err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGWINCH)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	running, err := peer.Exec(supervisor.ExecRequest{
		Args: f.Args, Env: f.Env, Workdir: f.Workdir, User: f.User, Terminal: f.TTY, Detach: f.Detach, Privileged: f.Privileged,
	}, stdio.Command)
	stdio.Started(err)
	if err != nil {
		return hint.ExitStatus(err, hint.ExitRuntime), errors.Join(err, stdio.Finish(nil))
	}
	if f.Detach {
		return 0, running.Leave()
	}
	if running.Console != nil {
		if err := stdio.Attach(running.Console); err != nil {
			return hint.ExitRuntime, errors.Join(err, running.Leave(), stdio.Finish(nil))
		}
		go func() {
			for range signals {
				stdio.Resize()
			}
		}()
	}
	status, err := running.Wait()
	return status, errors.Join(err, stdio.Finish(nil))
}

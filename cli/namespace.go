package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/idmap"
)

// reexec runs this command line once more inside the user's id range, and ends as that one does.
func (a *app) reexec(ctx context.Context, unpacks bool) error {
	uids, gids, warning, err := idmap.ForUser(os.Geteuid(), os.Getegid())
	if err != nil {
		return err
	}
	if warning != nil && unpacks { // who removes things need not hear that there are ids missing
		a.warn(warning)
	}
	// Ctrl-C reaches that one, too: it cleans up for as long as that takes.
	status, err := run.Inside(context.WithoutCancel(ctx), uids, gids, a.args, [3]*os.File{os.Stdin, os.Stdout, os.Stderr})
	if err != nil || status == 0 {
		return err
	}
	return statusError(status) // that process has said why
}

// removeTree removes what containers left on disk: files that may belong to any of the user's ids.
func (a *app) removeTree(dir string) error {
	err := runtime.RemoveTree(dir)
	if !errors.Is(err, fs.ErrPermission) || a.inside {
		return err
	}
	uids, gids, _, err := idmap.ForUser(os.Geteuid(), os.Getegid())
	if err != nil {
		return err
	}
	if err := run.RemoveInside(uids, gids, dir); err != nil {
		return hint.Wrap(fmt.Errorf("remove %s: %w", dir, err), "run `minipod doctor`")
	}
	return nil
}

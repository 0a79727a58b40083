package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/nearest"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/state"
)

// checkWithout refuses --without outside of a lab: what a lesson leaves out, a container that is to be used must have.
func (r *run) checkWithout() error {
	if len(r.Without) == 0 {
		return nil
	}
	_, err := os.Lstat(path.Join(r.dirs.Data, state.LabFile))
	if errors.Is(err, fs.ErrNotExist) {
		advice := state.Astray(os.Getenv, true)
		if advice == "" {
			advice = "start a lab (minipod lab list shows them), and export the MINIPOD_ROOT that it names"
		}
		return hint.Wrap(errors.New("--without: only a lesson leaves out what a container needs"), advice)
	}
	if err != nil {
		return fmt.Errorf("--without: %w", err)
	}
	known := stage.Optional()
	for _, step := range r.Without {
		if slices.Contains(known, step) {
			continue
		}
		advice := "use " + strings.Join(known, ", ")
		if near := nearest.Name(step, known); near != "" {
			advice = "did you mean " + near + "?"
		}
		return hint.Wrap(fmt.Errorf("--without: there is no step %q that can be left out", step), advice)
	}
	return nil
}

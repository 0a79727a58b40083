package cli

import (
	"fmt"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/view"
)

// psTree is `ps --tree`: the processes of the chosen containers. All are looked at, since one that runs minipod in itself
// is somebody's child, too.
func (a *app) psTree(c *urfave.Context, all, chosen []runtime.Record) error {
	s, err := view.Read(view.Kernel(), viewed(all))
	if err != nil {
		return err
	}
	s = s.Of(func(id string) bool {
		return slices.ContainsFunc(chosen, func(r runtime.Record) bool { return r.ID == id })
	})
	width := treeWidth
	if c.Bool("no-trunc") {
		width = 0
	}
	if _, err := fmt.Fprint(a.out, view.Tree(s, language(), whoami(), width)); err != nil {
		return err
	}
	a.byHand("ps auxf", "grep -E 'PPid|NSpid|State' /proc/"+examplePID(s, nil)+"/status")
	return nil
}

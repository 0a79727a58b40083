package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/doctor"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/state"
	"codeberg.org/minipod/minipod/view"
)

func (a *app) doctorVerb() *urfave.Command {
	return &urfave.Command{
		Name: "doctor", Usage: "Check what this machine offers, and print how to get what is missing", Category: groupMachine,
		Description: "Nothing is changed and nothing needs privileges. The status is 1 if containers cannot run here.\n\n" +
			examples("minipod doctor", "minipod doctor -v", "minipod doctor -o json"),
		Flags: append(recordFlags(), &urfave.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "show the evidence of good checks, too"}),
		Action: func(c *urfave.Context) error {
			if err := checkArgs(c, 0, 0); err != nil {
				return err
			}
			settings, err := config.Load(a.dirs)
			if err != nil {
				return err
			}
			env, err := doctor.Host(a.dirs, settings, a.probeStorage)
			if err != nil {
				return err
			}
			if c.String("output") == "" && c.String("format") == "" {
				env.Language = language()
			}
			return a.examine(c.Context, c, env)
		},
	}
}

// probeStorage makes the test mount of rootfs.Probe where it can be made: inside a user namespace.
func (a *app) probeStorage(ctx context.Context) (probed rootfs.Probed, err error) {
	if err := state.Make(a.dirs.Data); err != nil {
		return probed, err
	}
	uids, gids, _, err := idmap.ForUser(os.Geteuid(), os.Getegid()) // what is missing there is another check's matter
	if err != nil {
		return probed, err
	}
	status, err := run.Inside(ctx, uids, gids, []string{run.ProbeVerb, a.dirs.Data}, [3]*os.File{os.Stdin, os.Stderr, os.Stderr})
	if err != nil {
		return probed, err
	}
	if status != 0 {
		return probed, fmt.Errorf("try overlay in a user namespace: exit status %d", status)
	}
	err = state.ReadJSON(filepath.Join(a.dirs.Data, rootfs.StorageFile), &probed)
	return probed, err
}

func (a *app) examine(ctx context.Context, c *urfave.Context, env doctor.Env) error {
	results := doctor.Run(ctx, env)
	if err := a.printRecord(c, results, func() { a.printResults(results, c.Bool("verbose")) }); err != nil {
		return err
	}
	for _, r := range results {
		if r.Status == doctor.Fail {
			return statusError(exitFailure)
		}
	}
	return nil
}

// printResults prints the verdicts as a table, and under each that is not good why it matters and what to type.
func (a *app) printResults(results []doctor.Result, verbose bool) {
	marks := map[doctor.Status]string{doctor.OK: "ok", doctor.Warn: "WARN", doctor.Fail: "FAIL", doctor.Skip: "-"}
	widest := 0
	for _, r := range results {
		widest = max(widest, view.Width(r.Title))
	}
	for _, r := range results {
		line := fmt.Sprintf("%-4s  %s%s  %s", marks[r.Status], r.Title, strings.Repeat(" ", widest-view.Width(r.Title)), strings.Join(r.Evidence[:min(1, len(r.Evidence))], ""))
		fmt.Fprintln(a.out, strings.TrimRight(line, " "))
	}
	for _, r := range results {
		bad := r.Status == doctor.Warn || r.Status == doctor.Fail
		if !bad && !verbose {
			continue
		}
		fmt.Fprintf(a.out, "\n%s %s\n", marks[r.Status], r.Title)
		for _, evidence := range r.Evidence {
			fmt.Fprintln(a.out, "   ", evidence)
		}
		if bad && r.Why != "" {
			fmt.Fprintln(a.out, "  "+language().Say("so: %s", r.Why))
		}
		if bad && len(r.Fix) > 0 {
			fmt.Fprintf(a.out, "  %s\n    %s\n", language().Say("fix:"), strings.Join(r.Fix, "\n    "))
		}
	}
}

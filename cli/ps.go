package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/volume"
)

func (a *app) psVerb() *urfave.Command {
	return &urfave.Command{
		Name: "ps", Usage: "List containers", Category: groupContainers,
		Description: "Those that run, or with --all those that ended, too.\n\n" + examples("minipod ps", "minipod ps -a", "minipod ps -aq", "minipod ps -a -o json"),
		Flags: append(outputFlags(),
			&urfave.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "list those that ended, too"},
			quietFlag("print ids only"),
			&urfave.BoolFlag{Name: "no-trunc", Usage: "print whole ids and commands"},
		),
		Action: a.ps,
	}
}

type containerRow struct {
	ID, Image, Command, CreatedAt, RunningFor, Status, State, Names, PID, Labels string
}

func (a *app) ps(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	if err := run.Sweep(a.dirs, a.removeTree); err != nil {
		return err
	}
	all, err := runtime.List(a.dirs)
	if err != nil {
		return err
	}
	l := listing[containerRow]{
		header: containerRow{"CONTAINER ID", "IMAGE", "COMMAND", "CREATED AT", "CREATED", "STATUS", "STATE", "NAMES", "PID", "LABELS"},
		table:  `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}`,
		wide:   `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}\t{{.PID}}\t{{.Labels}}`,
		name:   func(r containerRow) string { return r.ID },
	}
	records := []runtime.Record{}
	for _, r := range all {
		if !r.Live() && !c.Bool("all") {
			continue
		}
		records = append(records, r)
		l.rows = append(l.rows, rowOf(r, c.Bool("no-trunc")))
	}
	l.records = records
	return l.print(a.out, c)
}

func rowOf(r runtime.Record, whole bool) containerRow {
	id, command := r.ID, strconv.Quote(strings.Join(r.Command, " "))
	if !whole {
		id = id[:12]
		if text := []rune(command); len(text) > 20 {
			command = string(text[:19]) + "…"
		}
	}
	now, status := time.Now(), "Created"
	switch r.Status {
	case runtime.StatusRunning:
		status = "Up " + humanDuration(now.Sub(r.Started))
	case runtime.StatusPaused:
		status = "Up " + humanDuration(now.Sub(r.Started)) + " (Paused)"
	case runtime.StatusRestarting:
		status = fmt.Sprintf("Restarting (%d) %s", r.ExitCode, humanSince(now, r.Finished))
	case runtime.StatusExited:
		status = fmt.Sprintf("Exited (%d) %s", r.ExitCode, humanSince(now, r.Finished))
		if r.Finished.IsZero() {
			status = fmt.Sprintf("Dead (%d): its supervisor was killed", r.ExitCode)
		}
	}
	pid := ""
	if r.PID != 0 {
		pid = strconv.Itoa(r.PID)
	}
	return containerRow{id, r.Image, command, r.Created.Format(time.RFC3339), humanSince(now, r.Created), status, r.Status, r.Name, pid, joinLabels(r.Labels)}
}

func (a *app) rmVerb() *urfave.Command {
	return &urfave.Command{
		Name: "rm", Usage: "Remove containers", ArgsUsage: "CONTAINER...", Category: groupContainers,
		Description: "What a container wrote goes with it; volumes stay, unless --volumes is given.\n\n" + examples("minipod rm web", "minipod rm -f $(minipod ps -aq)"),
		Flags: []urfave.Flag{
			forceFlag("kill those that run, and do not complain about those that do not exist"),
			&urfave.BoolFlag{Name: "volumes", Aliases: []string{"v"}, Usage: "remove the anonymous volumes of the container, too"},
		},
		Action: a.rm,
	}
}

func (a *app) rm(c *urfave.Context) error {
	if err := checkArgs(c, 1, -1); err != nil {
		return err
	}
	return a.forEach(c, runtime.ErrNotFound, func(name string) error {
		r, err := runtime.Find(a.dirs, name)
		if err != nil {
			return err
		}
		if err := a.removeContainer(r, c.Bool("force"), c.Bool("volumes")); err != nil {
			return err
		}
		fmt.Fprintln(a.out, name)
		return nil
	})
}

func (a *app) removeContainer(r runtime.Record, force, volumes bool) error {
	if force && r.Live() {
		if err := runtime.Kill(a.dirs, r); err != nil {
			return fmt.Errorf("kill container %s: %w", r.Name, err)
		}
	}
	held, err := runtime.Adopt(a.dirs, r)
	if force && errors.Is(err, runtime.ErrNotFound) { // it had --rm
		return nil
	}
	if err != nil {
		return err
	}
	if err := held.Delete(a.removeTree); err != nil {
		return errors.Join(fmt.Errorf("remove container %s: %w", r.Name, err), held.Close())
	}
	if !volumes {
		return nil
	}
	for _, name := range r.Own {
		err := a.volumes().Remove(name, func(string) []string { return nil })
		if err != nil && !errors.Is(err, volume.ErrNotFound) {
			return err
		}
	}
	return nil
}

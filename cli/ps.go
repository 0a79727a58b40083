package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/supervisor"
	"codeberg.org/minipod/minipod/volume"
)

func (a *app) psVerb() *urfave.Command {
	return &urfave.Command{
		Name: "ps", Usage: "List containers", Category: groupContainers,
		Description: "Those that run, or with --all those that ended, too.\n\n" + examples("minipod ps", "minipod ps -a", "minipod ps -aq",
			"minipod ps -a --filter exited=137", "minipod ps --tree", "minipod ps -a -o json"),
		Flags: append(outputFlags(),
			&urfave.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "list those that ended, too"},
			quietFlag("print ids only"),
			&urfave.BoolFlag{Name: "no-trunc", Usage: "print whole ids and commands, and whole lines where the terminal is narrower"},
			&urfave.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "keep what matches a `CONDITION`: id=, name=, label=, status=, " +
				"exited=, ancestor=, volume=, before= or since="},
			&urfave.IntFlag{Name: "last", Aliases: []string{"n"}, Value: -1, Usage: "list the `NUMBER` that were created last, ended ones, too"},
			&urfave.BoolFlag{Name: "latest", Aliases: []string{"l"}, Usage: "list the one that was created last, like -n 1"},
			&urfave.BoolFlag{Name: "size", Aliases: []string{"s"}, Usage: "tell how much each has written"},
			&urfave.BoolFlag{Name: "tree", Usage: "draw the processes, with their roles and both their PIDs"},
		),
		Action: func(c *urfave.Context) error {
			if wantsSize(c) { // of files that may belong to any of the user's ids
				return a.inNamespace(a.ps)(c)
			}
			return a.ps(c)
		},
	}
}

// containerRow has docker's names for the columns of `ps`; PID is ours.
type containerRow struct {
	ID, Image, Command, CreatedAt, RunningFor, Status, State, Names, PID, Labels, Ports, Size, Mounts, LocalVolumes, Networks, Platform string

	labels map[string]string
}

// Label is docker's {{.Label "key"}}.
func (r containerRow) Label(key string) string {
	if r.labels == nil && r.ID == "CONTAINER ID" { // the row of titles
		return key
	}
	return r.labels[key]
}

func (a *app) ps(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	if err := exclusive(c, "tree", "output", "format", "quiet", "size"); err != nil {
		return err
	}
	if err := run.Sweep(a.dirs, a.removeTree); err != nil {
		return err
	}
	all, err := runtime.List(a.dirs)
	if err != nil {
		return err
	}
	records, err := a.chosen(c, all)
	if err != nil {
		return err
	}
	if c.Bool("tree") {
		return a.psTree(c, all, records)
	}
	l := listing[containerRow]{
		header: containerRow{
			ID: "CONTAINER ID", Image: "IMAGE", Command: "COMMAND", CreatedAt: "CREATED AT", RunningFor: "CREATED", Status: "STATUS", State: "STATE",
			Names: "NAMES", PID: "PID", Labels: "LABELS", Ports: "PORTS", Size: "SIZE", Mounts: "MOUNTS", LocalVolumes: "LOCAL VOLUMES",
			Networks: "NETWORKS", Platform: "PLATFORM",
		},
		table: `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}`,
		wide:  `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.PID}}\t{{.Labels}}`,
		name:  func(r containerRow) string { return r.ID },
		fits:  !c.Bool("no-trunc"),
		whole: []string{"CONTAINER ID", "CREATED", "STATUS"}, // what one looks for
	}
	for _, r := range records {
		l.rows = append(l.rows, rowOf(r, c.Bool("no-trunc")))
	}
	if wantsSize(c) {
		l.table, l.wide = l.table+`\t{{.Size}}`, l.wide+`\t{{.Size}}`
		images, err := a.imageSizes(records)
		if err != nil {
			return err
		}
		for i, r := range records {
			written, err := a.written(r)
			if err != nil {
				return err
			}
			l.rows[i].Size = fmt.Sprintf("%s (virtual %s)", humanSize(written, 3), humanSize(written+images[r.ImageID], 3))
		}
	}
	l.records = records
	return l.print(a.out, c)
}

func rowOf(r runtime.Record, whole bool) containerRow {
	id, command, volumes := r.ID, commandLine(r.Command), r.Volumes
	if !whole {
		id = id[:12]
		command = ellipsis(command, 20)
		volumes = make([]string, len(r.Volumes))
		for i, name := range r.Volumes {
			volumes[i] = ellipsis(name, 15)
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
	return containerRow{
		ID: id, Image: r.Image, Command: strconv.Quote(command), CreatedAt: r.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		RunningFor: humanSince(now, r.Created), Status: status, State: r.Status, Names: r.Name, PID: pid, Labels: joinLabels(r.Labels),
		Ports: portColumn(r), Networks: networksOf(r), Size: "0B", Mounts: strings.Join(volumes, ","), LocalVolumes: strconv.Itoa(len(r.Volumes)), Platform: hostPlatform(),
		labels: r.Labels,
	}
}

// networksOf names the pods' network for who is there now. Of the others a record does not tell.
func networksOf(r runtime.Record) string {
	if r.Network == nil {
		return ""
	}
	return flags.PodNetwork
}

// commandLine joins a command's words, those with a space in single quotes, as docker does. It is for reading alone.
func commandLine(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		if i > 0 && strings.Contains(word, " ") {
			quoted[i] = "'" + word + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// ellipsis shortens text to a number of characters, as docker does.
func ellipsis(text string, longest int) string {
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return text
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

// tellKilled appends to the events what docker does when it kills a container.
func (a *app) tellKilled(r *runtime.Record) {
	log := events.Open(a.dirs)
	for _, happened := range []struct{ action, key, value string }{{"kill", "signal", "9"}, {"die", "exitCode", "137"}} {
		e := events.Container(happened.action, r.ID, runtime.NameOf(*r), r.Image, r.Labels, map[string]string{happened.key: happened.value})
		if err := log.Append(e); err != nil {
			a.warn(err)
		}
	}
}

func (a *app) removeContainer(r runtime.Record, force, volumes bool) error {
	kill := force && r.Status != runtime.StatusExited
	if kill {
		if err := supervisor.Kill(a.dirs, r); err != nil {
			return fmt.Errorf("kill container %s: %w", r.Name, err)
		}
		if err := run.RemoveGroup(r); err != nil {
			return err
		}
	}
	held, err := runtime.Adopt(a.dirs, r)
	if force && errors.Is(err, runtime.ErrNotFound) { // it had --rm
		return nil
	}
	if err != nil {
		return err
	}
	if kill && (held.Status == runtime.StatusRunning || held.Status == runtime.StatusPaused) { // its supervisor, which was killed, too, did not come to tell of it
		a.tellKilled(&held.Record)
	}
	if err := held.Delete(a.removeTree); err != nil {
		return errors.Join(fmt.Errorf("remove container %s: %w", r.Name, err), held.Close())
	}
	if err := run.Tell(a.dirs, "destroy", &r); err != nil {
		a.warn(err)
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

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/cgroup"
	"codeberg.org/minipod/minipod/supervisor"
)

// limitVerbs are what containers' cgroups are for.
func (a *app) limitVerbs() []*urfave.Command {
	return []*urfave.Command{
		{
			Name: "pause", Usage: "Freeze all processes of containers", ArgsUsage: "CONTAINER...", Category: groupContainers,
			Description: "The kernel does it: cgroup.freeze.",
			Action: func(c *urfave.Context) error {
				return a.eachContainer(c, func(r runtime.Record) error { return supervisor.Of(a.dirs, r).Pause() })
			},
		},
		{
			Name: "unpause", Usage: "Let paused containers go on", ArgsUsage: "CONTAINER...", Category: groupContainers,
			Action: func(c *urfave.Context) error {
				return a.eachContainer(c, func(r runtime.Record) error { return supervisor.Of(a.dirs, r).Unpause() })
			},
		},
		{
			Name: "update", Usage: "Change the limits of containers, and their restart policy", ArgsUsage: "CONTAINER...", Category: groupContainers,
			Description: "A running container has them at once, and all keep them for later starts.\n\n" +
				examples("minipod update --memory 1g --cpus 2 web", "minipod update --restart unless-stopped web"),
			SkipFlagParsing: true, Flags: shownFlags(flags.UpdateFlags()), Action: a.update,
		},
		{
			Name: "stats", Usage: "Show how much of the machine containers use", ArgsUsage: "[CONTAINER...]", Category: groupContainers,
			Description: "The numbers are those of the containers' cgroups. By hand: cat memory.current in the folder that `minipod inspect -f {{.CgroupPath}}` names.",
			Flags: append(outputFlags(),
				&urfave.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "show those that do not run, too"},
				&urfave.BoolFlag{Name: "no-stream", Usage: "show them once, and not again every second"},
				&urfave.BoolFlag{Name: "no-trunc", Usage: "print whole ids"},
			),
			Action: a.stats,
		},
	}
}

func (a *app) update(c *urfave.Context) error {
	u, err := flags.ParseUpdate(c.Args().Slice())
	if errors.Is(err, flags.ErrHelp) {
		urfave.HelpPrinter(a.out, c.Command.CustomHelpTemplate, c.Command)
		return nil
	}
	if err != nil {
		return err
	}
	for _, warning := range u.Warnings {
		a.warn(errors.New(warning))
	}
	resources, err := u.Resources.Spec()
	if err != nil {
		return err
	}
	var restart *runtime.RestartPolicy
	if u.Restart.Name != "" {
		policy := runtime.RestartPolicy(u.Restart)
		restart = &policy
	}
	var last error
	for _, name := range u.Containers {
		r, err := runtime.Find(a.dirs, name)
		if err == nil {
			err = supervisor.Update(a.dirs, r, resources, restart)
		}
		if err == nil {
			_, err = fmt.Fprintln(a.out, name)
		}
		if err != nil {
			if last != nil {
				a.report(last)
			}
			last = err
		}
	}
	return last
}

// statsRow has docker's field names.
type statsRow struct {
	Container, ID, Name, CPUPerc, MemUsage, MemPerc, NetIO, BlockIO, PIDs string
}

// A sample is a container's counts at a moment.
type sample struct {
	at    time.Time
	stats *cgroup.Stats
}

func (a *app) stats(c *urfave.Context) error {
	before := map[string]sample{}
	stream := !c.Bool("no-stream") && c.String("output") == ""
	for {
		records, err := a.measured(c)
		if err != nil {
			return err
		}
		if len(before) == 0 { // a share of processors takes two looks
			if _, err := a.sample(records, before); err != nil {
				return err
			}
			if err := sleep(c.Context, 500*time.Millisecond); err != nil {
				return err
			}
		}
		rows, err := a.sample(records, before)
		if err != nil {
			return err
		}
		if stream && isTerminal(a.out) {
			fmt.Fprint(a.out, "\x1b[H\x1b[2J") // from the top of an empty screen
		}
		if err := printStats(a, c, rows); err != nil || !stream {
			return err
		}
		if err := sleep(c.Context, time.Second); err != nil {
			return nil //nolint:nilerr // Ctrl-C is how people leave it
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// measured are the containers that were named, else those that run.
func (a *app) measured(c *urfave.Context) (list []runtime.Record, err error) {
	if c.NArg() > 0 {
		for _, name := range c.Args().Slice() {
			r, err := runtime.Find(a.dirs, name)
			if err != nil {
				return nil, err
			}
			list = append(list, r)
		}
		return list, nil
	}
	all, err := runtime.List(a.dirs)
	for _, r := range all {
		if r.Live() || c.Bool("all") {
			list = append(list, r)
		}
	}
	return list, err
}

// sample reads the counts of containers and compares them with those before, which it replaces.
func (a *app) sample(records []runtime.Record, before map[string]sample) (rows []statsRow, err error) {
	for _, r := range records {
		row := statsRow{Container: r.ID[:12], ID: r.ID, Name: r.Name, CPUPerc: "--", MemUsage: "-- / --", MemPerc: "--", NetIO: "--", BlockIO: "--", PIDs: "--"}
		if r.Cgroup != "" && r.Live() {
			group, err := cgroup.Load(r.Cgroup)
			if err == nil {
				var s *cgroup.Stats
				if s, err = group.Stats(); err == nil {
					now := sample{time.Now(), s}
					row.fill(before[r.ID], now)
					before[r.ID] = now
				}
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // it ended just now
				return nil, err
			}
		} else if _, warned := before[r.ID]; r.Live() && !warned {
			before[r.ID] = sample{}
			a.warn(hint.Wrap(fmt.Errorf("container %s has no cgroup of its own, so nobody counts what it uses", r.Name), "run `minipod doctor`, which tells how to get one"))
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// fill turns two samples into what a person reads, in docker's way.
func (row *statsRow) fill(before, now sample) {
	s := now.stats
	used := s.Memory.Current - min(s.Memory.Current, s.Memory.InactiveFile)
	limit := s.Memory.Limit
	if total, err := totalMemory(); err == nil && limit > total {
		limit = total
	}
	row.MemUsage = fmt.Sprintf("%s / %s", binarySize(used), binarySize(limit))
	if limit > 0 {
		row.MemPerc = fmt.Sprintf("%.2f%%", 100*float64(used)/float64(limit))
	}
	row.PIDs = strconv.FormatUint(s.Pids.Current, 10)
	var read, written uint64
	for _, d := range s.IO {
		read, written = read+d.ReadBytes, written+d.WriteBytes
	}
	row.BlockIO = fmt.Sprintf("%s / %s", humanSize(int64(read), 3), humanSize(int64(written), 3))
	if before.stats != nil {
		row.CPUPerc = fmt.Sprintf("%.2f%%", 100*float64(s.CPU.Usage-before.stats.CPU.Usage)/float64(now.at.Sub(before.at)))
	}
}

// totalMemory returns the machine's memory in bytes.
func totalMemory() (uint64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	var kilobytes uint64
	_, err = fmt.Sscanf(string(text), "MemTotal: %d kB", &kilobytes)
	return kilobytes << 10, err
}

// binarySize is docker's way of memory sizes: 12.5MiB.
func binarySize(n uint64) string {
	size, unit := float64(n), 0
	units := [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	for size >= 1024 && unit < len(units)-1 {
		size /= 1024
		unit++
	}
	return fmt.Sprintf("%.4g%s", size, units[unit])
}

func printStats(a *app, c *urfave.Context, rows []statsRow) error {
	l := listing[statsRow]{
		header: statsRow{"CONTAINER", "CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"},
		table:  `{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`,
		wide:   `{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`,
		name:   func(r statsRow) string { return r.ID },
	}
	for _, row := range rows {
		if !c.Bool("no-trunc") {
			row.ID = row.Container
		}
		l.rows = append(l.rows, row)
	}
	l.records = rows
	return l.print(a.out, c)
}

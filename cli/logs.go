package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/logs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
)

func (a *app) logsVerb() *urfave.Command {
	return &urfave.Command{
		Name: "logs", Usage: "Print what a container or a pod has printed", ArgsUsage: "CONTAINER    or    POD [-c CONTAINER]", Category: groupContainers,
		Description: "Its standard output goes to yours, and its standard error to yours.\n\n" +
			examples("minipod logs web", "minipod logs -f --tail 20 web", "minipod logs -t --since 10m web", "minipod logs --since 2026-11-27T11:00 --until 2026-11-27T12:00 web", "minipod logs pod/web -c app --previous"),
		Flags: append(podLogFlags(),
			&urfave.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what it prints, until it ends"},
			sinceFlag("print what was printed"),
			untilFlag("print what was printed"),
			&urfave.StringFlag{Name: "tail", Aliases: []string{"n"}, Value: "all", Usage: "print the last `LINES` only"},
			&urfave.BoolFlag{Name: "timestamps", Aliases: []string{"t"}, Usage: "print the time before each line"},
		),
		Action: a.logsAny,
	}
}

const momentUsage = "a `TIME`: 2026-11-27T11:22:33Z, 2026-11-27, seconds since 1970, or 42m for 42 minutes ago"

func sinceFlag(what string) urfave.Flag {
	return &urfave.StringFlag{Name: "since", Usage: what + " since " + momentUsage}
}

func untilFlag(what string) urfave.Flag {
	return &urfave.StringFlag{Name: "until", Usage: what + " until " + momentUsage}
}

// between reads --since and --until; zero where they are not given.
func between(c *urfave.Context) (since, until time.Time, err error) {
	now := time.Now()
	for name, to := range map[string]*time.Time{"since": &since, "until": &until} {
		if text := c.String(name); text != "" {
			if *to, err = parseTime(text, now); err != nil {
				return since, until, fmt.Errorf("--%s: %w", name, err)
			}
		}
	}
	return since, until, nil
}

func (a *app) logs(c *urfave.Context) error {
	if err := checkArgs(c, 1, 1); err != nil {
		return err
	}
	o := logs.ReadOptions{Follow: c.Bool("follow"), Timestamps: c.Bool("timestamps"), Tail: -1}
	var err error
	if o.Since, o.Until, err = between(c); err != nil {
		return err
	}
	if lines := c.String("tail"); lines != "all" {
		if o.Tail, err = strconv.Atoi(lines); err != nil {
			return hint.Wrap(fmt.Errorf("invalid value %q for --tail", lines), "write a number of lines, or all")
		}
	}
	r, err := runtime.Find(a.dirs, c.Args().First())
	if err != nil {
		return err
	}
	if b, err := runtime.LoadBundle(a.dirs, r.ID); err == nil && b.Log.None {
		return hint.Wrap(fmt.Errorf("container %s has no log: it was made with --log-driver none", r.Name), "see what it prints: minipod attach "+r.Name)
	}
	dir := filepath.Join(a.dirs.Containers(), r.ID)
	if o.Follow {
		ended := make(chan struct{})
		o.Ended = ended
		go func() {
			defer close(ended)
			waitForEnd(dir)
		}()
	}
	return interrupted(c.Context, logs.Read(c.Context, filepath.Join(dir, logs.FileName), o, a.out, a.err))
}

// waitForEnd waits until nobody supervises the container: its lock is free then, or gone with its folder. One that can't be asked for
// is as good as free, since nobody would know when to stop waiting.
func waitForEnd(dir string) {
	if lock, err := state.RLockThere(filepath.Join(dir, "lock")); err == nil {
		lock.Unlock()
	}
}

// interrupted is the end of a verb that goes on until Ctrl-C: no failure to be told, and a shell's status for it.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return statusError(exitInterrupted)
	}
	return err
}

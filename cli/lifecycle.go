package cli

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/supervisor"
)

// lifecycleVerbs are what is done to containers that there are.
func (a *app) lifecycleVerbs() []*urfave.Command {
	time := &urfave.IntFlag{Name: "time", Aliases: []string{"t"}, Usage: "kill it after so many `SECONDS`; -1: never (default: the container's own, 10)"}
	stopSignal := &urfave.StringFlag{Name: "signal", Aliases: []string{"s"}, Usage: "send this `SIGNAL` first"}
	keys := &urfave.StringFlag{Name: "detach-keys", Value: supervisor.DefaultKeys, Usage: "typed at a terminal, these `KEYS` leave the container alone"}
	return append([]*urfave.Command{
		a.execVerb(),
		{
			Name: "start", Usage: "Start containers that ended", ArgsUsage: "CONTAINER...", Category: groupContainers, Action: a.startContainers,
			Description: "Each starts as it was made, with what it wrote.\n\n" + examples("minipod start web", "minipod start -ai shell"),
			Flags: []urfave.Flag{
				&urfave.BoolFlag{Name: "attach", Aliases: []string{"a"}, Usage: "connect stdout, stderr and signals, and end with the command's status"},
				&urfave.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "connect stdin, too"}, keys,
			},
		},
		{
			Name: "stop", Usage: "Stop running containers", ArgsUsage: "CONTAINER...", Category: groupContainers, Action: a.stop,
			Description: "The command gets SIGTERM (or its image's signal), and after a while SIGKILL.\n\n" + examples("minipod stop web", "minipod stop -t 0 web"),
			Flags:       []urfave.Flag{time, stopSignal},
		},
		{
			Name: "restart", Usage: "Stop containers and start them again", ArgsUsage: "CONTAINER...", Category: groupContainers, Action: a.restart,
			Flags: []urfave.Flag{time, stopSignal},
		},
		{
			Name: "kill", Usage: "Send a signal to running containers", ArgsUsage: "CONTAINER...", Category: groupContainers, Action: a.kill,
			Flags: []urfave.Flag{&urfave.StringFlag{Name: "signal", Aliases: []string{"s"}, Value: "KILL", Usage: "which `SIGNAL`, a name or a number"}},
		},
		{
			Name: "wait", Usage: "Wait until containers end, and print their exit statuses", ArgsUsage: "CONTAINER...    or    --for CONDITION TYPE/NAME...", Category: groupContainers, Action: a.waitAny, Flags: waitFlags(),
		},
		{
			Name: "rename", Usage: "Rename a container", ArgsUsage: "CONTAINER NAME", Category: groupContainers, Action: a.rename,
		},
		{
			Name: "attach", Usage: "Connect stdin, stdout and stderr with a running container's", ArgsUsage: "CONTAINER", Category: groupContainers, Action: a.attachAny,
			Description: "The exit status is the command's. At a terminal, Ctrl-P Ctrl-Q leaves the container running.",
			Flags: append(attachFlags(),
				keys,
				&urfave.BoolFlag{Name: "no-stdin", Usage: "leave stdin out"},
				&urfave.BoolFlag{Name: "sig-proxy", Value: true, Usage: "hand signals on to the command, where it has no terminal"},
			),
		},
	}, a.limitVerbs()...)
}

// createVerb is `minipod create`: run's flags.
func (a *app) createVerb() *urfave.Command {
	return &urfave.Command{
		Name: "create", Usage: "Make a container and do not start it; with -f, pods", ArgsUsage: "IMAGE [COMMAND] [ARGUMENT...]    or    -f FILE", Category: groupContainers,
		Description: "It takes the flags of run, and prints the container's id. With -f it makes the pods and other objects of a manifest, as kubectl does.\n\n" +
			examples("minipod create --name web --restart always nginx", "minipod create -f web.yaml"),
		SkipFlagParsing: true, Flags: shownFlags(createTable()),
		Action: a.createAny(a.tableVerb(func(args []string) error { _, err := flags.ParseRun(args); return err }, func(args []string) (int, error) {
			return run.Create(args, &run.Parts{Compile: compileSeccomp})
		})),
	}
}

// isOfStart tells which of run's flags are about the start, and so not create's.
func isOfStart(f flags.Flag) bool {
	return slices.Contains([]string{"detach", "explain", "sig-proxy", "step"}, f.Name)
}

func (a *app) execVerb() *urfave.Command {
	return &urfave.Command{
		Name: "exec", Usage: "Run a command in a running container", ArgsUsage: "CONTAINER COMMAND [ARGUMENT...]    or    POD -- COMMAND...", Category: groupContainers,
		Description: "The exit status is the command's, or 126 where it could not be executed, 127 where there is no such command.\n\n" +
			examples("minipod exec web nginx -t", "minipod exec -it web sh", "minipod exec pod/web -c app -- env"),
		SkipFlagParsing: true, Flags: shownFlags(execTable()),
		Action: a.tableVerb(func(args []string) error { _, err := parseExecLine(args); return err }, a.execAny),
	}
}

// tableVerb is a verb whose command line is package flags': parse tells whether help was asked for.
func (a *app) tableVerb(parse func(args []string) error, do func(args []string) (int, error)) urfave.ActionFunc {
	return func(c *urfave.Context) error {
		args := c.Args().Slice()
		if errors.Is(parse(args), flags.ErrHelp) {
			urfave.HelpPrinter(a.out, c.Command.CustomHelpTemplate, c.Command)
			return nil
		}
		status, err := do(args)
		if err != nil && !errors.Is(err, run.ErrSaid) {
			return hint.Exit(err, status)
		}
		if status != 0 {
			return statusError(status)
		}
		return nil
	}
}

func shownFlags(table []flags.Flag) []urfave.Flag {
	shown := make([]urfave.Flag, len(table))
	for i, f := range table {
		shown[i] = tableFlag{f}
	}
	return shown
}

// eachContainer does one thing to every container named, and prints the name where it worked, as docker does.
func (a *app) eachContainer(c *urfave.Context, do func(r runtime.Record) error) error {
	if err := checkArgs(c, 1, -1); err != nil {
		return err
	}
	return a.forEach(c, runtime.ErrNotFound, func(name string) error {
		r, err := runtime.Find(a.dirs, name)
		if err == nil {
			err = do(r)
		}
		if err == nil {
			_, err = fmt.Fprintln(a.out, name)
		}
		return err
	})
}

func (a *app) startContainers(c *urfave.Context) error {
	if !c.Bool("attach") && !c.Bool("interactive") {
		return a.eachContainer(c, func(r runtime.Record) error { return a.startContainer(r) })
	}
	if c.NArg() != 1 {
		return usageError(c, "you cannot start and attach several containers at once")
	}
	r, err := runtime.Find(a.dirs, c.Args().First())
	if err != nil {
		return err
	}
	if r.Live() {
		return a.attachTo(r, c, c.Bool("interactive"))
	}
	held, err := runtime.Adopt(a.dirs, r)
	if err != nil {
		return err
	}
	spawned, err := supervisor.Spawn(a.dirs, held)
	if err != nil {
		return err
	}
	attached, err := a.attachment(r, c, c.Bool("interactive"))
	if err != nil {
		return errors.Join(err, spawned.Abandon())
	}
	if err := spawned.Go(); err != nil {
		return hint.Exit(err, exitFailure) // docker's: there was no command whose status it could be
	}
	return a.follow(attached, r, true)
}

// startContainer starts a container that ended. One that runs is no error, as in docker.
func (a *app) startContainer(r runtime.Record) error {
	if r.Live() {
		return nil
	}
	held, err := runtime.Adopt(a.dirs, r)
	if errors.Is(err, runtime.ErrRunning) {
		return a.busy(r, err)
	}
	if err != nil {
		return err
	}
	if err := run.Leave(a.dirs, held); err != nil {
		return hint.Exit(err, exitFailure) // docker's, whatever the reason
	}
	return nil
}

// busy is the error of what takes a container that does not run, where somebody holds it: none if somebody else has started it.
func (a *app) busy(r runtime.Record, err error) error {
	now, e := runtime.Find(a.dirs, r.ID)
	switch {
	case e != nil:
		return e
	case now.Live():
		return nil
	}
	return hint.Wrap(fmt.Errorf("start container %s: another command works with it: %w", r.Name, err), "try again")
}

func stopOptions(c *urfave.Context) (o supervisor.StopOptions, err error) {
	if c.IsSet("time") {
		seconds := c.Int("time")
		if seconds < -1 {
			return o, usageError(c, fmt.Sprintf("invalid time %d: use seconds, or -1 to wait for ever", seconds))
		}
		o.Timeout = &seconds
	}
	if text := c.String("signal"); text != "" {
		sig, err := flags.ParseSignal(text)
		if err != nil {
			return o, err
		}
		o.Signal = syscall.Signal(sig)
	}
	return o, nil
}

func (a *app) stop(c *urfave.Context) error {
	o, err := stopOptions(c)
	if err != nil {
		return err
	}
	return a.eachContainer(c, func(r runtime.Record) error { return supervisor.Of(a.dirs, r).Stop(o) })
}

func (a *app) restart(c *urfave.Context) error {
	o, err := stopOptions(c)
	if err != nil {
		return err
	}
	o.Keep = true
	return a.eachContainer(c, func(r runtime.Record) error {
		if err := supervisor.Of(a.dirs, r).Stop(o); err != nil {
			return err
		}
		r, err := runtime.Find(a.dirs, r.ID)
		if err != nil {
			return err
		}
		return a.startContainer(r)
	})
}

func (a *app) kill(c *urfave.Context) error {
	sig, err := flags.ParseSignal(c.String("signal"))
	if err != nil {
		return err
	}
	return a.eachContainer(c, func(r runtime.Record) error {
		peer := supervisor.Of(a.dirs, r)
		if err := peer.Signal(syscall.Signal(sig)); err != nil {
			return fmt.Errorf("cannot kill container: %w", err)
		}
		return nil
	})
}

func (a *app) wait(c *urfave.Context) error {
	if err := checkArgs(c, 1, -1); err != nil {
		return err
	}
	return a.forEach(c, nil, func(name string) error {
		r, err := runtime.Find(a.dirs, name)
		if err != nil {
			return err
		}
		status, err := supervisor.Of(a.dirs, r).Wait()
		if errors.Is(err, supervisor.ErrNotRunning) { // it ended before, or just now
			if r, err = runtime.Find(a.dirs, r.ID); err != nil {
				return err
			}
			status = r.ExitCode
		} else if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.out, status)
		return err
	})
}

func (a *app) rename(c *urfave.Context) error {
	if err := checkArgs(c, 2, 2); err != nil {
		return err
	}
	name := c.Args().Get(1)
	if err := flags.CheckName(name); err != nil {
		return err
	}
	r, err := runtime.Find(a.dirs, c.Args().First())
	if err != nil {
		return err
	}
	return supervisor.Rename(a.dirs, r, name)
}

func (a *app) attach(c *urfave.Context) error {
	if err := checkArgs(c, 1, 1); err != nil {
		return err
	}
	r, err := runtime.Find(a.dirs, c.Args().First())
	if err != nil {
		return err
	}
	return a.attachTo(r, c, !c.Bool("no-stdin"))
}

func (a *app) attachTo(r runtime.Record, c *urfave.Context, stdin bool) error {
	attached, err := a.attachment(r, c, stdin)
	if err != nil {
		return err
	}
	return a.follow(attached, r, !c.IsSet("sig-proxy") || c.Bool("sig-proxy"))
}

func (a *app) attachment(r runtime.Record, c *urfave.Context, stdin bool) (*supervisor.Attached, error) {
	keys, err := supervisor.ParseKeys(c.String("detach-keys"))
	if err != nil {
		return nil, err
	}
	b, err := runtime.LoadBundle(a.dirs, r.ID)
	if err != nil {
		return nil, err
	}
	return supervisor.Of(a.dirs, r).Attach(supervisor.AttachOptions{Stdin: stdin && b.Stdin, TTY: b.Spec.Process.Terminal, Keys: keys})
}

// follow stays with an attached container to its end. Signals are for its command.
func (a *app) follow(attached *supervisor.Attached, r runtime.Record, proxy bool) error {
	signals := make(chan os.Signal, 16)
	usual, _ := linux.Forwardable()
	if !proxy {
		usual = slices.DeleteFunc(usual, func(s os.Signal) bool { return s != syscall.SIGWINCH })
	}
	signal.Notify(signals, usual...)
	defer signal.Stop(signals)
	go func() {
		for s := range signals {
			if s == syscall.SIGWINCH {
				attached.Resize()
			} else if number, ok := s.(syscall.Signal); ok {
				_ = supervisor.Of(a.dirs, r).Signal(number)
			}
		}
	}()
	status, err := attached.Run()
	switch {
	case errors.Is(err, supervisor.ErrDetached):
		fmt.Fprintln(a.err, "read escape sequence")
		return nil
	case err != nil:
		return hint.Exit(err, status)
	case status != 0:
		return statusError(status)
	}
	return nil
}

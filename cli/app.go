package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/image/registry"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
)

// exitFailure is docker's exit status for a verb that was understood and failed: no such image, no such volume.
// `run` alone answers with hint.ExitRuntime there, since its status is otherwise that of the container's command.
const exitFailure = 1

// exitInterrupted is what a shell shows for a process that Ctrl-C ended.
const exitInterrupted = 130

// app is what every verb works with. Verbs are methods on it; nothing in this package is global.
type app struct {
	in       io.Reader
	out, err io.Writer
	dirs     state.Dirs
	args     []string // as typed, for a second run inside the user's id range
	inside   bool     // this is that second run
}

// Main runs the command line (without the program's name) and returns the exit status for the process. It is the
// only place that prints an error.
func Main(args []string) int {
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, args: args}
	return a.start()
}

// start runs a's command line until it is done or Ctrl-C cancels it; what is half-made goes away then.
func (a *app) start() int {
	collectLater()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return a.main(ctx, a.args)
}

// collectLater leaves the garbage of a command that ends within a moment to the kernel: collecting it
// takes some percent of such a command's time, and of that of the pods which start meanwhile.
func collectLater() {
	const moment, usual, later = time.Second, 100, 400 // in percent of what lives, as GOGC
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(later)
		time.AfterFunc(moment, func() { debug.SetGCPercent(usual) })
	}
}

func (a *app) main(ctx context.Context, args []string) int {
	if len(args) > 0 && args[0] == completeVerb {
		a.complete(args[1:])
		return 0
	}
	if len(args) > 0 && args[0] == "help" { // `help image ls` is `image ls --help`
		args = append(slices.Clone(args[1:]), "--help")
	}
	urfave.FlagStringer = flagHelp // the library's only place for it
	tree := a.tree()
	arranged, err := arrange(tree, args)
	if err == nil {
		err = tree.RunContext(ctx, append([]string{tree.Name}, arranged...))
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = hint.Exit(errors.New("interrupted"), exitInterrupted)
	}
	return a.report(err)
}

// report prints err as a person wants it, what failed and what to do about it, and returns the exit status.
func (a *app) report(err error) int {
	if err == nil {
		return 0
	}
	var status statusError
	if errors.As(err, &status) { // another process has said it all
		return int(status)
	}
	var spoken *spokenError
	var translated *translatedError
	switch {
	case errors.As(err, &spoken):
		spoken.print(a.err)
	case errors.As(err, &translated) && translated.language != lang.English:
		fmt.Fprintf(a.err, "minipod: %s\n%s\n", err, translated.language.Say("hint: %s", hint.Of(err)))
	default:
		run.Complain(a.err, a.placed(err))
	}
	return hint.ExitStatus(err, exitFailure)
}

// placed adds to an error that this terminal is not in the world of the lab that is open, where that may be why.
func (a *app) placed(err error) error {
	if len(a.args) > 0 && a.args[0] == "lab" {
		return err
	}
	return state.Placed(err, os.Getenv, errors.Is(err, runtime.ErrNotFound) || errors.Is(err, registry.ErrUnreachable))
}

// warn prints what a person should know although the verb goes on.
func (a *app) warn(err error) {
	hint.Print(a.err, fmt.Errorf("warning: %w", err))
}

// A statusError ends the process with a status and prints nothing.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// Groups of verbs in `minipod help`.
const (
	groupContainers = "Containers"
	groupImages     = "Images"
	groupVolumes    = "Volumes"
	groupNetworks   = "Networks"
	groupMachine    = "Your machine"
)

// tree is every verb there is.
func (a *app) tree() *urfave.App {
	images, volumes := a.imageVerbs(), a.volumeVerbs()
	verbs := append(a.containerVerbs(), a.logsVerb(), a.eventsVerb())
	verbs = append(verbs, topLevel(groupImages, images, map[string]string{
		"pull": "pull", "ls": "images", "rm": "rmi", "tag": "tag", "load": "load", "save": "save", "import": "import",
	})...)
	verbs = append(verbs, a.kubeVerbs()...)
	verbs = append(verbs, a.inspectVerb(),
		group("container", groupContainers, "Work with containers", a.containerGroup(verbs)),
		group("image", groupImages, "Work with images", images),
		group("volume", groupVolumes, "Work with volumes", volumes),
		group("network", groupNetworks, "Look at networks", a.networkVerbs()),
		a.systemGroup(), a.labGroup(), a.doctorVerb(), a.infoVerb(), a.versionVerb(), a.completionVerb())
	return &urfave.App{
		Name:     "minipod",
		HelpName: "minipod",
		Usage:    "containers and pods without root, without a daemon",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "root", Usage: "keep images, containers and volumes in `FOLDER` (default: $MINIPOD_ROOT, else ~/.local/share/minipod)"},
			&urfave.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version"},
		},
		Before:                    a.findDirs,
		Action:                    a.withoutVerb,
		Commands:                  dressed(verbs),
		DisableSliceFlagSeparator: true, // --label a=b,c is one label
		HideVersion:               true, // ours prints one line, as docker does
		HideHelpCommand:           true, // main rewrites `help VERB` to `VERB --help`
		CustomAppHelpTemplate:     appHelp,
		Reader:                    a.in,
		Writer:                    a.out,
		ErrWriter:                 a.err,
		ExitErrHandler:            func(*urfave.Context, error) {}, // report does that
		OnUsageError:              onUsageError,
	}
}

// findDirs decides where everything is kept, before any verb runs. --root goes into the environment: run and the
// processes that we start find it there.
func (a *app) findDirs(c *urfave.Context) error {
	if root := c.String("root"); root != "" {
		absolute, err := filepath.Abs(root)
		if err != nil {
			return fmt.Errorf("find --root: %w", err)
		}
		if err := os.Setenv("MINIPOD_ROOT", absolute); err != nil {
			return fmt.Errorf("hand --root on: %w", err)
		}
	}
	if verb := c.Args().First(); verb != "" && verb != "lab" && verb != "help" {
		if err := state.CheckWorld(os.Getenv); err != nil {
			return err
		}
	}
	var err error
	a.dirs, err = state.Find(os.Getenv)
	return err
}

// withoutVerb is `minipod` alone.
func (a *app) withoutVerb(c *urfave.Context) error {
	if c.Bool("version") {
		return a.printVersionLine()
	}
	return urfave.ShowAppHelp(c)
}

// topLevel makes docker's older spellings out of the verbs of a group: `minipod image ls` is also `minipod images`.
func topLevel(category string, verbs []*urfave.Command, names map[string]string) []*urfave.Command {
	var top []*urfave.Command
	for _, verb := range verbs {
		if name, ok := names[verb.Name]; ok {
			copied := *verb
			copied.Name, copied.Aliases, copied.Category = name, nil, category
			top = append(top, &copied)
		}
	}
	return top
}

// group makes `minipod NAME VERB`.
func group(name, category, usage string, verbs []*urfave.Command) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, Category: category, Subcommands: verbs,
		Action: func(c *urfave.Context) error { return urfave.ShowSubcommandHelp(c) },
	}
}

// dressed gives every verb what all have in common.
func dressed(verbs []*urfave.Command) []*urfave.Command {
	var dress func(path string, verbs []*urfave.Command)
	dress = func(path string, verbs []*urfave.Command) {
		for _, verb := range verbs {
			verb.HelpName = path + verb.Name
			verb.HideHelpCommand = true // else `minipod rmi help` would be help about rmi
			verb.OnUsageError = onUsageError
			verb.CustomHelpTemplate = verbHelp
			dress("minipod "+verb.HelpName+" ", verb.Subcommands)
		}
	}
	dress("", verbs) // urfave/cli itself puts the program in front of the topmost
	return verbs
}

// checkArgs complains as docker does about the number of arguments; a negative maximum is none.
func checkArgs(c *urfave.Context, minimum, maximum int) error {
	n := c.NArg()
	if n >= minimum && (maximum < 0 || n <= maximum) {
		return nil
	}
	language := language()
	if asked, err := lang.Parse(c.String("lang")); err == nil { // of the labs
		language = asked
	}
	arguments := func(n int) string {
		if n == 1 {
			return language.Say("argument")
		}
		return language.Say("arguments")
	}
	want := language.Say("between %d and %d %s", minimum, maximum, arguments(maximum))
	switch {
	case minimum == maximum:
		want = language.Say("exactly %d %s", minimum, arguments(minimum))
	case maximum < 0:
		want = language.Say("at least %d %s", minimum, arguments(minimum))
	case minimum == 0:
		want = language.Say("at most %d %s", maximum, arguments(maximum))
	}
	err := errors.New(language.Say("%q requires %s, got %d", c.Command.HelpName, want, n))
	if maximum == 0 {
		err = errors.New(language.Say("%q requires no arguments, got %d", c.Command.HelpName, n))
	}
	return badUsage(&translatedError{err, language}, language.Say("run `%s --help`", c.Command.HelpName))
}

// A translatedError is in that language, and so is its hint.
type translatedError struct {
	error
	language lang.Lang
}

func (e *translatedError) Unwrap() error { return e.error }

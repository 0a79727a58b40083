package cli

import (
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/runtime-spec/specs-go"
	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/seccomp"
)

// containerVerbs are run and what looks at containers.
func (a *app) containerVerbs() []*urfave.Command {
	return append([]*urfave.Command{
		a.runVerb(), a.createVerb(), a.psVerb(), a.rmVerb(),
		a.nsVerb(), a.cgroupsVerb(), a.topVerb(), a.portVerb(), a.cpVerb(), a.diffVerb(), a.exportVerb(), a.commitVerb(),
	}, a.lifecycleVerbs()...)
}

// runVerb is `minipod run` for help and completion, and for a run that could not start before main: see cli/run.
func (a *app) runVerb() *urfave.Command {
	return &urfave.Command{
		Name: "run", Usage: "Run a command in a new container", ArgsUsage: "IMAGE [COMMAND] [ARGUMENT...]", Category: groupContainers,
		Description: "What follows the image belongs to the command. The exit status is the command's, or 128+n where signal n ended it;\n" +
			"125 where minipod failed, 126 where the command could not be executed, 127 where there is no such command.\n\n" +
			examples("minipod run --rm alpine echo hi", "minipod run -it --rm alpine sh", "minipod run --rm -v \"$PWD\":/src -w /src alpine ls -l",
				"minipod run --rm --explain alpine true"),
		SkipFlagParsing: true,
		Flags:           shownFlags(flags.RunFlags()),
		Action: a.runAny(a.tableVerb(func(args []string) error { _, err := flags.ParseRun(args); return err }, func(args []string) (int, error) {
			return run.Main(args, &run.Parts{Compile: compileSeccomp})
		})),
	}
}

// compileSeccomp compiles Docker's default profile, or that of a file, for a process with these capabilities.
func compileSeccomp(profile string, set caps.Set) ([]byte, error) {
	var rules *specs.LinuxSeccomp
	var err error
	if profile == "" {
		rules, err = seccomp.Default(set.Names())
	} else {
		rules, err = seccomp.Load(profile, set.Names())
	}
	if err != nil {
		return nil, err
	}
	return seccomp.Compile(rules)
}

// volumeUsers answers which containers mount a volume.
func (a *app) volumeUsers() (func(name string) []string, error) {
	containers, err := runtime.List(a.dirs)
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	for _, c := range containers {
		for _, name := range c.Volumes {
			users[name] = append(users[name], c.ID)
		}
	}
	return func(name string) []string { return users[name] }, nil
}

// imageUsers answers which containers were made from an image.
func (a *app) imageUsers(id digest.Digest) ([]string, error) {
	containers, err := runtime.List(a.dirs)
	if err != nil {
		return nil, err
	}
	var users []string
	for _, c := range containers {
		if c.ImageID == string(id) {
			users = append(users, c.ID)
		}
	}
	return users, nil
}

// counts answers how many images and containers there are.
func (a *app) counts() (images, containers int, err error) {
	s, err := store.Open(a.dirs)
	if err != nil {
		return 0, 0, err
	}
	all, err := s.List()
	if err != nil {
		return 0, 0, err
	}
	made, err := runtime.List(a.dirs)
	return len(all), len(made), err
}

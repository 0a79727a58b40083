package cli

import (
	"errors"

	"github.com/opencontainers/go-digest"
	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/image"
	"codeberg.org/minipod/minipod/image/store"
)

// containerVerbs are run and what looks at containers.
func (a *app) containerVerbs() []*urfave.Command {
	table := flags.RunFlags()
	shown := make([]urfave.Flag, len(table))
	for i, f := range table {
		shown[i] = tableFlag{f}
	}
	return []*urfave.Command{{
		Name: "run", Usage: "Run a command in a new container", ArgsUsage: "IMAGE [COMMAND] [ARGUMENT...]", Category: groupContainers,
		Description: "What follows the image belongs to the command. The exit status is the command's, 128+n where signal n ended it;\n" +
			"125 where minipod itself failed, 126 where the command could not be executed, 127 where there is no such command.\n\n" +
			examples("minipod run --rm alpine echo hi", "minipod run -it --rm alpine sh", "minipod run --rm -v \"$PWD\":/src -w /src alpine ls -l",
				"minipod run --rm --explain alpine true"),
		SkipFlagParsing: true,
		Flags:           shown,
		Action: func(c *urfave.Context) error {
			if _, err := flags.ParseRun(c.Args().Slice()); errors.Is(err, flags.ErrHelp) {
				urfave.HelpPrinter(a.out, c.Command.CustomHelpTemplate, c.Command)
				return nil
			}
			return errors.New("run: not here yet")
		},
	}}
}

// volumeUsers answers which containers mount a volume.
func (a *app) volumeUsers() (func(name string) []string, error) {
	return func(string) []string { return nil }, nil
}

// imageUsers answers which containers were made from an image.
func (a *app) imageUsers(digest.Digest) ([]string, error) { return nil, nil }

// counts answers how many images and containers there are.
func (a *app) counts() (images, containers int, err error) {
	s, err := store.Open(a.dirs)
	if err != nil {
		return 0, 0, err
	}
	all, err := s.List()
	return len(all), 0, err
}

func (a *app) archiveVerbs() []*urfave.Command { return nil }

func (a *app) progress(quiet bool) (image.Progress, func()) { return nil, func() {} }

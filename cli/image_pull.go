package cli

import (
	"fmt"
	"os"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/image"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/linux"
)

func (a *app) pullVerb() *urfave.Command {
	return &urfave.Command{
		Name: "pull", Usage: "Bring an image from a registry", ArgsUsage: "NAME[:TAG|@DIGEST]",
		Description: "\"alpine\" is docker.io/library/alpine:latest. Mirrors and registries without TLS are set in the configuration file;\n" +
			"`minipod info` prints its name. A broken pull goes on where it ended when it is repeated.\n\n" +
			examples("minipod pull alpine", "minipod pull --platform linux/arm64 debian:12-slim", "minipod pull --explain busybox"),
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "platform", Usage: "pull for `OS/ARCH[/VARIANT]` rather than this machine"},
			quietFlag("print the image's name only"),
			explainFlag(),
		},
		Action: a.inNamespace(a.pull),
	}
}

func (a *app) pull(c *urfave.Context) error {
	if err := checkArgs(c, 1, 1); err != nil {
		return err
	}
	explain, err := a.explainer(c)
	if err != nil {
		return err
	}
	settings, err := config.Load(a.dirs)
	if err != nil {
		return err
	}
	name, err := a.parseName(c.Args().First())
	if err != nil {
		return err
	}
	images, err := store.Open(a.dirs)
	if err != nil {
		return err
	}
	quiet := c.Bool("quiet")
	progress, finish := a.progress(quiet)
	_, report, err := image.Pull(c.Context, images, name, image.PullOptions{
		Platform: c.String("platform"), Config: settings, Progress: progress, Explain: explain,
	})
	finish()
	for _, warning := range report.Warnings {
		fmt.Fprintln(a.err, "minipod: warning:", warning)
	}
	if err != nil {
		return err
	}
	if !quiet {
		for _, line := range report.Lines() {
			fmt.Fprintln(a.out, line)
		}
	}
	fmt.Fprintln(a.out, name.String())
	return nil
}

// isTerminal tells whether w is where a person looks.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && linux.IsTerminal(int(f.Fd()))
}

func (a *app) progress(quiet bool) (image.Progress, func()) { return nil, func() {} }

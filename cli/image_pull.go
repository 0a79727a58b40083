package cli

import (
	"fmt"
	"os"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/image"
	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime/idmap"
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
		Action: a.unpacking(a.pull),
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
	bounds, err := layerOptions(settings)
	if err != nil {
		return err
	}
	images, err := store.Open(a.dirs)
	if err != nil {
		return err
	}
	quiet := c.Bool("quiet")
	progress, finish := a.progress(quiet || explain != nil) // who listens to the story needs no bars in it
	img, report, err := image.Pull(c.Context, images, name, image.PullOptions{
		Platform: c.String("platform"), Config: settings, Layer: bounds, Progress: progress, Explain: explain,
	})
	finish()
	for _, warning := range report.Warnings {
		fmt.Fprintln(a.err, "minipod: warning:", warning)
	}
	if err != nil {
		return err
	}
	a.happened(events.Image("pull", string(img.ID), name.Familiar()))
	if !quiet {
		for _, line := range report.Lines() {
			fmt.Fprintln(a.out, line)
		}
	}
	fmt.Fprintln(a.out, name.String())
	return nil
}

// progress returns what shows a pull while it runs, and a function to end that before anything else is printed.
func (a *app) progress(silent bool) (image.Progress, func()) {
	f, ok := a.out.(*os.File)
	switch {
	case silent:
		return nil, func() {}
	case !ok || !linux.IsTerminal(int(f.Fd())):
		return image.NewLines(a.out), func() {}
	}
	screen := image.NewScreen(f, func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0
		}
		return columns
	})
	return screen, func() { _ = screen.Close() }
}

// layerOptions bounds what a layer may unpack to. In a namespace of one id every owner but that one is refused, which
// is then not an error.
func layerOptions(settings *config.Config) (layer.Options, error) {
	uids, gids, _, err := idmap.ForUser(os.Geteuid(), os.Getegid())
	if err != nil {
		return layer.Options{}, err
	}
	return layer.Options{MaxBytes: int64(settings.Storage.MaxLayerSize), TolerateChown: uids.Single() || gids.Single()}, nil
}

// isTerminal tells whether a person is at the other end of stream.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && linux.IsTerminal(int(f.Fd()))
}

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/image"
	"codeberg.org/minipod/minipod/image/archive"
	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
)

// archiveVerbs move images between the store and files.
func (a *app) archiveVerbs() []*urfave.Command {
	return []*urfave.Command{
		{
			Name: "load", Usage: "Bring images from a file that save, docker or skopeo wrote",
			Description: "Reads docker-archive, OCI archives and OCI layouts (folders), plain or compressed with gzip or zstd.\n\n" +
				examples("minipod load -i alpine.tar", "docker save alpine | minipod load"),
			Flags: []urfave.Flag{
				&urfave.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "read `FILE` (or a folder with an OCI layout) rather than standard input"},
				&urfave.StringFlag{Name: "platform", Usage: "take the images for `OS/ARCH[/VARIANT]` rather than this machine"},
				quietFlag("accepted for docker's sake"),
			},
			Action: a.unpacking(a.load),
		},
		{
			Name: "save", Usage: "Write images to a file", ArgsUsage: "IMAGE...",
			Description: examples("minipod save -o alpine.tar alpine", "minipod save alpine busybox | ssh elsewhere docker load",
				"minipod save --format oci-dir -o layout alpine"),
			Flags: []urfave.Flag{
				&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write `FILE` rather than standard output"},
				&urfave.StringFlag{Name: "format", Value: string(archive.DockerArchive), Usage: "write this `FORMAT`: docker-archive, oci-archive or oci-dir"},
			},
			Action: a.save,
		},
		{
			Name: "import", Usage: "Make an image of a root file system in a tar", ArgsUsage: "FILE|- [NAME]",
			Description: examples("minipod import rootfs.tar.gz mine:1", "debootstrap … | minipod import -c 'CMD [\"bash\"]' - debian:mine"),
			Flags: []urfave.Flag{
				&urfave.StringSliceFlag{Name: "change", Aliases: []string{"c"}, Usage: "apply an `INSTRUCTION` of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR"},
				&urfave.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "keep this `TEXT` as the image's comment"},
				&urfave.StringFlag{Name: "platform", Usage: "what the file system is for: `OS/ARCH[/VARIANT]`"},
			},
			Action: a.unpacking(a.importTar),
		},
	}
}

// archiveStore opens what load and import need.
func (a *app) archiveStore() (*store.Store, layer.Options, error) {
	settings, err := config.Load(a.dirs)
	if err != nil {
		return nil, layer.Options{}, err
	}
	bounds, err := layerOptions(settings)
	if err != nil {
		return nil, bounds, err
	}
	images, err := store.Open(a.dirs)
	return images, bounds, err
}

func (a *app) load(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	options, err := loadOptions(c.String("platform"))
	if err != nil {
		return err
	}
	images, bounds, err := a.archiveStore()
	if err != nil {
		return err
	}
	options.Layer = bounds
	var loaded []archive.Loaded
	switch input := c.String("input"); {
	case input != "" && input != "-":
		loaded, err = archive.LoadPath(c.Context, images, input, options)
	case isTerminal(a.in):
		return hint.Wrap(errors.New("load an image: standard input is a terminal"), "name a file with -i, or redirect: minipod load <FILE")
	default:
		loaded, err = archive.Load(c.Context, images, a.in, options)
	}
	if err != nil {
		return err
	}
	for _, image := range loaded {
		a.happened(events.Image("load", string(image.ID), string(image.ID)))
		for _, name := range image.Names {
			fmt.Fprintln(a.out, "Loaded image:", name.Familiar())
		}
		if len(image.Names) == 0 {
			fmt.Fprintln(a.out, "Loaded image ID:", image.ID)
		}
	}
	return nil
}

func loadOptions(platform string) (o archive.LoadOptions, err error) {
	if platform != "" {
		o.Platform, err = image.ParsePlatform(platform)
	}
	return o, err
}

func (a *app) save(c *urfave.Context) error {
	if err := checkArgs(c, 1, -1); err != nil {
		return err
	}
	format, err := archive.ParseFormat(c.String("format"))
	if err != nil {
		return badUsage(err, "use docker-archive, oci-archive or oci-dir")
	}
	images, err := store.Open(a.dirs)
	if err != nil {
		return err
	}
	output := c.String("output")
	switch {
	case output != "" && output != "-":
		return archive.SavePath(c.Context, images, c.Args().Slice(), format, output)
	case format == archive.OCIDir:
		return usageError(c, "save an image: oci-dir is a folder, which needs a name: -o FOLDER")
	case isTerminal(a.out):
		return hint.Wrap(errors.New("save an image: standard output is a terminal"), "name a file with -o, or redirect: minipod save IMAGE >FILE")
	}
	return archive.Save(c.Context, images, c.Args().Slice(), format, a.out)
}

func (a *app) importTar(c *urfave.Context) error {
	if err := checkArgs(c, 1, 2); err != nil {
		return err
	}
	source := c.Args().First()
	if strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://") {
		return badUsage(fmt.Errorf("import %s: only files", source), "fetch it yourself: `curl -L "+source+" | minipod import - NAME`")
	}
	options := archive.ImportOptions{Changes: c.StringSlice("change"), Message: c.String("message")}
	var err error
	if name := c.Args().Get(1); name != "" {
		if options.Name, err = a.parseName(name); err != nil {
			return err
		}
	}
	if platform := c.String("platform"); platform != "" {
		if options.Platform, err = image.ParsePlatform(platform); err != nil {
			return err
		}
	}
	from := a.in
	if source != "-" {
		f, err := os.Open(source)
		if err != nil {
			return fmt.Errorf("import an image: %w", err)
		}
		defer f.Close()
		from = f
	}
	imported, err := a.importFrom(c, from, options)
	if err != nil {
		return err
	}
	a.happened(events.Image("import", string(imported.ID), string(imported.ID)))
	fmt.Fprintln(a.out, imported.ID)
	return nil
}

func (a *app) importFrom(c *urfave.Context, from io.Reader, options archive.ImportOptions) (archive.Loaded, error) {
	images, bounds, err := a.archiveStore()
	if err != nil {
		return archive.Loaded{}, err
	}
	options.Layer = bounds
	return archive.Import(c.Context, images, from, options)
}

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/logs"
	"codeberg.org/minipod/minipod/runtime"
)

func (a *app) inspectVerb() *urfave.Command {
	return &urfave.Command{
		Name: "inspect", Usage: "Print all there is to know about containers and images, as JSON", ArgsUsage: "NAME|ID...", Category: groupContainers,
		Description: "A name that a container and an image have is the container's; --type image asks for the other.\n\n" +
			examples("minipod inspect web", "minipod inspect -f '{{.State.Pid}}' web", "minipod inspect -f '{{json .Config.Cmd}}' --type image alpine"),
		Flags: []urfave.Flag{
			inspectFormatFlag(),
			&urfave.BoolFlag{Name: "size", Aliases: []string{"s"}, Usage: "tell how much a container has written"},
			&urfave.StringFlag{Name: "type", Usage: "look for this `KIND` only: container or image"},
		},
		Action: func(c *urfave.Context) error {
			if err := checkArgs(c, 1, -1); err != nil {
				return err
			}
			if kind := c.String("type"); kind != "" && kind != "image" && kind != "container" {
				return usageError(c, fmt.Sprintf("unknown type %q: use container or image", kind))
			}
			if c.Bool("size") { // of files that may belong to any of the user's ids
				return a.inNamespace(a.inspect)(c)
			}
			return a.inspect(c)
		},
	}
}

func (a *app) inspect(c *urfave.Context) error {
	images, err := store.Open(a.dirs)
	if err != nil {
		return err
	}
	kind := c.String("type")
	return inspectEach(a, c, func(name string) (any, error) {
		if kind != "image" {
			container, err := a.inspectContainer(images, name, c.Bool("size"))
			if err == nil || kind == "container" || !errors.Is(err, runtime.ErrNotFound) {
				return container, err
			}
		}
		image, err := a.inspectImage(images, name)
		if errors.Is(err, store.ErrNotFound) && kind == "" {
			err = hint.Wrap(fmt.Errorf("no such object: %s", name), "list them: minipod ps -a, minipod images")
		}
		return image, err
	})
}

func (a *app) inspectContainer(images *store.Store, name string, size bool) (*containerRecord, error) {
	r, err := runtime.Find(a.dirs, name)
	if err != nil {
		return nil, err
	}
	var config *ocispec.ImageConfig
	img, err := images.Resolve(r.ImageID)
	switch {
	case err == nil:
		config = &img.Config.Config
	case r.ImageID != "" && !errors.Is(err, store.ErrNotFound): // the image of a container may be gone by force
		return nil, err
	}
	c, err := a.describeWhole(r, config)
	if err != nil {
		return nil, err
	}
	if !size {
		return &c, nil
	}
	written, err := a.written(r)
	if err != nil {
		return nil, err
	}
	sizes, err := a.imageSizes([]runtime.Record{r})
	if err != nil {
		return nil, err
	}
	whole := written + sizes[r.ImageID]
	c.SizeRw, c.SizeRootFs = &written, &whole
	return &c, nil
}

// describeWhole is describe with what the container's bundle tells, where it has one.
func (a *app) describeWhole(r runtime.Record, config *ocispec.ImageConfig) (containerRecord, error) {
	b, err := runtime.LoadBundle(a.dirs, r.ID)
	if errors.Is(err, fs.ErrNotExist) || r.Status == runtime.StatusDead {
		return describe(r, nil, nil, config), nil
	}
	if err != nil {
		return containerRecord{}, err
	}
	var f *flags.Run
	if err := json.Unmarshal(b.Flags, &f); err != nil {
		return containerRecord{}, fmt.Errorf("read how container %s was made: %w", r.Name, err)
	}
	c := describe(r, b.Spec, f, &b.Image)
	c.Driver = string(b.Storage.Driver)
	if !b.Log.None && (!r.Remove || f.Detach) { // in the foreground with --rm the output is its caller's alone
		c.LogPath = filepath.Join(a.dirs.Containers(), r.ID, logs.FileName)
		c.HostConfig.LogConfig.Type = "json-file"
	}
	c.Config.StopTimeout = &b.StopTimeout
	return c, nil
}

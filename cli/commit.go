package cli

import (
	"fmt"
	"io"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/image/archive"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/supervisor"
)

func (a *app) commitVerb() *urfave.Command {
	return &urfave.Command{
		Name: "commit", Usage: "Make an image of a container and what it changed", ArgsUsage: "CONTAINER [NAME[:TAG]]", Category: groupContainers,
		Description: "The container's changes become a layer upon its image's. Volumes are no part of it.\n\n" +
			examples("minipod commit web web:patched", "minipod commit -m 'with vim' -c 'CMD [\"vim\"]' -c 'ENV EDITOR=vim' box editor"),
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "author", Aliases: []string{"a"}, Usage: "keep this `NAME` as the image's author"},
			&urfave.StringSliceFlag{Name: "change", Aliases: []string{"c"}, Usage: "apply an `INSTRUCTION` of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR"},
			&urfave.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "keep this `TEXT` as the comment in the image's history"},
			&urfave.BoolFlag{Name: "pause", Aliases: []string{"p"}, Value: true, Usage: "pause the container meanwhile, where that is possible"},
		},
		Action: a.unpacking(a.commit),
	}
}

func (a *app) commit(c *urfave.Context) error {
	if err := checkArgs(c, 1, 2); err != nil {
		return err
	}
	r, err := runtime.Find(a.dirs, c.Args().First())
	if err != nil {
		return err
	}
	options := archive.CommitOptions{
		Command: r.Command, Labels: r.Labels, Changes: c.StringSlice("change"), Author: c.String("author"), Message: c.String("message"),
	}
	if name := c.Args().Get(1); name != "" {
		if options.Name, err = a.parseName(name); err != nil {
			return err
		}
		if options.Name.Digest != "" {
			return usageError(c, "commit a container: a name with a digest cannot be given, only computed")
		}
	}
	images, bounds, err := a.archiveStore()
	if err != nil {
		return err
	}
	options.Unpack = bounds
	base, err := images.Resolve(r.ImageID)
	if err != nil {
		return fmt.Errorf("find the image of container %s: %w", r.Name, err)
	}
	v, err := a.treeView(r)
	if err != nil {
		return err
	}
	defer v.close()
	if r.Status == runtime.StatusRunning && c.Bool("pause") {
		resume := a.pauseForCommit(r)
		defer resume()
	}
	changes, err := v.now.CompareTo(c.Context, v.image, v.above, runtime.MountPoints())
	if err != nil {
		return fmt.Errorf("commit container %s: %w", r.Name, err)
	}
	if len(changes) > 0 {
		options.Layer = func(w io.Writer) error { return v.now.WriteChanges(c.Context, w, changes) }
	}
	committed, err := archive.Commit(c.Context, images, base, options)
	if err != nil {
		return fmt.Errorf("container %s: %w", r.Name, err)
	}
	fmt.Fprintln(a.out, committed.ID)
	return nil
}

// pauseForCommit freezes a container while its files are read; resume thaws it. Where that is not possible it runs on, and whoever commits
// hears what that means.
func (a *app) pauseForCommit(r runtime.Record) (resume func()) {
	peer := supervisor.Of(a.dirs, r)
	if err := peer.Pause(); err != nil {
		a.warn(hint.Wrap(fmt.Errorf("container %s runs on while it is committed, and files that it writes right now may be half written in the image: %w", r.Name, err),
			"stop it first, or say --pause=false if that is fine"))
		return func() {}
	}
	return func() {
		if err := peer.Unpause(); err != nil {
			a.warn(err)
		}
	}
}

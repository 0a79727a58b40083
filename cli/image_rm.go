package cli

import (
	"errors"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
)

// removeVerbs change what images are called and which there are.
func (a *app) removeVerbs() []*urfave.Command {
	return []*urfave.Command{
		{
			Name: "tag", Usage: "Give an image one more name", ArgsUsage: "IMAGE NAME",
			Description: examples("minipod tag alpine registry.lan:5000/base:1", "minipod tag 1e42bbe2508d base"),
			Action:      a.imageTag,
		},
		{
			Name: "rm", Aliases: []string{"remove"}, Usage: "Remove images", ArgsUsage: "IMAGE...",
			Description: "Removes the name, and the image with its last name. Layers that other images need stay.\n\n" +
				examples("minipod rmi alpine", "minipod rmi -f 1e42bbe2508d"),
			Flags:  []urfave.Flag{forceFlag("remove all names of an image, even of one that a container uses; do not complain about missing ones")},
			Action: a.inNamespace(a.imageRemove),
		},
		{
			Name: "prune", Usage: "Remove images that have no name, and what downloads left behind",
			Description: examples("minipod image prune", "minipod image prune -a -f --filter until=240h"),
			Flags: []urfave.Flag{
				&urfave.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "remove every image that no container uses"},
				forceFlag("do not ask"),
				filterFlag("until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]"),
			},
			Action: a.confirmed("This will remove images that have no name (with --all: that no container uses).", a.inNamespace(a.imagePrune)),
		},
	}
}

func (a *app) imageTag(c *urfave.Context) error {
	if err := checkArgs(c, 2, 2); err != nil {
		return err
	}
	name, err := a.parseName(c.Args().Get(1))
	if err != nil {
		return err
	}
	if name.Digest != "" {
		return usageError(c, "tag an image: a name with a digest cannot be given, only computed")
	}
	images, err := store.Open(a.dirs)
	if err != nil {
		return err
	}
	img, err := images.Resolve(c.Args().First())
	if err != nil {
		return err
	}
	if err := images.Tag(c.Context, name, img.Manifest); err != nil {
		return err
	}
	a.happened(events.Image("tag", string(img.ID), name.Familiar()))
	return nil
}

// parseName reads an image's name as the user's configuration completes it.
func (a *app) parseName(name string) (reference.Reference, error) {
	settings, err := config.Load(a.dirs)
	if err != nil {
		return reference.Reference{}, err
	}
	return reference.Parse(settings.Qualify(name))
}

func (a *app) imageRemove(c *urfave.Context) error {
	if err := checkArgs(c, 1, -1); err != nil {
		return err
	}
	images, err := store.Open(a.dirs)
	if err != nil {
		return err
	}
	return a.forEach(c, store.ErrNotFound, func(name string) error {
		removed, err := images.Remove(c.Context, name, c.Bool("force"), a.imageUsers)
		a.printRemoved(removed)
		return err
	})
}

// printRemoved prints docker's lines for what `rmi` did.
func (a *app) printRemoved(removed store.Removed) {
	for _, name := range removed.Untagged {
		fmt.Fprintln(a.out, "Untagged:", name)
	}
	a.tellRemoved(removed)
	for _, id := range removed.Deleted {
		fmt.Fprintln(a.out, "Deleted:", id)
	}
	a.tellDeferred(removed)
}

func (a *app) tellRemoved(removed store.Removed) {
	for _, name := range removed.Untagged {
		a.happened(events.Image("untag", fmt.Sprint(name), fmt.Sprint(name)))
	}
	for _, id := range removed.Deleted {
		a.happened(events.Image("delete", fmt.Sprint(id), fmt.Sprint(id)))
	}
}

func (a *app) tellDeferred(removed store.Removed) {
	if removed.Deferred {
		a.warn(errors.New("an image is being pulled right now, so the space is freed by a later `minipod image prune`"))
	}
}

func (a *app) imagePrune(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	freed, err := a.pruneImages(c)
	return a.printFreed(freed, err)
}

// pruneImages removes what --all and --filter mean, prints docker's list of it, and answers the bytes that it took.
func (a *app) pruneImages(c *urfave.Context) (freed int64, err error) {
	images, err := store.Open(a.dirs)
	if err != nil {
		return 0, err
	}
	var removed store.Removed
	if len(c.StringSlice("filter")) > 0 {
		removed, err = a.pruneSome(c, images)
	} else {
		removed, err = images.Prune(c.Context, c.Bool("all"), a.imageUsers)
	}
	if len(removed.Untagged)+len(removed.Deleted) > 0 {
		fmt.Fprintln(a.out, "Deleted Images:")
		a.tellRemoved(removed)
		for _, name := range removed.Untagged {
			fmt.Fprintln(a.out, "untagged:", name)
		}
		for _, id := range removed.Deleted {
			fmt.Fprintln(a.out, "deleted:", id)
		}
		fmt.Fprintln(a.out)
	}
	a.tellDeferred(removed)
	return removed.Freed, err
}

// pruneSome removes the images that the filters keep, one by one: Prune itself knows no filters.
func (a *app) pruneSome(c *urfave.Context, images *store.Store) (sum store.Removed, err error) {
	match, err := imageFilter(c, images, "until", "label", "label!")
	if err != nil {
		return sum, err
	}
	all, err := images.List()
	if err != nil {
		return sum, err
	}
	for _, img := range all {
		if _, ok := match(img, ""); !ok || !img.Dangling() && !c.Bool("all") {
			continue
		}
		if users, err := a.imageUsers(img.ID); err != nil || len(users) > 0 {
			continue
		}
		removed, err := images.Remove(c.Context, string(img.ID), true, a.imageUsers)
		if errors.Is(err, store.ErrNotFound) {
			continue // somebody else was faster
		}
		sum.Untagged = append(sum.Untagged, removed.Untagged...)
		sum.Deleted = append(sum.Deleted, removed.Deleted...)
		sum.Freed, sum.Deferred = sum.Freed+removed.Freed, sum.Deferred || removed.Deferred
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

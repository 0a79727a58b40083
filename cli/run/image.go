package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// findImage finds the image in the store, and has it pulled where --pull says so. It leaves the store's names pinned
// (r.unpin): until the container is written down, nobody may remove the image.
func (r *run) findImage() (err error) {
	name := r.config.Qualify(r.Image)
	if err := r.pin(); err != nil {
		return err
	}
	r.image, err = r.lookUp(name)
	switch {
	case r.Pull != "always" && err == nil:
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrNotUnpacked):
		return err
	case r.Pull == "never":
		return hint.Wrap(err, "pull it, or leave --pull=never out")
	}
	r.unpin() // who tags waits for it
	if err := r.pull(name); err != nil {
		return err
	}
	if err := r.pin(); err != nil {
		return err
	}
	r.image, err = r.lookUp(name)
	return err
}

func (r *run) pin() (err error) {
	r.unpin, err = r.store.Pin()
	return err
}

// lookUp answers ErrNotFound, too, for an image of another platform than the one asked for.
func (r *run) lookUp(name string) (*store.Image, error) {
	img, err := r.store.Resolve(name)
	if err != nil {
		return nil, err
	}
	if _, err := r.store.LayerDirs(img); err != nil {
		return nil, err
	}
	if r.Platform != "" && !samePlatform(r.Platform, img.Config.OS, img.Config.Architecture, img.Config.Variant) {
		return nil, fmt.Errorf("%w: %s for %s (here it is %s/%s)", store.ErrNotFound, r.Image, r.Platform, img.Config.OS, img.Config.Architecture)
	}
	return img, nil
}

// samePlatform compares OS/ARCH[/VARIANT], or an ARCH alone; what is not said fits.
func samePlatform(want, system, arch, variant string) bool {
	parts := strings.Split(want, "/")
	if len(parts) == 1 {
		return parts[0] == arch || parts[0] == system
	}
	return parts[0] == system && parts[1] == arch && (len(parts) < 3 || parts[2] == variant || variant == "")
}

// pull has another minipod pull, in the user namespace where layers can be unpacked, and on the host's network. It says
// what it does, and what went wrong; we only pass its exit status on.
func (r *run) pull(name string) error {
	args := []string{"pull"}
	if r.Quiet {
		args = append(args, "--quiet")
	}
	if r.Platform != "" {
		args = append(args, "--platform", r.Platform)
	}
	if r.Explain != "" {
		args = append(args, "--explain="+r.Explain)
	}
	if !r.Quiet && r.Pull == "missing" {
		fmt.Fprintf(os.Stderr, "Unable to find image '%s' locally\n", r.Image)
	}
	// Standard output belongs to the command, so the pull talks on standard error.
	status, err := r.inside(append(args, name), os.Stderr)
	if err != nil {
		return fmt.Errorf("pull %s: %w", r.Image, err)
	}
	if status >= 128 { // a signal: Ctrl-C most likely
		return hint.Exit(fmt.Errorf("pull %s: interrupted", r.Image), status)
	}
	if status != 0 {
		return hint.Exit(ErrSaid, hint.ExitRuntime)
	}
	return nil
}

// ErrSaid is an error that another process of ours has printed already.
var ErrSaid = errors.New("")

// inside runs minipod with args as root of the user's id range.
func (r *run) inside(args []string, out *os.File) (int, error) {
	return Inside(context.Background(), r.uids, r.gids, args, [3]*os.File{os.Stdin, out, os.Stderr})
}

// Inside runs minipod with args in a user namespace with these ids, as its root, and returns its exit status. It is interrupted when ctx ends.
func Inside(ctx context.Context, uids, gids idmap.Map, args []string, files [3]*os.File) (int, error) {
	defer lockThread()()
	status, err := stage.Inside(ctx, args, files, func(pid int) error { return idmap.Write(pid, uids, gids) })
	return status, diagnose(err)
}

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/pod/volume"
)

// imageVolumes makes those of the pod's volumes that are images. Each is a copy of what the image's layers show together, which belongs to the pod
// and lives as long: a sandbox that is made again finds it there. It appears under its name when it is whole.
func (h *podHost) imageVolumes(ctx context.Context, p *pod.Pod) error {
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if v.Image == nil {
			continue
		}
		dir := filepath.Join(h.dirs.Data, "pods", h.pod.UID, "volumes", v.Name)
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := h.imageVolume(ctx, v.Image, dir); err != nil {
			return &volume.Error{Volume: v.Name, Err: err}
		}
	}
	return nil
}

func (h *podHost) imageVolume(ctx context.Context, v *pod.ImageVolume, dir string) error {
	name := h.config.Qualify(v.Reference)
	if _, err := reference.Parse(name); err != nil {
		return fmt.Errorf("couldn't parse image name %q: %w", v.Reference, err)
	}
	h.pulling.Lock()
	defer h.pulling.Unlock()
	r := h.run(&flags.Run{Image: v.Reference})
	if err := r.pin(); err != nil {
		return err
	}
	defer func() { r.unpin() }()
	image, err := r.lookUp(name)
	missing := errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNotUnpacked)
	switch {
	case missing && v.PullPolicy == "Never":
		return fmt.Errorf("image %q is not present with pull policy of Never", v.Reference)
	case missing || err == nil && v.PullPolicy == "Always":
		r.unpin() // who tags waits for it
		h.recorder.Tell(event.Normal, "Pulling", "", "Pulling image %q", v.Reference)
		err := h.pullImage(ctx, name)
		if pinned := r.pin(); pinned != nil {
			r.unpin = func() {}
			return errors.Join(err, pinned)
		}
		if err == nil {
			image, err = r.lookUp(name)
		}
		if err != nil {
			return fmt.Errorf("pull image %q: %w", v.Reference, err)
		}
		h.recorder.Tell(event.Normal, "Pulled", "", "Successfully pulled image %q", v.Reference)
	case err != nil:
		return err
	}
	layers, err := r.store.LayerDirs(image)
	if err != nil {
		return err
	}
	return h.unfold(ctx, layers, dir)
}

// unfold merges the layers into a folder. What is left of one that was interrupted goes with the pod's folder.
func (h *podHost) unfold(ctx context.Context, layers []string, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), ".part-")
	if err != nil {
		return err
	}
	args := []string{FlattenVerb, part}
	for _, layer := range layers {
		args = append(args, filepath.Join(h.dirs.Data, layer))
	}
	text, status, err := h.insideQuietly(ctx, args)
	if err == nil && status != 0 {
		err = errors.New(text)
	}
	if err != nil {
		return fmt.Errorf("unfold the image: %w", err)
	}
	return os.Rename(part, dir)
}

package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// InUse returns the containers, running or not, that were made from an image. It is called while no container can be
// made (Pin), so its answer holds until the name is gone.
type InUse func(imageID digest.Digest) (containers []string, err error)

// Removed says what Remove and Prune did. Images and layers are listed in the order in which `docker rmi` prints
// them.
type Removed struct {
	Untagged []string        // short names
	Deleted  []digest.Digest // IDs of images, then DiffIDs of the layers that went with them
	Freed    int64           // bytes on disk, of blobs and unpacked layers
	Deferred bool            // somebody is pulling: the images are gone, their space is freed by a later Remove or Prune
}

// Remove does what `docker rmi` does. A name is untagged; if it was the image's last, the image goes, and with it
// whatever no other image needs. An ID removes the image with its name, or with its names if force is set. An image
// of a container is in use (ErrInUse) unless force is set; then it loses its names and dangles, until a Prune finds
// the container gone.
func (s *Store) Remove(ctx context.Context, nameOrID string, force bool, inUse InUse) (Removed, error) {
	var removed Removed
	err := s.shrinkIndex(ctx, func(index *ocispec.Index) error {
		removed = Removed{}
		entry, broken := s.brokenEntry(index, nameOrID)
		if broken {
			removed.untag(dropName(index, nameOf(entry)))
			return nil
		}
		found, err := s.find(index, nameOrID)
		if err != nil {
			return err
		}
		return removed.image(index, found, force, inUse)
	})
	if err != nil {
		return Removed{}, err
	}
	return removed, s.collect(ctx, &removed, false)
}

// shrinkIndex is updateIndex on a disk that may be full, which is when people remove images: the shorter index.json
// needs room beside the old one. Broken downloads make it.
func (s *Store) shrinkIndex(ctx context.Context, change func(*ocispec.Index) error) error {
	err := s.updateIndex(ctx, change)
	if errors.Is(err, linux.ENOSPC) || errors.Is(err, linux.EDQUOT) {
		if err = s.collect(ctx, &Removed{}, true); err == nil {
			err = s.updateIndex(ctx, change)
		}
	}
	return err
}

// brokenEntry finds a name whose image can't be read, which must be removable all the same.
func (s *Store) brokenEntry(index *ocispec.Index, name string) (ocispec.Descriptor, bool) {
	ref, err := reference.Parse(name)
	if err != nil {
		return ocispec.Descriptor{}, false
	}
	entry, found := lookup(index, ref)
	if !found {
		return entry, false
	}
	_, err = s.image(entry)
	return entry, err != nil && !isTransient(err)
}

// image edits the index: it drops the name that was given, or all, and leaves a nameless entry for an image that a
// container needs.
func (r *Removed) image(index *ocispec.Index, found match, force bool, inUse InUse) error {
	img := found.image
	drop := img.Names
	if found.name != "" {
		drop = []string{found.name}
	} else if len(img.Names) > 1 && !force {
		return hint.Wrap(fmt.Errorf("remove image %s: %w: it has %d names", short(img.ID), ErrInUse, len(img.Names)),
			"remove them one by one, or all with --force")
	}
	if len(drop) == len(img.Names) { // nothing would hold it any more
		users, err := inUse(img.ID)
		if err != nil {
			return fmt.Errorf("find the containers of image %s: %w", short(img.ID), err)
		}
		switch {
		case len(users) == 0:
			r.Deleted = append(r.Deleted, img.ID)
			defer func() { index.Manifests = slices.DeleteFunc(index.Manifests, sameDigest(img.Manifest.Digest)) }()
		case !force:
			return hint.Wrap(fmt.Errorf("remove image %s: %w by container %.12s", short(img.ID), ErrInUse, users[0]),
				"remove the container first with: minipod rm "+fmt.Sprintf("%.12s", users[0]))
		case len(drop) == 0:
			return fmt.Errorf("remove image %s: %w by container %.12s, which --force can't change", short(img.ID), ErrInUse, users[0])
		}
	}
	for _, name := range drop {
		dropped := dropName(index, name)
		r.untag(dropped)
		for _, d := range dropped {
			if !slices.ContainsFunc(index.Manifests, sameDigest(d.Digest)) {
				index.Manifests = append(index.Manifests, withName(d, ""))
			}
		}
	}
	return nil
}

func (r *Removed) untag(dropped []ocispec.Descriptor) {
	for _, d := range dropped {
		name := nameOf(d)
		if ref, err := reference.Parse(name); err == nil {
			name = ref.Familiar()
		}
		r.Untagged = append(r.Untagged, name)
	}
}

// Untag drops a name and nothing else; an image that loses its last name dangles. An unknown name answers nil.
func (s *Store) Untag(ctx context.Context, name reference.Reference) error {
	return s.updateIndex(ctx, func(index *ocispec.Index) error {
		for _, d := range dropName(index, name.String()) {
			if !slices.ContainsFunc(index.Manifests, sameDigest(d.Digest)) {
				index.Manifests = append(index.Manifests, withName(d, ""))
			}
		}
		return nil
	})
}

// Prune removes the images that dangle or, if all is set, every image that no container was made from; then whatever
// no image needs, abandoned downloads included.
func (s *Store) Prune(ctx context.Context, all bool, inUse InUse) (Removed, error) {
	var removed Removed
	err := s.shrinkIndex(ctx, func(index *ocispec.Index) error {
		removed = Removed{}
		for _, entry := range distinct(index) {
			img, err := s.image(entry)
			if err != nil {
				if isTransient(err) {
					return err
				}
				if nameOf(entry) == "" { // nobody can name it to remove it
					index.Manifests = slices.DeleteFunc(index.Manifests, sameDigest(entry.Digest))
				}
				continue
			}
			img.describe(index, entry.Digest)
			if !img.Dangling() && !all {
				continue
			}
			users, err := inUse(img.ID)
			if err != nil {
				return fmt.Errorf("find the containers of image %s: %w", short(img.ID), err)
			}
			if len(users) > 0 {
				continue
			}
			for _, name := range img.Names {
				removed.untag(dropName(index, name))
			}
			index.Manifests = slices.DeleteFunc(index.Manifests, sameDigest(entry.Digest))
			removed.Deleted = append(removed.Deleted, img.ID)
		}
		return nil
	})
	if err != nil {
		return Removed{}, fmt.Errorf("prune images: %w", err)
	}
	return removed, s.collect(ctx, &removed, true)
}

package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/nearest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Resolve finds an image by what people type: a name, short or whole ("alpine", "docker.io/library/alpine:3.20"), a
// name with a digest, or an image ID or a unique beginning of one, with or without "sha256:". A name wins over an ID.
// It answers ErrNotFound, with the nearest name as its hint; ErrAmbiguous; ErrBroken; or reference.ErrInvalid for
// what can be neither name nor ID.
func (s *Store) Resolve(nameOrID string) (*Image, error) {
	var found match
	err := s.look(func(index *ocispec.Index) (err error) {
		found, err = s.find(index, nameOrID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return found.image, nil
}

// A match is what a name or an ID leads to.
type match struct {
	image *Image
	name  string // the whole name that was meant; empty if an ID was given
}

func (s *Store) find(index *ocispec.Index, nameOrID string) (match, error) {
	ref, invalid := reference.Parse(nameOrID)
	if invalid == nil {
		if entry, found := lookup(index, ref); found {
			img, err := s.image(entry)
			if err != nil {
				return match{}, hint.Wrap(fmt.Errorf("image %s: %w", ref.Familiar(), err),
					"fetch it again with: minipod pull "+ref.Familiar())
			}
			img.describe(index, entry.Digest)
			return match{img, nameOf(entry)}, nil
		}
	}
	prefix := strings.TrimPrefix(nameOrID, "sha256:")
	if prefix != "" && strings.Trim(prefix, "0123456789abcdef") == "" { // one digit is enough, as in Docker
		img, err := s.byID(index, prefix)
		if img != nil || err != nil {
			return match{image: img}, err
		}
		if prefix != nameOrID || invalid != nil {
			return match{}, hint.Wrap(fmt.Errorf("%w: %s", ErrNotFound, nameOrID), "list the local images with: minipod images")
		}
	}
	if invalid != nil {
		return match{}, invalid
	}
	advice := "fetch it with: minipod pull " + ref.Familiar()
	if near := suggest(names(index), ref); near != "" {
		advice = fmt.Sprintf("did you mean %s? Or %s", near, advice)
	}
	return match{}, hint.Wrap(fmt.Errorf("%w: %s", ErrNotFound, ref.Familiar()), advice)
}

// lookup finds the entry that a name means. With a digest, the digest decides and the tag is ignored, as in Docker.
func lookup(index *ocispec.Index, ref reference.Reference) (ocispec.Descriptor, bool) {
	want := ref.String()
	for _, d := range index.Manifests {
		name := nameOf(d)
		if name == want {
			return d, true
		}
		if ref.Digest == "" || !strings.HasPrefix(name, ref.Name()) {
			continue
		}
		if ref.Digest != string(d.Digest) && ref.Digest != string(sourceOf(d)) {
			continue
		}
		if r, err := reference.Parse(name); err == nil && r.Name() == ref.Name() {
			return d, true
		}
	}
	return ocispec.Descriptor{}, false
}

// byID finds the image whose ID starts with prefix; nil if there is none. It reads each manifest, so a name is the
// faster way.
func (s *Store) byID(index *ocispec.Index, prefix string) (*Image, error) {
	var found *Image
	for _, entry := range distinct(index) {
		img, err := s.image(entry)
		if err != nil || !strings.HasPrefix(img.ID.Encoded(), prefix) {
			continue // a broken image has no ID
		}
		if found != nil && found.ID != img.ID {
			return nil, hint.Wrap(fmt.Errorf("%w: %s", ErrAmbiguous, prefix),
				"write more of its digits; minipod images --no-trunc shows all")
		}
		if found == nil {
			found = img
		}
		found.describe(index, entry.Digest)
	}
	return found, nil
}

// distinct returns the first entry of each manifest.
func distinct(index *ocispec.Index) []ocispec.Descriptor {
	seen := make(map[digest.Digest]bool, len(index.Manifests))
	var all []ocispec.Descriptor
	for _, d := range index.Manifests {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			all = append(all, d)
		}
	}
	return all
}

// List returns all images, the newest first. An image that can't be read is left out and named in the error, whose
// tree has ErrBroken; the list is good all the same.
func (s *Store) List() ([]*Image, error) {
	var images []*Image
	err := s.look(func(index *ocispec.Index) error {
		images = nil
		var errs []error
		for _, entry := range distinct(index) {
			img, err := s.image(entry)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			img.describe(index, entry.Digest)
			images = append(images, img)
		}
		return errors.Join(errs...)
	})
	slices.SortStableFunc(images, func(a, b *Image) int { return b.Created.Compare(a.Created) })
	return images, err
}

// suggest returns the local name, in its short form, that a person most likely meant by ref, or "": another tag of
// the same repository, or else a repository that is written nearly so.
func suggest(names []string, ref reference.Reference) string {
	byRepository := map[string]string{} // both in their short form
	var repositories []string
	for _, name := range names {
		r, err := reference.Parse(name)
		if err != nil {
			continue
		}
		repository := repositoryOf(r)
		if byRepository[repository] == "" || r.Tag == ref.Tag {
			byRepository[repository] = r.Familiar()
		}
		repositories = append(repositories, repository)
	}
	meant := repositoryOf(ref)
	if same := byRepository[meant]; same != "" {
		return same
	}
	return byRepository[nearest.Name(meant, repositories)]
}

func repositoryOf(r reference.Reference) string {
	return reference.Reference{Registry: r.Registry, Repository: r.Repository}.Familiar()
}

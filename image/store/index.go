package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/state"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// AnnotationSource, on the descriptor given to Tag, is the digest of the document that the registry answered for the
// name: the image's index, where it has one for many platforms. It makes NAME@DIGEST known locally and is what
// `images --digests` shows.
const AnnotationSource = "minipod.source.digest"

func (s *Store) indexName() string { return filepath.Join(s.dirs.Images(), ocispec.ImageIndexFile) }

// readIndex returns index.json as of now. A writer replaces the file, so what is read is of one piece.
func (s *Store) readIndex() (*ocispec.Index, error) {
	f, err := s.openIndex()
	if f == nil {
		return &ocispec.Index{}, err
	}
	defer f.Close()
	return parseIndex(f)
}

// look has do look at the images in index.json. What do finds broken may have been removed while it looked; then it looks again.
func (s *Store) look(do func(*ocispec.Index) error) error {
	for {
		f, err := s.openIndex()
		if err != nil {
			return err
		}
		if f == nil {
			return do(&ocispec.Index{})
		}
		index, err := parseIndex(f)
		if err == nil {
			err = do(index)
		}
		again := errors.Is(err, ErrBroken) && s.isReplaced(f) // f keeps its inode from being the next one's
		f.Close()
		if !again {
			return err
		}
	}
}

func (s *Store) isReplaced(f *os.File) bool {
	then, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(s.indexName())
	return err == nil && !os.SameFile(then, now)
}

// openIndex answers nil where no index.json is there yet.
func (s *Store) openIndex() (*os.File, error) {
	f, err := os.Open(s.indexName())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of images: %w", err)
	}
	return f, nil
}

func parseIndex(f *os.File) (*ocispec.Index, error) {
	var index ocispec.Index
	data, err := readBounded(f, maxIndex)
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of images in %s: %w", f.Name(), err)
	}
	// Others may write into the layout, too (skopeo copy). An entry that can't be followed is no entry.
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		return CheckDigest(d.Digest) != nil
	})
	return &index, nil
}

func (s *Store) writeIndex(index *ocispec.Index) error {
	index.Versioned = specs.Versioned{SchemaVersion: 2}
	index.MediaType = ocispec.MediaTypeImageIndex
	if index.Manifests == nil {
		index.Manifests = []ocispec.Descriptor{} // "manifests" is required, and null is not a list
	}
	data, err := json.Marshal(index) // compact: each `run` reads it
	if err != nil {
		return fmt.Errorf("encode the list of images: %w", err)
	}
	return state.WriteFile(s.indexName(), append(data, '\n'), 0o600)
}

// updateIndex lets change edit the list of images alone and writes it, unless change fails.
func (s *Store) updateIndex(ctx context.Context, change func(*ocispec.Index) error) error {
	lock, err := lockFile(ctx, s.lockName("index"), state.LockFile)
	if err != nil {
		return fmt.Errorf("lock the list of images: %w", err)
	}
	defer lock.Unlock()
	if err := s.dropStale(); err != nil {
		return err
	}
	index, err := s.readIndex()
	if err != nil {
		return err
	}
	if err := change(index); err != nil {
		return err
	}
	return s.writeIndex(index)
}

// dropStale removes what killed writers of index.json left. Under the lock there is no other.
func (s *Store) dropStale() error {
	stale, err := filepath.Glob(filepath.Join(s.dirs.Images(), ".tmp-*"))
	for _, name := range stale {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// Tag makes name lead to the manifest, which must be in the store. The image that had the name before, if any, loses
// it, and stays as a dangling one if it was its last. The descriptor's annotations are kept with the name
// (AnnotationSource).
func (s *Store) Tag(ctx context.Context, name reference.Reference, manifest ocispec.Descriptor) error {
	if name.Name() == reference.DefaultRegistry+"/library/sha256" {
		return fmt.Errorf("tag %s: %w: it would read like an image ID", name.Familiar(), reference.ErrInvalid)
	}
	release, err := s.Hold(ctx) // a collector must not take the manifest between our look and our entry
	if err != nil {
		return err
	}
	defer release()
	if !s.HasBlob(manifest.Digest) {
		return fmt.Errorf("tag %s as %s: %w", manifest.Digest, name.Familiar(), ErrNotFound)
	}
	err = s.updateIndex(ctx, func(index *ocispec.Index) error {
		setName(index, name.String(), manifest)
		return nil
	})
	if err != nil {
		return fmt.Errorf("tag %s: %w", name.Familiar(), err)
	}
	return nil
}

// Add keeps a manifest without a name, if it has none: what `load` does with an archive that names nothing.
func (s *Store) Add(ctx context.Context, manifest ocispec.Descriptor) error {
	release, err := s.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	if !s.HasBlob(manifest.Digest) {
		return fmt.Errorf("add %s: %w", manifest.Digest, ErrNotFound)
	}
	return s.updateIndex(ctx, func(index *ocispec.Index) error {
		if !slices.ContainsFunc(index.Manifests, sameDigest(manifest.Digest)) {
			index.Manifests = append(index.Manifests, withName(manifest, ""))
		}
		return nil
	})
}

// setName is Tag without the disk.
func setName(index *ocispec.Index, name string, manifest ocispec.Descriptor) {
	old := dropName(index, name)
	// The nameless entry of an image that gets a name has done its duty.
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		return d.Digest == manifest.Digest && nameOf(d) == ""
	})
	index.Manifests = append(index.Manifests, withName(manifest, name))
	for _, d := range old {
		if !slices.ContainsFunc(index.Manifests, sameDigest(d.Digest)) {
			index.Manifests = append(index.Manifests, withName(d, ""))
		}
	}
}

// dropName removes the entries of that name, of which foreign tools may write several, and returns them.
func dropName(index *ocispec.Index, name string) (dropped []ocispec.Descriptor) {
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		if nameOf(d) != name {
			return false
		}
		dropped = append(dropped, d)
		return true
	})
	return dropped
}

func sameDigest(d digest.Digest) func(ocispec.Descriptor) bool {
	return func(other ocispec.Descriptor) bool { return other.Digest == d }
}

func nameOf(d ocispec.Descriptor) string { return d.Annotations[ocispec.AnnotationRefName] }

// withName returns d with its name replaced; the caller's map is left alone.
func withName(d ocispec.Descriptor, name string) ocispec.Descriptor {
	annotations := map[string]string{}
	for k, v := range d.Annotations {
		if k != ocispec.AnnotationRefName {
			annotations[k] = v
		}
	}
	if name != "" {
		annotations[ocispec.AnnotationRefName] = name
	}
	d.Annotations, d.Data = annotations, nil
	return d
}

// names returns all names of the index, for suggestions.
func names(index *ocispec.Index) []string {
	var all []string
	for _, d := range index.Manifests {
		if name := nameOf(d); name != "" {
			all = append(all, name)
		}
	}
	slices.SortFunc(all, strings.Compare)
	return slices.Compact(all)
}

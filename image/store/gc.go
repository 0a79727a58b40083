package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/state"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// partialAge is how long an abandoned download stays for being resumed; Prune does not wait.
const partialAge = 7 * 24 * time.Hour

// Collect removes what no name leads to, and returns it: what a failed load calls once it has released its Hold.
// Downloads that may still be resumed stay. Remove and Prune do it, too.
func (s *Store) Collect(ctx context.Context) (Removed, error) {
	var removed Removed
	return removed, s.collect(ctx, &removed, false)
}

// collect removes what no image needs, and adds it to removed. If anybody holds the store it does nothing but say so.
//
// It marks, and takes out of sight, under the exclusive lock: blobs are unlinked, trees renamed. Deleting the trees
// takes seconds and happens after the lock is released; a crash there leaves trash that the next collector removes.
func (s *Store) collect(ctx context.Context, removed *Removed, partials bool) error {
	lock, err := state.TryLock(s.lockName("store"))
	if errors.Is(err, state.ErrLocked) {
		removed.Deferred = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	err = s.sweep(removed, partials)
	lock.Unlock()
	if err == nil {
		err = s.emptyTrash(ctx)
	}
	if err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	return nil
}

// sweep runs with the store to itself: nobody adds blobs or layers, and every .part and .new- file is a dead
// writer's.
func (s *Store) sweep(removed *Removed, partials bool) error {
	index, err := s.readIndex()
	if err != nil {
		return err
	}
	blobs, layers, err := s.mark(index)
	if err != nil {
		return err
	}
	return errors.Join(
		s.sweepBlobs(removed, blobs),
		s.sweepLayers(removed, layers),
		s.sweepTemps(removed, partials),
	)
}

// mark returns what the index leads to: digests of blobs, and names of layers. It is lenient, since it must not lose
// what a later version of us or another tool put there; but a disk error ends it, since what can't be read would be
// swept.
func (s *Store) mark(index *ocispec.Index) (blobs map[digest.Digest]bool, layers map[string]bool, err error) {
	blobs, layers = map[digest.Digest]bool{}, map[string]bool{}
	var visit func(d digest.Digest, depth int) error
	visit = func(d digest.Digest, depth int) error {
		if CheckDigest(d) != nil || blobs[d] || depth > maxNesting {
			return nil //nolint:nilerr // what is not ours to read is not ours to follow
		}
		blobs[d] = true
		// One document for all kinds: a manifest, an index, a config.
		var doc struct {
			Manifests, Layers []struct{ Digest digest.Digest }
			Config            json.RawMessage // a manifest's descriptor, a config's settings
			RootFS            struct {
				DiffIDs []digest.Digest `json:"diff_ids"`
			} `json:"rootfs"`
		}
		data, err := s.ReadBlob(d, maxConfig)
		if err == nil {
			err = json.Unmarshal(data, &doc)
		}
		if err != nil {
			return transient(err)
		}
		for _, m := range doc.Manifests {
			if err := visit(m.Digest, depth+1); err != nil {
				return err
			}
		}
		for _, l := range doc.Layers {
			blobs[l.Digest] = true
		}
		for _, diffID := range doc.RootFS.DiffIDs {
			if CheckDigest(diffID) == nil {
				layers[layerName(diffID)] = true
			}
		}
		var config struct{ Digest digest.Digest }
		if json.Unmarshal(doc.Config, &config) == nil {
			return visit(config.Digest, depth+1)
		}
		return nil
	}
	for _, entry := range index.Manifests {
		if err := visit(entry.Digest, 0); err != nil {
			return nil, nil, err
		}
	}
	return blobs, layers, nil
}

func (s *Store) sweepBlobs(removed *Removed, live map[digest.Digest]bool) error {
	var errs []error
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		dir := filepath.Join(s.dirs.Images(), ocispec.ImageBlobsDir, algorithm.String())
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if d := digest.NewDigestFromEncoded(algorithm, e.Name()); CheckDigest(d) != nil || live[d] {
				continue
			}
			errs = append(errs, removeFile(removed, filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) sweepLayers(removed *Removed, live map[string]bool) error {
	entries, err := os.ReadDir(s.dirs.Layers())
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		name, isRecord := strings.CutSuffix(e.Name(), ".json")
		switch {
		case strings.HasPrefix(name, trashPrefix) || live[name]:
			continue
		case strings.HasPrefix(name, newPrefix), !isRecord:
			var record LayerRecord
			if state.ReadJSON(s.layerPath(name+".json"), &record) == nil && record.DiffID != "" {
				removed.Freed += record.Summary.Bytes
				removed.Deleted = append(removed.Deleted, record.DiffID)
			}
			if _, err := s.moveToTrash(name); err != nil {
				errs = append(errs, err)
			}
		default: // its folder goes first, so that where a folder is, its record is
			errs = append(errs, removeFile(&Removed{}, s.layerPath(e.Name())))
		}
	}
	return errors.Join(errs...)
}

// sweepTemps removes what dead writers left: locks, half downloads.
func (s *Store) sweepTemps(removed *Removed, partials bool) error {
	var errs []error
	for pattern, keep := range map[string]time.Duration{
		filepath.Join(s.dirs.Tmp(), "blob-*.lock"):  0,
		filepath.Join(s.dirs.Tmp(), "layer-*.lock"): 0,
		filepath.Join(s.dirs.Tmp(), "blob-*.part"):  partialAge,
		filepath.Join(s.dirs.Tmp(), "stream-*"):     0,
	} {
		names, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, name := range names {
			info, err := os.Lstat(name)
			if err != nil || time.Since(info.ModTime()) < keep && !(partials && keep == partialAge) {
				continue
			}
			errs = append(errs, removeFile(removed, name))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) emptyTrash(ctx context.Context) error {
	names, err := filepath.Glob(s.layerPath(trashPrefix + "*"))
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err = errors.Join(err, removeTree(name))
	}
	return err
}

func removeFile(removed *Removed, name string) error {
	info, err := os.Lstat(name)
	if err == nil {
		err = os.Remove(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	removed.Freed += info.Size()
	return nil
}

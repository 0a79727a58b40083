package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/state"
	"github.com/opencontainers/go-digest"
)

// A LayerRecord is what layers/<hex>.json says about the tree beside it.
type LayerRecord struct {
	DiffID  digest.Digest `json:"diffID"`
	Created time.Time     `json:"created"`
	Summary layer.Summary `json:"summary"`
}

const (
	// layerHex is how much of a DiffID names its folder: mount(2) takes one page of options, and an image may have
	// 127 layers. 96 bits are beyond chance; a crafted collision is found by comparing the record's whole DiffID.
	layerHex = 24

	layersDir   = "layers"
	newPrefix   = ".new-"   // a tree that is being unpacked; its writer holds the layer's lock
	trashPrefix = ".trash-" // a tree that is being removed; anybody may help
)

func layerName(diffID digest.Digest) string { return diffID.Encoded()[:layerHex] }

func (s *Store) layerPath(name string) string { return filepath.Join(s.dirs.Layers(), name) }

// HasLayer reports whether the layer is unpacked.
func (s *Store) HasLayer(diffID digest.Digest) bool {
	if CheckDigest(diffID) != nil {
		return false
	}
	info, err := os.Lstat(s.layerPath(layerName(diffID)))
	return err == nil && info.IsDir()
}

// Layer makes sure that the layer is unpacked. Where it isn't, unpack fills dir, an empty folder; unpack must fail
// unless what it read has the digest diffID (UnpackLayer does both). The tree appears whole or not at all: a failure,
// or a death and the next comer, removes dir. If another process is at the same layer, Layer waits for it, and does
// nothing if that succeeded. The caller must hold the store (Hold) and should be root in a user namespace with its
// whole id range.
func (s *Store) Layer(ctx context.Context, diffID digest.Digest, unpack func(dir string) (layer.Summary, error)) error {
	if err := CheckDigest(diffID); err != nil {
		return fmt.Errorf("unpack layer: %w", err)
	}
	if err := s.checkHeld(); err != nil {
		return err
	}
	name := layerName(diffID)
	if !s.HasLayer(diffID) {
		lock, err := lockFile(ctx, s.lockName("layer-"+name), state.LockFile)
		if err != nil {
			return fmt.Errorf("wait for layer %s: %w", diffID, err)
		}
		if !s.HasLayer(diffID) {
			err = s.unpackLayer(name, diffID, unpack)
		}
		if err := errors.Join(err, lock.Remove()); err != nil {
			return fmt.Errorf("unpack layer %s: %w", diffID, err)
		}
	}
	_, err := s.LayerRecord(diffID)
	return err
}

func (s *Store) unpackLayer(name string, diffID digest.Digest, unpack func(dir string) (layer.Summary, error)) error {
	dir := s.layerPath(newPrefix + name)
	// A tree of a dead writer. It is moved away rather than deleted: ext4 unpacks several times slower into inodes
	// that were freed a moment ago.
	stale, err := s.moveToTrash(newPrefix + name)
	if err != nil {
		return err
	}
	if err := state.RemoveTemps(s.layerPath(name + ".json")); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	// Whatever our umask: this is the container's /, and few layers have an entry for it.
	if err := os.Chmod(dir, 0o755); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	summary, err := unpack(dir)
	if err == nil {
		// The record first: where the folder is, its record is.
		err = state.WriteJSON(s.layerPath(name+".json"), LayerRecord{diffID, time.Now().UTC().Truncate(time.Second), summary})
	}
	if err == nil {
		err = os.Rename(dir, s.layerPath(name))
	}
	if err != nil {
		return errors.Join(err, removeTree(dir))
	}
	if stale != "" {
		return removeTree(stale)
	}
	return nil
}

// UnpackLayer is Layer with the usual work: it unpacks r, the layer's uncompressed tar, and checks that r, to its
// end, has the digest diffID. r is not read if the layer is there.
func (s *Store) UnpackLayer(ctx context.Context, diffID digest.Digest, r io.Reader, o layer.Options) error {
	return s.Layer(ctx, diffID, func(dir string) (layer.Summary, error) {
		h := newHash(diffID)
		tee := io.TeeReader(r, h)
		summary, err := layer.Unpack(ctx, dir, tee, o)
		if err != nil {
			return summary, err
		}
		// The digest covers what follows the end of the archive, too: tar pads to whole records.
		if _, err := io.Copy(io.Discard, tee); err != nil {
			return summary, err
		}
		if got := digestOf(diffID, h); got != diffID {
			return summary, fmt.Errorf("%w: its content is %s", ErrDigest, got)
		}
		return summary, nil
	})
}

// LayerRecord returns what is known about an unpacked layer; ErrNotUnpacked if it isn't.
func (s *Store) LayerRecord(diffID digest.Digest) (LayerRecord, error) {
	var record LayerRecord
	if !s.HasLayer(diffID) {
		return record, fmt.Errorf("layer %s: %w", diffID, ErrNotUnpacked)
	}
	if err := state.ReadJSON(s.layerPath(layerName(diffID)+".json"), &record); err != nil {
		return record, fmt.Errorf("layer %s: %w", diffID, err)
	}
	if record.DiffID != diffID {
		return record, fmt.Errorf("layer %s: its folder belongs to %s, which starts with the same digits", diffID, record.DiffID)
	}
	return record, nil
}

// LayerDirs returns the folders of the image's layers for overlay, the topmost first, relative to the Data folder. It
// answers ErrNotUnpacked if one is missing. Layers that can't be seen are left out: a layer that an upper one repeats
// (overlay refuses the same folder twice), and all below one whose root is opaque (overlay ignores the mark there).
func (s *Store) LayerDirs(img *Image) (topFirst []string, err error) {
	topFirst = make([]string, 0, len(img.Layers))
	for i := len(img.Layers) - 1; i >= 0; i-- {
		record, err := s.LayerRecord(img.Layers[i])
		if err != nil {
			return nil, err
		}
		if dir := layersDir + "/" + layerName(img.Layers[i]); !slices.Contains(topFirst, dir) {
			topFirst = append(topFirst, dir)
		}
		if record.Summary.OpaqueRoot {
			break
		}
	}
	return topFirst, nil
}

// Unpacked returns how many bytes the image's layers hold on disk, whoever shares them. A layer that isn't unpacked
// counts nothing.
func (s *Store) Unpacked(img *Image) (int64, error) {
	var total int64
	for _, diffID := range img.Layers {
		record, err := s.LayerRecord(diffID)
		if err != nil && !errors.Is(err, ErrNotUnpacked) {
			return total, err
		}
		total += record.Summary.Bytes
	}
	return total, nil
}

// moveToTrash takes an entry of layers/ out of use in one step and returns its new path, or "" if there was none.
func (s *Store) moveToTrash(name string) (string, error) {
	for i := 0; ; i++ {
		unique := strconv.FormatInt(time.Now().UnixNano(), 36) + strconv.Itoa(i)
		trash := s.layerPath(trashPrefix + strings.TrimPrefix(name, newPrefix) + "-" + unique)
		err := os.Rename(s.layerPath(name), trash)
		switch {
		case err == nil:
			return trash, nil
		case errors.Is(err, fs.ErrNotExist):
			return "", nil
		case !errors.Is(err, fs.ErrExist) || i == 100:
			return "", err
		}
	}
}

// removeTree removes a layer's tree, whose folders may forbid even their owner to look inside.
func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	// Root in the namespace passes any mode. We are an ordinary user, then: open what is ours. WalkDir shows a folder
	// before it reads it, and follows no symbolic link.
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		if errors.Is(err, fs.ErrNotExist) { // another collector is at it
			return nil
		}
		return err
	})
	if err == nil {
		err = os.RemoveAll(dir)
	}
	return err
}

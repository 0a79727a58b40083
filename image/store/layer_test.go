package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/state"
	"github.com/opencontainers/go-digest"
)

func TestLayerOnce(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	data := tarOf(t, "a", "content")
	diffID := digest.FromBytes(data)
	var unpacked atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := s.Layer(t.Context(), diffID, func(dir string) (layer.Summary, error) {
				unpacked.Add(1)
				return layer.Unpack(t.Context(), dir, bytes.NewReader(data), layer.Options{})
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if unpacked.Load() != 1 {
		t.Errorf("unpacked %d times", unpacked.Load())
	}
	record, err := s.LayerRecord(diffID)
	if err != nil || record.DiffID != diffID || record.Summary.Entries == 0 {
		t.Errorf("record %+v, %v", record, err)
	}
}

// A writer that died while it wrote a layer's record has left a part of it. The next one, and Prune, remove it.
func TestLayerRecordTemps(t *testing.T) {
	s := newStore(t)
	data := tarOf(t, "a", "content")
	diffID := digest.FromBytes(data)
	leave := func() string {
		name := s.layerPath(".tmp-" + layerName(diffID) + ".json-1")
		if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, test := range []struct {
		name  string
		clean func() error
	}{
		{"prune", func() error { _, err := s.Prune(t.Context(), false, noContainers); return err }},
		{"the next writer", func() error {
			defer hold(t, s)()
			return s.UnpackLayer(t.Context(), diffID, bytes.NewReader(data), layer.Options{TolerateChown: true})
		}},
	} {
		left := leave()
		if err := test.clean(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s leaves %s: %v", test.name, left, err)
		}
	}
}

func TestLayerFails(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	broken := errors.New("broken")
	diffID := digest.FromString("whatever")
	err := s.Layer(t.Context(), diffID, func(dir string) (layer.Summary, error) {
		hostileTree(t, dir)
		return layer.Summary{}, broken
	})
	if !errors.Is(err, broken) || s.HasLayer(diffID) {
		t.Errorf("error %v", err)
	}
	err = s.UnpackLayer(t.Context(), diffID, bytes.NewReader(tarOf(t, "a", "b")), layer.Options{})
	if !errors.Is(err, ErrDigest) {
		t.Errorf("a layer of another digest: %v", err)
	}
	if _, err := s.LayerRecord(diffID); !errors.Is(err, ErrNotUnpacked) {
		t.Errorf("record of no layer: %v", err)
	}
	if left := files(t, s); len(left) != 2 {
		t.Errorf("files: %q", left)
	}
	if entries, err := os.ReadDir(s.dirs.Layers()); len(entries) != 0 || err != nil {
		t.Errorf("layers: %v, %v", entries, err)
	}
	if err := s.Layer(t.Context(), "sha256:../../x", nil); err == nil {
		t.Error("a path for a DiffID")
	}
}

// hostileTree has folders that even their owner can't list or enter.
func hostileTree(t *testing.T, dir string) {
	t.Helper()
	deep := filepath.Join(dir, "closed", "inner")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(deep, "file"), nil, 0),
		os.Symlink("/etc", filepath.Join(dir, "closed", "etc")),
		os.Chmod(deep, 0),
		os.Chmod(filepath.Dir(deep), 0o100),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// What a killed unpacking leaves is thrown away by the next.
func TestLayerAfterDeath(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	data := tarOf(t, "new", "x")
	diffID := digest.FromBytes(data)
	stale := s.layerPath(newPrefix + layerName(diffID))
	if err := os.Mkdir(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	hostileTree(t, stale)
	if err := s.UnpackLayer(t.Context(), diffID, bytes.NewReader(data), layer.Options{}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(s.dirs.Layers())
	if err != nil || len(entries) != 2 {
		t.Errorf("layers: %v, %v", entries, err)
	}
	if tree, err := os.ReadDir(s.layerPath(layerName(diffID))); err != nil || len(tree) != 1 {
		t.Errorf("tree: %v, %v", tree, err)
	}
}

// Two DiffIDs that share the 24 digits of their folder's name.
func TestLayerCollision(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	data := tarOf(t, "a", "b")
	diffID := digest.FromBytes(data)
	if err := s.UnpackLayer(t.Context(), diffID, bytes.NewReader(data), layer.Options{}); err != nil {
		t.Fatal(err)
	}
	other := diffID[:len(diffID)-4] + "0000"
	if err := s.UnpackLayer(t.Context(), other, bytes.NewReader(data), layer.Options{}); err == nil || !strings.Contains(err.Error(), "belongs to") {
		t.Errorf("another layer in its folder: %v", err)
	}
	if _, err := s.LayerDirs(&Image{Layers: []digest.Digest{other}}); err == nil {
		t.Error("another layer's folder is used")
	}
}

func TestLayerDirs(t *testing.T) {
	s := newStore(t)
	ids := []digest.Digest{digest.FromString("1"), digest.FromString("2"), digest.FromString("3")}
	for i, d := range ids {
		if err := os.Mkdir(s.layerPath(layerName(d)), 0o755); err != nil {
			t.Fatal(err)
		}
		record := LayerRecord{DiffID: d, Summary: layer.Summary{OpaqueRoot: i == 1}}
		if err := state.WriteJSON(s.layerPath(layerName(d)+".json"), record); err != nil {
			t.Fatal(err)
		}
	}
	img := &Image{Layers: []digest.Digest{ids[2], ids[0], ids[2], ids[1], ids[2], ids[2]}}
	got, err := s.LayerDirs(img)
	want := []string{"layers/" + layerName(ids[2]), "layers/" + layerName(ids[1])}
	if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("LayerDirs = %q, %v; want %q: what repeats or is hidden is left out", got, err, want)
	}
	img.Layers = append(img.Layers, digest.FromString("missing"))
	if _, err := s.LayerDirs(img); !errors.Is(err, ErrNotUnpacked) {
		t.Errorf("a missing layer: %v", err)
	}
}

// The folder is the container's /, which users other than root must enter.
func TestLayerRootMode(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	data := tarOf(t, "a", "b")
	defer syscall.Umask(syscall.Umask(0o077))
	if err := s.UnpackLayer(t.Context(), digest.FromBytes(data), bytes.NewReader(data), layer.Options{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.layerPath(layerName(digest.FromBytes(data))))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

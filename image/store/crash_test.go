package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/state"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The processes that TestCrash kills are this binary again, with a role and a store in their environment.
const (
	crashRole  = "MINIPOD_TEST_CRASH_ROLE"
	crashStore = "MINIPOD_TEST_CRASH_STORE"
)

func TestMain(m *testing.M) {
	roles := map[string]func(*Store) error{"pull": crashPulls, "remove": crashRemoves}
	role := roles[os.Getenv(crashRole)]
	if role == nil {
		os.Exit(m.Run())
	}
	s, err := Open(state.Dirs{Data: os.Getenv(crashStore)})
	if err == nil {
		err = role(s)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestCrash kills writers and removers at random moments. Whenever it looks, the store must be usable: each image that
// has a name has all its blobs and layers.
func TestCrash(t *testing.T) {
	s := newStore(t)
	length, least := 5*time.Second, 20
	if testing.Short() {
		length, least = time.Second, 5
	}
	kills, seen := 0, 0
	// How long it takes until there is an image depends on the machine, most of it for three processes to start: the first round waits for
	// one, and the others end at any moment up to twice that time.
	var first time.Duration
	began := time.Now()
	for round := 0; round < least || time.Since(began) < length; round++ {
		started := time.Now()
		var children []*exec.Cmd
		for _, role := range []string{"pull", "pull", "remove"} {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), crashRole+"="+role, crashStore+"="+s.dirs.Data)
			child.Stderr = os.Stderr
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			children = append(children, child)
		}
		if first == 0 {
			for time.Since(started) < time.Minute { // what an image has may be removed while we look
				if images, err := s.List(); err != nil {
					t.Fatal(err)
				} else if len(images) > 0 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			first = time.Since(started)
		} else {
			time.Sleep(time.Duration(rand.Int64N(int64(max(2*first, 170*time.Millisecond)))))
		}
		for _, child := range children {
			child.Process.Kill()
			if err := child.Wait(); err == nil || child.ProcessState.Exited() {
				t.Fatalf("%s ended by itself: %v", child.Env[len(child.Env)-2], err)
			}
			kills++
		}
		seen += checkStore(t, s)
	}
	t.Logf("%d processes killed, %d images checked", kills, seen)
	if seen == 0 {
		t.Error("no image was ever finished")
	}
	if _, err := s.Prune(t.Context(), true, noContainers); err != nil {
		t.Fatal(err)
	}
	if left := files(t, s); len(left) != 2 {
		t.Errorf("left: %q", left)
	}
	if entries, err := os.ReadDir(s.dirs.Layers()); len(entries) != 0 || err != nil {
		t.Errorf("layers: %v, %v", entries, err)
	}
}

// checkStore does what the next command would.
func checkStore(t *testing.T, s *Store) int {
	t.Helper()
	images, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		if _, err := s.LayerDirs(img); err != nil {
			t.Errorf("image %q: %v", img.Names, err)
		}
		for _, d := range img.LayerDescs {
			if _, err := s.ReadBlob(d.Digest, d.Size); err != nil {
				t.Errorf("image %q: %v", img.Names, err)
			}
		}
		for _, diffID := range img.Layers {
			entries, err := os.ReadDir(s.layerPath(layerName(diffID)))
			if err != nil || len(entries) != 1 {
				t.Errorf("image %q: layer has %v, %v", img.Names, entries, err)
			}
		}
	}
	return len(images)
}

func crashPulls(s *Store) error {
	for {
		if err := crashPull(s, rand.IntN(8)); err != nil {
			return err
		}
	}
}

// crashPull pulls image number i in small steps, from where a killed one has left it.
func crashPull(s *Store, i int) error {
	ctx := context.Background()
	release, err := s.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}}
	for _, n := range []int{0, i} {
		data, err := tarFile(fmt.Sprint("file", n), strings.Repeat("x", 100_000+n))
		if err != nil {
			return err
		}
		desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(data), Size: int64(len(data))}
		if err := crashBlob(ctx, s, desc, data); err != nil {
			return err
		}
		f, err := s.OpenBlob(desc.Digest)
		if err != nil {
			return err
		}
		err = errors.Join(s.UnpackLayer(ctx, desc.Digest, f, layer.Options{}), f.Close())
		if err != nil {
			return err
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, desc.Digest)
		manifest.Layers = append(manifest.Layers, desc)
	}
	if manifest.Config, err = crashJSON(ctx, s, ocispec.MediaTypeImageConfig, config); err != nil {
		return err
	}
	desc, err := crashJSON(ctx, s, ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	return s.Tag(ctx, reference.Reference{Registry: "docker.io", Repository: "library/image", Tag: fmt.Sprint(i)}, desc)
}

func crashJSON(ctx context.Context, s *Store, mediaType string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return s.PutBlob(ctx, mediaType, data)
}

func crashBlob(ctx context.Context, s *Store, desc ocispec.Descriptor, data []byte) error {
	in, err := s.Ingest(ctx, desc)
	if errors.Is(err, ErrExists) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	for in.Offset() < desc.Size {
		if _, err := in.Write(data[in.Offset():min(in.Offset()+4096, desc.Size)]); err != nil {
			return err
		}
		time.Sleep(50 * time.Microsecond)
	}
	return in.Commit()
}

func crashRemoves(s *Store) error {
	for {
		_, err := s.Remove(context.Background(), fmt.Sprint("image:", rand.IntN(8)), true, noContainers)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if rand.IntN(8) == 0 {
			if _, err := s.Prune(context.Background(), true, noContainers); err != nil {
				return err
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

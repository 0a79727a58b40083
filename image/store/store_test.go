package store

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(state.Dirs{Data: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeTree(s.dirs.Data) }) // a layer's 0000 folders are too much for TempDir
	return s
}

func hold(t testing.TB, s *Store) func() {
	t.Helper()
	release, err := s.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func mustParse(t testing.TB, name string) reference.Reference {
	t.Helper()
	ref, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// tarOf returns a layer with one file of that name and content.
func tarOf(t testing.TB, name, content string) []byte {
	t.Helper()
	data, err := tarFile(name, content)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func tarFile(name, content string) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	// Owned by who runs the test, since an ordinary user can give files to nobody else.
	h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Uid: os.Getuid(), Gid: os.Getgid(), ModTime: time.Unix(1, 0)}
	if err := w.WriteHeader(h); err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(content)); err != nil {
		return nil, err
	}
	err := w.Close()
	return buf.Bytes(), err
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// addImage does what a pull does: layers, config and manifest, then the names.
func addImage(t testing.TB, s *Store, layers [][]byte, names ...string) ocispec.Descriptor {
	t.Helper()
	defer hold(t, s)()
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}
	config.RootFS.Type = "layers"
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, data := range layers {
		desc, err := s.PutBlob(t.Context(), ocispec.MediaTypeImageLayer, data)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.UnpackLayer(t.Context(), desc.Digest, bytes.NewReader(data), layer.Options{}); err != nil {
			t.Fatal(err)
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, desc.Digest)
		manifest.Layers = append(manifest.Layers, desc)
	}
	desc, err := s.PutBlob(t.Context(), ocispec.MediaTypeImageConfig, mustJSON(t, config))
	if err != nil {
		t.Fatal(err)
	}
	manifest.Config = desc
	if desc, err = s.PutBlob(t.Context(), ocispec.MediaTypeImageManifest, mustJSON(t, manifest)); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := s.Tag(t.Context(), mustParse(t, name), desc); err != nil {
			t.Fatal(err)
		}
	}
	return desc
}

func oneFile(t testing.TB, content string) [][]byte { return [][]byte{tarOf(t, "file", content)} }

func noContainers(digest.Digest) ([]string, error) { return nil, nil }

// files lists everything in the store but locks, so that a test can say that nothing is left.
func files(t testing.TB, s *Store) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(s.dirs.Data, func(path string, d os.DirEntry, err error) error {
		if name, _ := filepath.Rel(s.dirs.Data, path); err == nil && !d.IsDir() && name != "tmp/index.lock" && name != "tmp/store.lock" {
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestResolve(t *testing.T) {
	s := newStore(t)
	a := addImage(t, s, oneFile(t, "a"), "alpine:3.20", "quay.io/mirror/alpine:3.20")
	b := addImage(t, s, [][]byte{tarOf(t, "x", "1"), tarOf(t, "y", "2")}, "registry.example:5000/team/app:v1")
	imgA, err := s.Resolve("alpine:3.20")
	if err != nil {
		t.Fatal(err)
	}
	imgB, err := s.Resolve("registry.example:5000/team/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		in   string
		want digest.Digest
	}{
		{"alpine:3.20", a.Digest},
		{"docker.io/library/alpine:3.20", a.Digest},
		{"quay.io/mirror/alpine:3.20", a.Digest},
		{"alpine@" + a.Digest.String(), a.Digest},
		{"alpine:other@" + a.Digest.String(), a.Digest},
		{imgA.ID.String(), a.Digest},
		{imgA.ID.Encoded(), a.Digest},
		{imgB.ID.Encoded()[:12], b.Digest},
		{imgB.ID.String()[:20], b.Digest},
	} {
		img, err := s.Resolve(test.in)
		if err != nil || img.Manifest.Digest != test.want {
			t.Errorf("Resolve(%q) = %v, %v; want %s", test.in, img, err, test.want)
		}
	}
	if want := []string{"docker.io/library/alpine:3.20", "quay.io/mirror/alpine:3.20"}; !slices.Equal(imgA.Names, want) {
		t.Errorf("names %q, want %q", imgA.Names, want)
	}
	dirs, err := s.LayerDirs(imgB)
	if err != nil || len(dirs) != 2 || dirs[0] != "layers/"+imgB.Layers[1].Encoded()[:24] {
		t.Errorf("LayerDirs = %q, %v", dirs, err)
	}

	for _, test := range []struct {
		in     string
		want   error
		advice string
	}{
		{"alpine", ErrNotFound, "did you mean alpine:3.20"},
		{"alpne:3.20", ErrNotFound, "did you mean alpine:3.20"},
		{"nothing-like-it", ErrNotFound, "minipod pull nothing-like-it:latest"},
		{"quay.io/alpine@" + a.Digest.String(), ErrNotFound, "minipod pull"},
		{strings.Repeat("0", 64), ErrNotFound, "minipod images"},
		{"sha256:" + strings.Repeat("0", 64), ErrNotFound, "minipod images"},
		{"Alpine", reference.ErrInvalid, "alpine"},
		{"", reference.ErrInvalid, ""},
		{"../../etc", reference.ErrInvalid, ""},
	} {
		_, err := s.Resolve(test.in)
		if !errors.Is(err, test.want) || !strings.Contains(hint.Of(err), test.advice) {
			t.Errorf("Resolve(%q): %v (hint %q); want %v (%q)", test.in, err, hint.Of(err), test.want, test.advice)
		}
	}
}

func TestAmbiguousID(t *testing.T) {
	s := newStore(t)
	seen := map[byte]bool{}
	for i := 0; ; i++ { // 17 images at most share a first digit
		addImage(t, s, oneFile(t, fmt.Sprint(i)), fmt.Sprintf("x:%d", i))
		img, err := s.Resolve(fmt.Sprintf("x:%d", i))
		if err != nil {
			t.Fatal(err)
		}
		first := img.ID.Encoded()[0]
		if !seen[first] {
			seen[first] = true
			continue
		}
		if _, err := s.Resolve(string(first)); !errors.Is(err, ErrAmbiguous) {
			t.Fatalf("Resolve(%q) = %v, want ErrAmbiguous", first, err)
		}
		return
	}
}

func TestSourceDigest(t *testing.T) {
	s := newStore(t)
	desc := addImage(t, s, oneFile(t, "a"))
	source := digest.FromString("an index for many platforms")
	desc.Annotations = map[string]string{AnnotationSource: source.String()}
	if err := s.Tag(t.Context(), mustParse(t, "alpine"), desc); err != nil {
		t.Fatal(err)
	}
	img, err := s.Resolve("alpine@" + source.String())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"docker.io/library/alpine@" + source.String()}; !slices.Equal(img.Digests, want) {
		t.Errorf("digests %q, want %q", img.Digests, want)
	}
	if err := s.Tag(t.Context(), mustParse(t, "other"), img.Manifest); err != nil {
		t.Fatal(err)
	}
	if img, err = s.Resolve("other"); err != nil || len(img.Digests) != 1 {
		t.Errorf("digests %q, %v: nobody pulled other", img.Digests, err)
	}
}

func TestTagMovesName(t *testing.T) {
	s := newStore(t)
	a := addImage(t, s, oneFile(t, "a"), "x")
	addImage(t, s, oneFile(t, "b"), "x")
	images, err := s.List()
	if err != nil || len(images) != 2 {
		t.Fatalf("List = %v, %v; want two images", images, err)
	}
	for _, img := range images {
		if img.Dangling() != (img.Manifest.Digest == a.Digest) {
			t.Errorf("image %s has the names %q", img.ID, img.Names)
		}
	}
	if err := s.Tag(t.Context(), mustParse(t, "y"), a); err != nil {
		t.Fatal(err)
	}
	index, err := s.readIndex()
	if err != nil || len(index.Manifests) != 2 {
		t.Errorf("index has %d entries, want 2: the nameless one is done with", len(index.Manifests))
	}
	if err := s.Tag(t.Context(), mustParse(t, "z"), ocispec.Descriptor{Digest: digest.FromString("none")}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Tag of a missing manifest: %v", err)
	}
	if err := s.Tag(t.Context(), mustParse(t, "sha256:1"), a); !errors.Is(err, reference.ErrInvalid) {
		t.Errorf("Tag as sha256:1: %v", err)
	}
}

func TestSkopeoReadsUs(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is not installed")
	}
	s := newStore(t)
	desc := addImage(t, s, oneFile(t, "a"), "alpine", "localhost:5000/x/y:z")
	for _, name := range []string{"docker.io/library/alpine:latest", "localhost:5000/x/y:z"} {
		out, err := exec.Command(skopeo, "inspect", "--raw", "oci:"+s.dirs.Images()+":"+name).CombinedOutput()
		if err != nil || digest.FromBytes(out) != desc.Digest {
			t.Errorf("skopeo inspect %s: %v\n%s", name, err, out)
		}
	}
	// And the other way: what skopeo writes into our layout is an image of ours, which only lacks its layers' trees.
	out, err := exec.Command(skopeo, "--insecure-policy", "copy", "oci:"+s.dirs.Images()+":docker.io/library/alpine:latest",
		"oci:"+s.dirs.Images()+":docker.io/library/copy:1").CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy: %v\n%s", err, out)
	}
	if img, err := s.Resolve("copy:1"); err != nil {
		t.Errorf("Resolve what skopeo wrote: %v", err)
	} else if _, err := s.LayerDirs(img); err != nil {
		t.Error(err)
	}
}

func TestHold(t *testing.T) {
	s := newStore(t)
	if _, err := s.PutBlob(t.Context(), "", []byte("x")); !errors.Is(err, ErrNotHeld) {
		t.Errorf("PutBlob without Hold: %v", err)
	}
	if err := s.Layer(t.Context(), digest.FromString("x"), nil); !errors.Is(err, ErrNotHeld) {
		t.Errorf("Layer without Hold: %v", err)
	}
	lock, err := state.TryLock(s.lockName("store"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Hold(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Hold while collecting: %v", err)
	}
	lock.Unlock()
	one, two := hold(t, s), hold(t, s)
	one()
	one()
	if _, err := state.TryLock(s.lockName("store")); !errors.Is(err, state.ErrLocked) {
		t.Errorf("the inner Hold is gone: %v", err)
	}
	two()
	// Whoever gave up waiting above may have it for a moment.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		lock, err := state.TryLock(s.lockName("store"))
		if err == nil {
			lock.Unlock()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the lock outlives its Holds: %v", err)
		}
	}
}

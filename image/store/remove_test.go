package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func resolve(t *testing.T, s *Store, name string) *Image {
	t.Helper()
	img, err := s.Resolve(name)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func containersOf(img *Image) InUse {
	return func(id digest.Digest) ([]string, error) {
		if id == img.ID {
			return []string{strings.Repeat("c", 64)}, nil
		}
		return nil, nil
	}
}

func remove(t *testing.T, s *Store, name string, force bool) Removed {
	t.Helper()
	removed, err := s.Remove(t.Context(), name, force, noContainers)
	if err != nil {
		t.Fatal(err)
	}
	return removed
}

func TestRemoveLastName(t *testing.T) {
	s := newStore(t)
	shared := tarOf(t, "shared", "x")
	addImage(t, s, [][]byte{shared, tarOf(t, "a", "a")}, "a", "also-a:2")
	addImage(t, s, [][]byte{shared, tarOf(t, "b", "b")}, "b")
	img := resolve(t, s, "a")

	removed := remove(t, s, "a", false)
	if !slices.Equal(removed.Untagged, []string{"a:latest"}) || len(removed.Deleted) != 0 || removed.Freed != 0 {
		t.Errorf("removing one of two names: %+v", removed)
	}
	removed = remove(t, s, "also-a:2", false)
	want := []digest.Digest{img.ID, img.Layers[1]}
	if !slices.Equal(removed.Untagged, []string{"also-a:2"}) || !slices.Equal(removed.Deleted, want) || removed.Freed < 1000 || removed.Deferred {
		t.Errorf("removing the last name: %+v; want %v deleted, and not the shared layer", removed, want)
	}
	if _, err := s.Resolve(img.ID.String()); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := s.LayerDirs(resolve(t, s, "b")); err != nil {
		t.Error(err)
	}
	if _, err := s.Remove(t.Context(), "a", true, noContainers); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing it again: %v", err)
	}
	remove(t, s, "b", false)
	if left := files(t, s); len(left) != 2 {
		t.Errorf("left: %q", left)
	}
}

func TestRemoveByID(t *testing.T) {
	s := newStore(t)
	addImage(t, s, oneFile(t, "a"), "a", "b")
	id := resolve(t, s, "a").ID
	if _, err := s.Remove(t.Context(), id.Encoded()[:12], false, noContainers); !errors.Is(err, ErrInUse) || !strings.Contains(hint.Of(err), "--force") {
		t.Errorf("an ID of two names: %v (%s)", err, hint.Of(err))
	}
	removed := remove(t, s, id.Encoded()[:12], true)
	if !slices.Equal(removed.Untagged, []string{"a:latest", "b:latest"}) || !slices.Contains(removed.Deleted, id) {
		t.Errorf("%+v", removed)
	}
	if left := files(t, s); len(left) != 2 {
		t.Errorf("left: %q", left)
	}
}

func TestRemoveInUse(t *testing.T) {
	s := newStore(t)
	addImage(t, s, oneFile(t, "a"), "a")
	img := resolve(t, s, "a")
	inUse := containersOf(img)
	for _, name := range []string{"a", img.ID.String()} {
		if _, err := s.Remove(t.Context(), name, false, inUse); !errors.Is(err, ErrInUse) || !strings.Contains(hint.Of(err), "minipod rm cccccccccccc") {
			t.Errorf("Remove(%s): %v (%s)", name, err, hint.Of(err))
		}
	}
	resolve(t, s, "a")
	removed, err := s.Remove(t.Context(), "a", true, inUse)
	if err != nil || len(removed.Deleted) != 0 || len(removed.Untagged) != 1 {
		t.Errorf("by force: %+v, %v", removed, err)
	}
	if dangling := resolve(t, s, img.ID.String()); !dangling.Dangling() {
		t.Errorf("names %q", dangling.Names)
	}
	if _, err := s.LayerDirs(img); err != nil {
		t.Errorf("the container has lost its layers: %v", err)
	}
	if _, err := s.Remove(t.Context(), img.ID.String(), true, inUse); !errors.Is(err, ErrInUse) {
		t.Errorf("by force, again: %v", err)
	}
	if removed, err := s.Prune(t.Context(), true, inUse); err != nil || len(removed.Deleted) != 0 {
		t.Errorf("Prune: %+v, %v", removed, err)
	}
	if removed, err := s.Prune(t.Context(), false, noContainers); err != nil || !slices.Contains(removed.Deleted, img.ID) {
		t.Errorf("Prune without the container: %+v, %v", removed, err)
	}
	failure := errors.New("containers unreadable")
	addImage(t, s, oneFile(t, "a"), "a")
	if _, err := s.Remove(t.Context(), "a", true, func(digest.Digest) ([]string, error) { return nil, failure }); !errors.Is(err, failure) {
		t.Errorf("containers unreadable: %v", err)
	}
	resolve(t, s, "a")
}

func TestPrune(t *testing.T) {
	s := newStore(t)
	addImage(t, s, oneFile(t, "old"), "x")
	old := resolve(t, s, "x")
	addImage(t, s, oneFile(t, "new"), "x")
	addImage(t, s, oneFile(t, "used"), "used")
	inUse := containersOf(resolve(t, s, "used"))

	removed, err := s.Prune(t.Context(), false, inUse)
	if err != nil || len(removed.Untagged) != 0 || !slices.Equal(removed.Deleted, []digest.Digest{old.ID, old.Layers[0]}) || removed.Freed == 0 {
		t.Errorf("dangling: %+v, %v", removed, err)
	}
	removed, err = s.Prune(t.Context(), true, inUse)
	if err != nil || !slices.Equal(removed.Untagged, []string{"x:latest"}) || len(removed.Deleted) != 2 {
		t.Errorf("all: %+v, %v", removed, err)
	}
	if images, err := s.List(); len(images) != 1 || err != nil || images[0].Names[0] != "docker.io/library/used:latest" {
		t.Errorf("left: %v, %v", images, err)
	}
}

// While somebody pulls, names go and space stays.
func TestRemoveWhilePulling(t *testing.T) {
	s := newStore(t)
	addImage(t, s, oneFile(t, "a"), "a")
	puller, err := Open(s.dirs)
	if err != nil {
		t.Fatal(err)
	}
	release := hold(t, puller)
	desc, err := puller.PutBlob(t.Context(), "", []byte("not named yet"))
	if err != nil {
		t.Fatal(err)
	}
	removed := remove(t, s, "a", false)
	if !removed.Deferred || removed.Freed != 0 || len(removed.Deleted) != 1 {
		t.Errorf("%+v", removed)
	}
	if !s.HasBlob(desc.Digest) {
		t.Error("the puller has lost a blob")
	}
	release()
	if removed, err := s.Collect(t.Context()); err != nil || removed.Freed == 0 || removed.Deferred {
		t.Errorf("Collect: %+v, %v", removed, err)
	}
	if left := files(t, s); len(left) != 2 {
		t.Errorf("left: %q", left)
	}
}

func TestPinHoldsNames(t *testing.T) {
	s := newStore(t)
	addImage(t, s, oneFile(t, "a"), "a")
	unpin, err := s.Pin()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Remove(ctx, "a", true, noContainers); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Remove while pinned: %v", err)
	}
	resolve(t, s, "a")
	unpin()
	unpin()
	remove(t, s, "a", true)
}

func TestCollectKeepsPartials(t *testing.T) {
	s := newStore(t)
	release := hold(t, s)
	in := ingest(t, s, ocispec.Descriptor{Digest: digest.FromString("x"), Size: 100})
	in.Write([]byte("half"))
	in.Close()
	release()
	junk := []string{filepath.Join(s.dirs.Tmp(), "stream-1"), filepath.Join(s.dirs.Tmp(), "blob-1.lock"), s.layerPath(".tmp-x.json-1")}
	for _, name := range junk {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(s.layerPath(newPrefix+"1"), 0o755), os.Mkdir(s.layerPath(trashPrefix+"1"), 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := files(t, s); len(left) != 3 || !strings.HasSuffix(left[2], ".part") {
		t.Errorf("left: %q", left)
	}
	if entries, err := os.ReadDir(s.dirs.Layers()); len(entries) != 0 || err != nil {
		t.Errorf("layers: %v, %v", entries, err)
	}
	if _, err := s.Prune(t.Context(), false, noContainers); err != nil {
		t.Fatal(err)
	}
	if left := files(t, s); len(left) != 2 {
		t.Errorf("left: %q", left)
	}
}

// Documents of strangers, already in the store, break their image and nothing else.
func TestBrokenImages(t *testing.T) {
	config := func(layers ...string) string {
		return `{"os":"linux","rootfs":{"type":"layers","diff_ids":[` + strings.Join(layers, ",") + `]}}`
	}
	id := `"` + digest.FromString("layer").String() + `"`
	ref := `{"digest":` + id + `,"size":1}`
	manifest := func(configData, layers string) func(t *testing.T, s *Store) string {
		return func(t *testing.T, s *Store) string {
			desc, err := s.PutBlob(t.Context(), "", []byte(configData))
			if err != nil {
				t.Fatal(err)
			}
			return `{"schemaVersion":2,"config":{"digest":"` + desc.Digest.String() + `","size":1},"layers":[` + layers + `]}`
		}
	}
	plain := func(data string) func(*testing.T, *Store) string {
		return func(*testing.T, *Store) string { return data }
	}
	for name, document := range map[string]func(*testing.T, *Store) string{
		"no JSON":               plain("<html>"),
		"another type":          plain(`{"layers":"x"}`),
		"no config":             plain(`{"schemaVersion":2}`),
		"an index":              plain(`{"schemaVersion":2,"manifests":[]}`),
		"both":                  plain(`{"config":` + ref + `,"layers":[],"manifests":[]}`),
		"wrong type":            plain(`{"mediaType":"application/vnd.oci.image.index.v1+json","config":` + ref + `}`),
		"path":                  plain(`{"config":{"digest":"sha256:../../../../../../etc/passwd"},"layers":[]}`),
		"config missing":        plain(`{"config":` + ref + `,"layers":[]}`),
		"negative":              manifest(config(id), `{"digest":`+id+`,"size":-1}`),
		"layer path":            manifest(config(id), `{"digest":"../x","size":1}`),
		"more layers":           manifest(config(id), ref+","+ref),
		"fewer layers":          manifest(config(id), ""),
		"DiffID path":           manifest(config(`"sha256:../../../x"`), ref),
		"config is no JSON":     manifest("[", ""),
		"config is an artifact": manifest("{}", ref),
		"too big":               plain(`{"x":"` + strings.Repeat("x", maxManifest) + `"}`),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			release := hold(t, s)
			desc, err := s.PutBlob(t.Context(), ocispec.MediaTypeImageManifest, []byte(document(t, s)))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Tag(t.Context(), mustParse(t, "broken"), desc); err != nil {
				t.Fatal(err)
			}
			release()
			addImage(t, s, oneFile(t, "good"), "good")
			if _, err := s.Resolve("broken"); !errors.Is(err, ErrBroken) {
				t.Errorf("Resolve: %v", err)
			}
			if _, err := s.Resolve(desc.Digest.Encoded()); !errors.Is(err, ErrNotFound) {
				t.Errorf("by ID: %v", err)
			}
			if images, err := s.List(); len(images) != 1 || !errors.Is(err, ErrBroken) {
				t.Errorf("List: %v, %v", images, err)
			}
			if _, err := s.Prune(t.Context(), false, noContainers); err != nil {
				t.Errorf("Prune: %v", err)
			}
			if removed := remove(t, s, "broken", false); len(removed.Untagged) != 1 {
				t.Errorf("Remove: %+v", removed)
			}
			remove(t, s, "good", false)
			if left := files(t, s); len(left) != 2 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// An index in the index, as `skopeo copy --all` writes it, leads to this machine's image; one in itself leads nowhere.
func TestNestedIndex(t *testing.T) {
	s := newStore(t)
	desc := addImage(t, s, oneFile(t, "a"))
	defer hold(t, s)()
	put := func(manifests ...ocispec.Descriptor) ocispec.Descriptor {
		d, err := s.PutBlob(t.Context(), ocispec.MediaTypeImageIndex, mustJSON(t, ocispec.Index{Manifests: manifests}))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	absent := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("arm"), Platform: &ocispec.Platform{OS: "linux", Architecture: "none"}}
	nested := put(absent, put(desc))
	if err := s.Tag(t.Context(), mustParse(t, "nested"), nested); err != nil {
		t.Fatal(err)
	}
	if img := resolve(t, s, "nested"); img.Manifest.Digest != desc.Digest {
		t.Errorf("leads to %s", img.Manifest.Digest)
	}
	deep := desc
	for range 10 {
		deep = put(deep)
	}
	if err := s.Tag(t.Context(), mustParse(t, "deep"), deep); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve("deep"); !errors.Is(err, ErrBroken) {
		t.Errorf("ten indexes deep: %v", err)
	}
	if err := s.Tag(t.Context(), mustParse(t, "other"), put(absent)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve("other"); !errors.Is(err, ErrBroken) {
		t.Errorf("of another platform: %v", err)
	}
}

func TestForeignIndex(t *testing.T) {
	s := newStore(t)
	desc := addImage(t, s, oneFile(t, "a"), "a")
	for _, test := range []struct {
		content string
		good    bool
	}{
		{`{"manifests":[{"digest":"sha256:../../x"},{"digest":""},{"annotations":null}]}`, true},
		{`{"manifests":[{"digest":"` + desc.Digest.String() + `","annotations":{"org.opencontainers.image.ref.name":"not A name"}}]}`, true},
		{`{`, false},
		{``, false},
	} {
		content, good := test.content, test.good
		if err := os.WriteFile(s.indexName(), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.List(); (err == nil) != good {
			t.Errorf("%s: %v", content, err)
		}
		if _, err := s.Resolve("x"); err == nil || errors.Is(err, ErrNotFound) != good {
			t.Errorf("%s: %v", content, err)
		}
	}
	// An index.json that can't be read is no reason to throw away everything it may have named.
	if _, err := s.Prune(t.Context(), true, noContainers); err == nil || !s.HasBlob(desc.Digest) {
		t.Errorf("Prune: %v", err)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"sha256:aa","size":1},"layers":[{}]}`))
	f.Add([]byte(`{"manifests":[],"mediaType":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err == nil {
			for _, l := range append(m.Layers, m.Config) {
				if CheckDigest(l.Digest) != nil || l.Size < 0 {
					t.Fatalf("lets through %+v", l)
				}
			}
		}
		config, err := ParseConfig(data, len(m.Layers))
		if err == nil && len(config.RootFS.DiffIDs) != len(m.Layers) {
			t.Fatal("layers differ")
		}
	})
}

func TestConcurrentTags(t *testing.T) {
	s := newStore(t)
	desc := addImage(t, s, oneFile(t, "a"), "a")
	done := make(chan error)
	for i := range 20 {
		go func() {
			other, err := Open(s.dirs)
			if err == nil {
				err = other.Tag(context.Background(), mustParse(t, "x"+string(rune('a'+i))), desc)
			}
			done <- err
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if img := resolve(t, s, "a"); len(img.Names) != 21 {
		t.Errorf("%d names", len(img.Names))
	}
}

func BenchmarkResolve(b *testing.B) {
	s := newStore(b)
	var layers [][]byte
	for i := range 6 {
		layers = append(layers, tarOf(b, "f", strings.Repeat("x", i)))
	}
	for i := range 20 {
		addImage(b, s, append(layers, tarOf(b, "n", strings.Repeat("y", i))), "image"+string(rune('a'+i)))
	}
	b.Run("name", func(b *testing.B) {
		for b.Loop() {
			img, err := s.Resolve("imaget")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.LayerDirs(img); err != nil {
				b.Fatal(err)
			}
		}
	})
	id := func() string { img, _ := s.Resolve("imaget"); return img.ID.String() }()
	b.Run("id", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Resolve(id); err != nil {
				b.Fatal(err)
			}
		}
	})
}

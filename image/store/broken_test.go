package store

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

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

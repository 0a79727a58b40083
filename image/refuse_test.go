package image_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/registry"
	"codeberg.org/minipod/minipod/image/registry/registrytest"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestPullRefuses(t *testing.T) {
	good := registrytest.Tar(t, map[string][]byte{"a": noise(1, 1<<20)}).Gzip()
	manifest := func(change func(*ocispec.Manifest)) func(*registrytest.Server) {
		return func(r *registrytest.Server) {
			m := r.Image("app", host(), good)
			change(&m)
			r.PutManifest("app", "v1", ocispec.MediaTypeImageManifest, m)
		}
	}
	blob := func(l registrytest.Layer) func(*registrytest.Server) {
		return func(r *registrytest.Server) { r.Push("app", "v1", host(), l) }
	}
	fault := func(f func(r *registrytest.Server, w http.ResponseWriter)) func(*registrytest.Server) {
		return func(r *registrytest.Server) {
			r.Push("app", "v1", host(), good)
			r.Break(func(w http.ResponseWriter, q *http.Request) bool {
				if !strings.HasSuffix(q.URL.Path, string(good.Digest())) {
					return false
				}
				f(r, w)
				return true
			})
		}
	}
	changed := func(l registrytest.Layer, change func([]byte) []byte) registrytest.Layer {
		l.Blob = change(bytes.Clone(l.Blob))
		return l
	}
	for _, test := range []struct {
		name  string
		setUp func(*registrytest.Server)
		kind  error
		text  string
	}{
		{"unknown image", func(*registrytest.Server) {}, registry.ErrNotFound, "no such image"},
		{"schema 1", func(r *registrytest.Server) {
			r.PutManifest("app", "v1", "application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion": 1, "fsLayers": []}`))
		}, nil, "schema 1"},
		{"artifact", manifest(func(m *ocispec.Manifest) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" }), registry.ErrInvalid, "artifact"},
		{"foreign layer", manifest(func(m *ocispec.Manifest) { m.Layers[0].URLs = []string{"https://example.com/x"} }), registry.ErrInvalid, "foreign"},
		{"sha512", manifest(func(m *ocispec.Manifest) {
			m.Layers[0].Digest = "sha512:" + m.Layers[0].Digest[7:] + m.Layers[0].Digest[7:]
		}), registry.ErrInvalid, "not a sha256"},
		{"path for a digest", manifest(func(m *ocispec.Manifest) { m.Layers[0].Digest = "sha256:../../../../etc/passwd" }), registry.ErrInvalid, "digest"},
		{"negative size", manifest(func(m *ocispec.Manifest) { m.Layers[0].Size = -1 }), registry.ErrInvalid, "-1 bytes"},
		{"size too small", manifest(func(m *ocispec.Manifest) { m.Layers[0].Size-- }), registry.ErrInvalid, "not the"},
		{"too few DiffIDs", manifest(func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }), registry.ErrInvalid, "lists 1 layers, the manifest 2"},
		{"giant manifest", manifest(func(m *ocispec.Manifest) { m.Annotations = map[string]string{"a": strings.Repeat("a", 5<<20)} }), registry.ErrInvalid, "longer than 4 MiB"},
		{"no JSON", func(r *registrytest.Server) {
			r.PutManifest("app", "v1", "text/html", []byte("<html>login</html>"))
		}, registry.ErrInvalid, "not JSON (text/html)"},
		{"manifest and index at once", func(r *registrytest.Server) {
			r.PutManifest("app", "v1", ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion": 2, "manifests": [], "layers": []}`))
		}, registry.ErrInvalid, "both"},
		{"other DiffID", blob(registrytest.Layer{MediaType: good.MediaType, Blob: good.Blob, DiffID: good.Digest()}), registry.ErrInvalid, "configuration says"},
		{"gzip cut short", blob(changed(good, func(b []byte) []byte { return b[:len(b)-9] })), registry.ErrInvalid, "unexpected EOF"},
		{"garbage after gzip", blob(changed(good, func(b []byte) []byte { return append(b, "garbage after it"...) })), registry.ErrInvalid, "is damaged"},
		{"broken gzip", blob(changed(good, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })), registry.ErrInvalid, "layer"},
		{"bad tar", blob(func() registrytest.Layer {
			l := registrytest.Layer{MediaType: ocispec.MediaTypeImageLayer, Blob: bytes.Repeat([]byte("not a tar "), 1000)}
			l.DiffID = l.Digest()
			return l
		}()), registry.ErrInvalid, "is damaged"},
		{"bomb", blob(registrytest.Tar(t, map[string][]byte{"zeros": make([]byte, 8<<20)}).Gzip()), layer.ErrTooBig, "too big"},
		{"wrong bytes", fault(func(_ *registrytest.Server, w http.ResponseWriter) {
			w.Write(noise(9, len(good.Blob)))
		}), store.ErrDigest, "its content is"},
		{"one wrong bit", fault(func(_ *registrytest.Server, w http.ResponseWriter) {
			wrong := bytes.Clone(good.Blob)
			wrong[len(wrong)/2] ^= 1
			w.Write(wrong)
		}), store.ErrDigest, "its content is"},
		{"endless body", fault(func(_ *registrytest.Server, w http.ResponseWriter) {
			w.WriteHeader(http.StatusOK)
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}), store.ErrDigest, "its content is"},
		{"hostile length", fault(func(_ *registrytest.Server, w http.ResponseWriter) {
			w.Header().Set("Content-Length", "9000000000000000000")
			w.Write([]byte("x"))
		}), registry.ErrInvalid, "9000000000000000000 bytes"},
		{"short blob", fault(func(_ *registrytest.Server, w http.ResponseWriter) {
			w.Write(good.Blob[:1000])
		}), registry.ErrInvalid, "has 1000 bytes"},
		{"refused blob", fault(func(_ *registrytest.Server, w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
		}), registry.ErrDenied, "wants a login"},
		{"rate limit", fault(func(_ *registrytest.Server, w http.ResponseWriter) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		}), registry.ErrRateLimited, "too many requests"},
		{"always broken", fault(func(_ *registrytest.Server, w http.ResponseWriter) {
			panic(http.ErrAbortHandler)
		}), registry.ErrUnreachable, "cannot be reached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, h := registrytest.New(t), newHome(t)
			h.config.Storage.MaxLayerSize = 4 << 20
			test.setUp(r)
			_, _, err := h.pull(t.Context(), r.Host+"/app:v1", "")
			if err == nil || test.kind != nil && !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %v with %q", err, test.kind, test.text)
			}
			if hint.Of(err) == "" {
				t.Errorf("%v: no hint", err)
			}
			condemned := errors.Is(err, registry.ErrInvalid) || errors.Is(err, layer.ErrTooBig)
			for _, name := range h.left() {
				if condemned || !strings.HasPrefix(name, "images/blobs/") { // else whole blobs, for the next attempt
					t.Errorf("left: %s", name)
				}
			}
			if images, _ := h.store.List(); len(images) != 0 {
				t.Errorf("left: %v", images)
			}
		})
	}
}

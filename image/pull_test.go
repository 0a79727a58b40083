package image_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/image"
	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/registry"
	"codeberg.org/minipod/minipod/image/registry/registrytest"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A home is one user's store and configuration.
type home struct {
	t      *testing.T
	dirs   state.Dirs
	store  *store.Store
	config *config.Config
}

func newHome(t *testing.T) *home {
	h := &home{t: t, dirs: state.Dirs{Data: filepath.Join(t.TempDir(), "data")}, config: config.Default()}
	var err error
	if h.store, err = store.Open(h.dirs); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *home) pull(ctx context.Context, name, platform string) (*store.Image, image.Report, error) {
	h.t.Helper()
	ref, err := reference.Parse(name)
	if err != nil {
		h.t.Fatal(err)
	}
	return image.Pull(ctx, h.store, ref, image.PullOptions{
		Platform: platform,
		Config:   h.config,
		Layer:    layer.Options{TolerateChown: true},
		Registry: registry.Options{
			Getenv:  func(string) string { return "" },
			Retries: registry.Retries{First: time.Millisecond, Longest: 2 * time.Second},
		},
	})
}

func (h *home) mustPull(name string) (*store.Image, image.Report) {
	h.t.Helper()
	img, report, err := h.pull(h.t.Context(), name, "")
	if err != nil {
		h.t.Fatalf("%v (hint: %s)", err, hint.Of(err))
	}
	return img, report
}

// read returns a file of the image as its topmost layer has it.
func (h *home) read(img *store.Image, name string) string {
	h.t.Helper()
	dirs, err := h.store.LayerDirs(img)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, dir := range dirs {
		data, err := os.ReadFile(filepath.Join(h.dirs.Data, dir, name))
		if err == nil {
			return string(data)
		}
	}
	h.t.Fatalf("no layer has %s", name)
	return ""
}

// left lists what a failed pull left: all files of the store but its frame.
func (h *home) left() (files []string) {
	filepath.WalkDir(h.dirs.Data, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(h.dirs.Data, path)
		if err == nil && (!d.IsDir() || strings.HasPrefix(name, "layers/")) &&
			name != "images/index.json" && name != "images/oci-layout" && !strings.HasSuffix(name, ".lock") {
			files = append(files, name)
		}
		return err
	})
	return files
}

// noise is data that does not compress.
func noise(seed uint64, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
	return data
}

func host() ocispec.Platform {
	p, _ := image.ParsePlatform("")
	return p
}

func TestPull(t *testing.T) {
	r, h := registrytest.New(t), newHome(t)
	first := registrytest.Tar(t, map[string][]byte{"a": noise(1, 1<<20), "etc/name": []byte("first")}).Gzip()
	second := registrytest.Tar(t, map[string][]byte{"b": noise(2, 1<<20), "etc/name": []byte("second")}).Zstd()
	third := registrytest.Tar(t, map[string][]byte{"etc/plain": []byte("third")})
	wanted := r.PutManifest("team/app", "", ocispec.MediaTypeImageManifest, r.Image("team/app", host(), first, second, third, first))
	other := r.PutManifest("team/app", "", ocispec.MediaTypeImageManifest, r.Image("team/app", ocispec.Platform{OS: "linux", Architecture: "riscv64"}, third))
	p := host()
	wanted.Platform, other.Platform = &p, &ocispec.Platform{OS: "linux", Architecture: "s390x"}
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{other, wanted}}
	index.SchemaVersion = 2
	top := r.PutManifest("team/app", "v1", ocispec.MediaTypeImageIndex, index)

	img, report := h.mustPull(r.Host + "/team/app:v1")
	if report.UpToDate || report.Digest != top.Digest || report.From != r.Host || img.Manifest.Digest != wanted.Digest {
		t.Errorf("report %+v, image %+v", report, img)
	}
	if got := h.read(img, "etc/name") + h.read(img, "etc/plain"); got != "firstthird" { // the fourth layer is the first again
		t.Errorf("the image has %q", got)
	}
	r.Requests()
	_, report = h.mustPull(r.Host + "/team/app:v1")
	if got := r.Requests(); !report.UpToDate || report.Downloaded() != 0 || len(got) != 3 { // /v2/, index, manifest
		t.Errorf("the second pull: up to date %v, %d bytes, asked for %q", report.UpToDate, report.Downloaded(), got)
	}
	if _, err := h.store.Resolve(r.Host + "/team/app@" + top.Digest.String()); err != nil {
		t.Error(err)
	}
	if img, _ = h.mustPull(r.Host + "/team/app@" + top.Digest.String()); img.Manifest.Digest != wanted.Digest {
		t.Errorf("by digest: %s", img.Manifest.Digest)
	}
	if _, _, err := h.pull(t.Context(), r.Host+"/team/app:v1", "linux/ppc64le"); !errors.Is(err, image.ErrNoPlatform) ||
		!strings.Contains(err.Error(), "linux/s390x") || hint.Of(err) == "" {
		t.Errorf("a platform that is missing: %v", err)
	}
}

// A layer whose tree is there and whose blob is not, is fetched without unpacking it, and the other way round.
func TestPullHalves(t *testing.T) {
	r, h := registrytest.New(t), newHome(t)
	plain := registrytest.Tar(t, map[string][]byte{"a": noise(1, 1<<18)})
	r.Push("app", "gzip", host(), plain.Gzip())
	r.Push("app", "zstd", host(), plain.Zstd())
	h.mustPull(r.Host + "/app:gzip")
	img, report := h.mustPull(r.Host + "/app:zstd")
	if !h.store.HasBlob(img.LayerDescs[0].Digest) || report.Downloaded() != img.LayerDescs[0].Size {
		t.Errorf("the other blob was not fetched: %+v", report)
	}
	if err := os.RemoveAll(filepath.Join(h.dirs.Layers(), img.Layers[0].Encoded()[:24])); err != nil {
		t.Fatal(err)
	}
	img, report = h.mustPull(r.Host + "/app:zstd")
	if report.Downloaded() != 0 || h.read(img, "a") != string(noise(1, 1<<18)) {
		t.Errorf("unpacked again from the store: %+v", report)
	}
}

func TestPullSurvives(t *testing.T) {
	big := registrytest.Tar(t, map[string][]byte{"a": noise(1, 3<<20)}).Gzip()
	for _, test := range []struct {
		name  string
		fault func(r *registrytest.Server) func(http.ResponseWriter, *http.Request) bool
	}{
		{"connections that break", func(s *registrytest.Server) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if registrytest.IsBlob(r, "") {
					s.Cut(w, r, 700_000)
				}
				return registrytest.IsBlob(r, "")
			}
		}},
		{"no ranges", func(s *registrytest.Server) func(http.ResponseWriter, *http.Request) bool {
			cuts := 0
			return func(w http.ResponseWriter, r *http.Request) bool {
				r.Header.Del("Range")
				if registrytest.IsBlob(r, "") && cuts < 3 {
					cuts++
					s.Cut(w, r, 500_000*cuts)
					return true
				}
				return false
			}
		}},
		{"ranges that are refused", func(s *registrytest.Server) func(http.ResponseWriter, *http.Request) bool {
			cut := false
			return func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case !registrytest.IsBlob(r, big.Digest()):
					return false
				case r.Header.Get("Range") != "":
					w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				case !cut:
					cut = true
					s.Cut(w, r, 500_000)
				default:
					return false
				}
				return true
			}
		}},
		{"errors that pass", func(*registrytest.Server) func(http.ResponseWriter, *http.Request) bool {
			var n atomic.Int32
			return func(w http.ResponseWriter, r *http.Request) bool {
				switch n.Add(1) {
				case 2, 6:
					w.WriteHeader(http.StatusInternalServerError)
				case 4:
					w.Header().Set("Retry-After", "1")
					w.WriteHeader(http.StatusTooManyRequests)
				case 8:
					panic(http.ErrAbortHandler)
				default:
					return false
				}
				return true
			}
		}},
		{"a redirect to storage", func(s *registrytest.Server) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if registrytest.IsBlob(r, "") && r.URL.RawQuery == "" {
					http.Redirect(w, r, r.URL.Path+"?signature=1", http.StatusTemporaryRedirect)
					return true
				}
				return false
			}
		}},
		{"no content type and no digest header", func(s *registrytest.Server) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "/manifests/") {
					s.Good(anonymous{w}, r)
					return true
				}
				return false
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, h := registrytest.New(t), newHome(t)
			r.Push("app", "v1", host(), big)
			r.Break(test.fault(r))
			img, _ := h.mustPull(r.Host + "/app:v1")
			if h.read(img, "a") != string(noise(1, 3<<20)) {
				t.Error("other content")
			}
		})
	}
}

// anonymous drops the headers that say what a document is.
type anonymous struct{ http.ResponseWriter }

func (a anonymous) WriteHeader(status int) {
	a.Header().Set("Content-Type", "text/plain")
	a.Header().Del("Docker-Content-Digest")
	a.ResponseWriter.WriteHeader(status)
}

// A pull that is cancelled leaves what it downloaded, and the next one goes on there.
func TestPullResumes(t *testing.T) {
	r, h := registrytest.New(t), newHome(t)
	big := registrytest.Tar(t, map[string][]byte{"a": noise(1, 4<<20)}).Gzip()
	r.Push("app", "v1", host(), big)
	ctx, cancel := context.WithCancel(t.Context())
	r.Break(func(w http.ResponseWriter, q *http.Request) bool {
		if !registrytest.IsBlob(q, big.Digest()) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(big.Blob)))
		w.Write(big.Blob[:1<<20])
		w.(http.Flusher).Flush()
		part := filepath.Join(h.dirs.Tmp(), "blob-"+big.Digest().Encoded()+".part")
		for range 6000 { // until bytes were received
			if info, err := os.Stat(part); err == nil && info.Size() > 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
		<-q.Context().Done()
		return true
	})
	if _, _, err := h.pull(ctx, r.Host+"/app:v1", ""); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	if dirs, _ := os.ReadDir(h.dirs.Layers()); len(dirs) != 0 {
		t.Errorf("a half layer is left: %v", dirs)
	}
	r.Break(nil)
	r.Requests()
	img, report := h.mustPull(r.Host + "/app:v1")
	l := report.Layers[0]
	if l.Resumed == 0 || l.Resumed+l.Downloaded != int64(len(big.Blob)) {
		t.Errorf("resumed at %d, downloaded %d of %d", l.Resumed, l.Downloaded, len(big.Blob))
	}
	if asked := strings.Join(r.Requests(), "\n"); !strings.Contains(asked, fmt.Sprintf("bytes=%d-", l.Resumed)) {
		t.Errorf("asked for\n%s", asked)
	}
	if h.read(img, "a") != string(noise(1, 4<<20)) {
		t.Error("other content")
	}
}

// What an earlier pull left may be damaged; then it is fetched anew.
func TestPullMendsPartialBlob(t *testing.T) {
	r, h := registrytest.New(t), newHome(t)
	l := registrytest.Tar(t, map[string][]byte{"a": noise(1, 1<<20)}).Gzip()
	r.Push("app", "v1", host(), l)
	release, err := h.store.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in, err := h.store.Ingest(t.Context(), ocispec.Descriptor{Digest: l.Digest(), Size: int64(len(l.Blob))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(noise(3, 5000)); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	release()
	if img, _ := h.mustPull(r.Host + "/app:v1"); h.read(img, "a") != string(noise(1, 1<<20)) {
		t.Error("other content")
	}
}

func TestPullMirrors(t *testing.T) {
	upstream, dead, empty, liar, good, h := registrytest.New(t), registrytest.New(t), registrytest.New(t), registrytest.New(t), registrytest.New(t), newHome(t)
	l := registrytest.Tar(t, map[string][]byte{"a": noise(1, 1<<20)}).Gzip()
	upstream.Push("app", "v1", host(), l)
	liar.Push("hub/app", "v1", host(), l)
	good.Push("app", "v1", host(), l)
	liar.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if registrytest.IsBlob(r, l.Digest()) {
			w.Write(noise(7, len(l.Blob)))
			return true
		}
		return false
	})
	dead.Break(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	h.config.Registries[upstream.Host] = config.Registry{Mirrors: []string{dead.Host, empty.Host, liar.Host + "/hub", good.Host}}

	img, report := h.mustPull(upstream.Host + "/app:v1")
	if report.From != liar.Host || h.read(img, "a") != string(noise(1, 1<<20)) {
		t.Errorf("served by %s", report.From)
	}
	if asked := upstream.Requests(); len(asked) != 0 {
		t.Errorf("the registry itself was asked for %q", asked)
	}
	// One that keeps breaking off is left in the middle of a blob.
	broken, other := registrytest.New(t), newHome(t)
	broken.Push("app", "v1", host(), l)
	broken.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if registrytest.IsBlob(r, l.Digest()) {
			broken.Cut(w, r, 1000)
		}
		return false
	})
	other.config.Registries[upstream.Host] = config.Registry{Mirrors: []string{broken.Host}}
	if img, _ := other.mustPull(upstream.Host + "/app:v1"); other.read(img, "a") != string(noise(1, 1<<20)) {
		t.Error("other content")
	}
	// All fail: the error is the registry's own and tells of the mirrors.
	_, _, err := h.pull(t.Context(), upstream.Host+"/app:v2", "")
	if !errors.Is(err, registry.ErrNotFound) || !strings.Contains(err.Error(), dead.Host) || !strings.Contains(err.Error(), "registry "+upstream.Host+" has no such image") {
		t.Errorf("no place has it: %v", err)
	}
}

// Two pulls at once download each layer once.
func TestPullShares(t *testing.T) {
	r, h := registrytest.New(t), newHome(t)
	var layers []registrytest.Layer
	for i := range 5 {
		layers = append(layers, registrytest.Tar(t, map[string][]byte{fmt.Sprint(i): noise(uint64(i), 1<<18)}).Gzip())
	}
	r.Push("app", "v1", host(), layers...)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, _, err := h.pull(t.Context(), r.Host+"/app:v1", ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	asked := strings.Join(r.Requests(), "\n")
	for _, l := range layers {
		if n := strings.Count(asked, l.Digest().Encoded()); n != 1 {
			t.Errorf("a layer was asked for %d times", n)
		}
	}
}

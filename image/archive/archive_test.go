package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// tolerant lets an ordinary user unpack what belongs to root.
var tolerant = layer.Options{TolerateChown: true}

func newStore(t testing.TB) (*store.Store, state.Dirs) {
	t.Helper()
	dirs := state.Dirs{Data: filepath.Join(t.TempDir(), "data")}
	s, err := store.Open(dirs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // image trees have folders that their owner can't read
		filepath.WalkDir(dirs.Data, func(path string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				os.Chmod(path, 0o700)
			}
			return nil
		})
	})
	return s, dirs
}

func parse(t testing.TB, name string) reference.Reference {
	t.Helper()
	ref, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// rootfs returns a small root file system as a tar.
func rootfs(t testing.TB) []byte {
	t.Helper()
	return tarOf(t, map[string]string{"etc/os-release": "NAME=test\n", "bin/sh": strings.Repeat("#!", 5000)})
}

func tarOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(mapKeys(files)) {
		h := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name])), ModTime: time.Unix(1e9, 0)}
		if target, isLink := strings.CutPrefix(files[name], "->"); isLink {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, files[name])
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// untar is tarOf backwards, for tests that change one file of an archive.
func untar(t testing.TB, data []byte) map[string]string {
	t.Helper()
	files := map[string]string{}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(content)
	}
}

func gzipped(data []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(data)
	w.Close()
	return buf.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// leftovers lists what a store holds besides its list of images and its locks.
func leftovers(t testing.TB, dirs state.Dirs) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dirs.Data, func(path string, d fs.DirEntry, err error) error {
		if name, _ := filepath.Rel(dirs.Data, path); err == nil && !d.IsDir() {
			switch name {
			case "images/oci-layout", "images/index.json", "tmp/store.lock", "tmp/index.lock":
			default:
				all = append(all, name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func imported(t testing.TB, s *store.Store, name string) *store.Image {
	t.Helper()
	o := ImportOptions{Name: parse(t, name), Created: time.Unix(1e9, 0).UTC(), Layer: tolerant, Message: "from a test"}
	if _, err := Import(t.Context(), s, bytes.NewReader(gzipped(rootfs(t))), o); err != nil {
		t.Fatal(err)
	}
	img, err := s.Resolve(name)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestSaveLoad(t *testing.T) {
	for _, format := range []Format{DockerArchive, OCIArchive, OCIDir} {
		for _, compression := range []string{"gzip", "zstd", "none"} {
			t.Run(string(format)+" of "+compression, func(t *testing.T) {
				from, _ := newStore(t)
				data := rootfs(t)
				switch compression {
				case "gzip":
					data = gzipped(data)
				case "zstd":
					data = zstded(t, data)
				}
				o := ImportOptions{Name: parse(t, "test/image:1"), Layer: tolerant, Changes: []string{"CMD [\"sh\"]"}}
				if _, err := Import(t.Context(), from, bytes.NewReader(data), o); err != nil {
					t.Fatal(err)
				}
				want, err := from.Resolve("test/image:1")
				if err != nil {
					t.Fatal(err)
				}
				if err := from.Tag(t.Context(), parse(t, "second:2"), want.Manifest); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "out")
				if err := SavePath(t.Context(), from, []string{"test/image:1", "second:2"}, format, path); err != nil {
					t.Fatal(err)
				}
				to, _ := newStore(t)
				loaded, err := LoadPath(t.Context(), to, path, LoadOptions{Layer: tolerant})
				if err != nil {
					t.Fatal(err)
				}
				if len(loaded) != 1 || len(loaded[0].Names) != 2 || loaded[0].ID != want.ID {
					t.Fatalf("loaded %+v", loaded)
				}
				got, err := to.Resolve("second:2")
				if err != nil || got.ID != want.ID || !slices.Equal(got.Config.Config.Cmd, []string{"sh"}) {
					t.Fatalf("resolved %+v, %v", got, err)
				}
				if format != DockerArchive && got.Manifest.Digest != want.Manifest.Digest {
					t.Errorf("manifest %s, want %s", got.Manifest.Digest, want.Manifest.Digest)
				}
				if _, err := to.LayerDirs(got); err != nil {
					t.Error(err)
				}
				again, err := LoadPath(t.Context(), to, path, LoadOptions{Layer: tolerant}) // idempotent
				if err != nil || again[0].ID != want.ID {
					t.Errorf("second load: %+v, %v", again, err)
				}
				if images, err := to.List(); len(images) != 1 || err != nil {
					t.Errorf("%d images, %v", len(images), err)
				}
			})
		}
	}
}

func TestLoadFromPipe(t *testing.T) {
	from, _ := newStore(t)
	imported(t, from, "x:1")
	var archive bytes.Buffer
	if err := Save(t.Context(), from, []string{"x:1"}, DockerArchive, &archive); err != nil {
		t.Fatal(err)
	}
	for kind, data := range map[string][]byte{"plain": archive.Bytes(), "gzip": gzipped(archive.Bytes()), "zstd": zstded(t, archive.Bytes())} {
		to, dirs := newStore(t)
		o := LoadOptions{Layer: tolerant, Name: parse(t, "renamed:9")}
		loaded, err := Load(t.Context(), to, iotestReader{bytes.NewReader(data)}, o)
		if err != nil || loaded[0].Names[0].Familiar() != "renamed:9" {
			t.Errorf("%s: %+v, %v", kind, loaded, err)
		}
		for _, name := range leftovers(t, dirs) {
			if strings.HasPrefix(name, "tmp/") {
				t.Errorf("%s: %s is left", kind, name)
			}
		}
	}
}

// An iotestReader hides everything but Read, as a pipe does.
type iotestReader struct{ r io.Reader }

func (r iotestReader) Read(p []byte) (int, error) { return r.r.Read(p) }

// dockerFiles is an archive as docker before 25 writes it: plain layers, one folder each, a repeated layer as a link.
func dockerFiles(t testing.TB) map[string]string {
	t.Helper()
	s, _ := newStore(t)
	img := imported(t, s, "x:1")
	config := `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["` +
		img.Layers[0].String() + `","` + img.Layers[0].String() + `"]}}`
	return map[string]string{
		"aaa/layer.tar":  string(rootfs(t)),
		"bbb/layer.tar":  "->../aaa/layer.tar",
		"config.json":    config,
		"manifest.json":  `[{"Config":"config.json","RepoTags":["old/docker:1","localhost:5000/b:2"],"Layers":["aaa/layer.tar","./bbb/layer.tar"]}]`,
		"repositories":   `{}`,
		"bbb/VERSION":    "1.0",
		"aaa/json":       `{}`,
		"../../escape":   "x",
		"loop":           "->loop",
		"/absolute/file": "y",
	}
}

func TestLoadDockerArchive(t *testing.T) {
	s, _ := newStore(t)
	loaded, err := Load(t.Context(), s, bytes.NewReader(tarOf(t, dockerFiles(t))), LoadOptions{Layer: tolerant})
	if err != nil {
		t.Fatal(err)
	}
	img, err := s.Resolve("localhost:5000/b:2")
	if err != nil || img.ID != loaded[0].ID || len(img.Layers) != 2 {
		t.Fatalf("%+v, %v", img, err)
	}
	if dirs, err := s.LayerDirs(img); err != nil || len(dirs) != 1 {
		t.Errorf("LayerDirs = %q, %v; the repeated layer counts once", dirs, err)
	}
}

// Whatever is wrong with an archive, there is one error, and nothing is left.
func TestLoadRefuses(t *testing.T) {
	oci := func(t *testing.T) (map[string]string, *store.Image) {
		s, _ := newStore(t)
		img := imported(t, s, "x:1")
		var buf bytes.Buffer
		if err := Save(t.Context(), s, []string{"x:1"}, OCIArchive, &buf); err != nil {
			t.Fatal(err)
		}
		return untar(t, buf.Bytes()), img
	}
	edit := func(change func(files map[string]string, img *store.Image)) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			files, img := oci(t)
			change(files, img)
			return tarOf(t, files)
		}
	}
	docker := func(change func(map[string]string)) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			files := dockerFiles(t)
			change(files)
			return tarOf(t, files)
		}
	}
	layerName := func(img *store.Image) string { return blobName(img.LayerDescs[0].Digest) }
	tests := []struct {
		name    string
		archive func(*testing.T) []byte
		why     string
	}{
		{"empty", func(*testing.T) []byte { return nil }, "no tar archive"},
		{"text", func(*testing.T) []byte { return []byte(strings.Repeat("hello ", 500)) }, "no tar archive"},
		{"xz", func(*testing.T) []byte { return []byte("\xfd7zXZ\x00......") }, "xz: unsupported"},
		{"half a gzip", func(t *testing.T) []byte { z := gzipped(rootfs(t)); return z[:len(z)/2] }, "unexpected EOF"},
		{"root file system", rootfsOf, "neither a docker-archive nor"},
		{"truncated", func(t *testing.T) []byte {
			whole := docker(func(map[string]string) {})(t)
			return whole[:5000]
		}, "unexpected EOF"},
		{"other layer", edit(func(f map[string]string, img *store.Image) {
			f[layerName(img)] = strings.Repeat("x", len(f[layerName(img)]))
		}), "digest mismatch"},
		{"short layer", edit(func(f map[string]string, img *store.Image) { f[layerName(img)] = f[layerName(img)][1:] }), "size mismatch"},
		{"long layer", edit(func(f map[string]string, img *store.Image) { f[layerName(img)] += "x" }), "size mismatch"},
		{"no layer", edit(func(f map[string]string, img *store.Image) { delete(f, layerName(img)) }), "lacks blobs/sha256"},
		{"other config", edit(func(f map[string]string, img *store.Image) { f[blobName(img.ID)] = "{}" }), "digest mismatch"},
		{"no manifest", edit(func(f map[string]string, img *store.Image) { delete(f, blobName(img.Manifest.Digest)) }), "lacks blob"},
		{"bad index", edit(func(f map[string]string, _ *store.Image) { f["index.json"] = "{" }), "decode index.json"},
		{"no images", edit(func(f map[string]string, _ *store.Image) { f["index.json"] = "{}" }), "has no images"},
		{"path for a digest", edit(func(f map[string]string, img *store.Image) {
			f["index.json"] = strings.ReplaceAll(f["index.json"], img.Manifest.Digest.String(), "sha256:../../../../etc/passwd")
		}), "bad digest"},
		{"bad name", edit(func(f map[string]string, _ *store.Image) {
			f["index.json"] = strings.ReplaceAll(f["index.json"], "docker.io/library/x:1", "UPPER/:case")
		}), "invalid image name"},
		{"other diffID", docker(func(f map[string]string) { f["aaa/layer.tar"] = string(tarOf(t, map[string]string{"z": "z"})) }), "digest mismatch"},
		{"gzip of another layer", docker(func(f map[string]string) {
			f["aaa/layer.tar"] = string(gzipped(tarOf(t, map[string]string{"z": "z"})))
		}), "digest mismatch"},
		{"too few layers", docker(func(f map[string]string) {
			f["manifest.json"] = `[{"Config":"config.json","Layers":["aaa/layer.tar"]}]`
		}), "it has 2 layers, its manifest 1"},
		{"layer outside", docker(func(f map[string]string) { f["bbb/layer.tar"] = "->../../../../../etc/passwd" }), "lacks ./bbb/layer.tar"},
		{"layer loop", docker(func(f map[string]string) { f["bbb/layer.tar"] = "->layer.tar" }), "lacks ./bbb/layer.tar"},
		{"config outside", docker(func(f map[string]string) {
			f["manifest.json"] = `[{"Config":"../../../etc/passwd","Layers":[]}]`
		}), "file does not exist"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, dirs := newStore(t)
			_, err := Load(t.Context(), s, bytes.NewReader(test.archive(t)), LoadOptions{Layer: tolerant})
			if err == nil || !strings.Contains(err.Error(), test.why) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %q", err, test.why)
			}
			if left := leftovers(t, dirs); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
			if images, err := s.List(); len(images) > 0 || err != nil {
				t.Errorf("images %v, %v", images, err)
			}
		})
	}
}

func rootfsOf(t *testing.T) []byte { return rootfs(t) }

func TestLoadInterrupted(t *testing.T) {
	s, dirs := newStore(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	data := tarOf(t, dockerFiles(t))
	_, err := Load(ctx, s, io.MultiReader(bytes.NewReader(data[:len(data)-1024]), readerFunc(func([]byte) (int, error) {
		cancel(stop)
		return 0, io.EOF
	})), LoadOptions{Layer: tolerant})
	if !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	if left := leftovers(t, dirs); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestImport(t *testing.T) {
	s, dirs := newStore(t)
	img := imported(t, s, "mine:1")
	h := img.Config.History
	if len(h) != 1 || h[0].Comment != "from a test" || !img.Created.Equal(time.Unix(1e9, 0)) {
		t.Errorf("history %+v, created %s", h, img.Created)
	}
	layers, err := s.LayerDirs(img)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dirs.Data, layers[0], "etc/os-release"))
	if err != nil || string(content) != "NAME=test\n" {
		t.Errorf("etc/os-release: %q, %v", content, err)
	}

	for name, data := range map[string][]byte{
		"nothing":        nil,
		"text":           []byte("hello"),
		"truncated gzip": gzipped(rootfs(t))[:100],
		"truncated":      rootfs(t)[:3000],
	} {
		s, dirs := newStore(t)
		_, err := Import(t.Context(), s, bytes.NewReader(data), ImportOptions{Name: parse(t, "x"), Layer: tolerant})
		if err == nil {
			t.Errorf("%s: imported", name)
		}
		if left := leftovers(t, dirs); len(left) > 0 {
			t.Errorf("%s: left: %q", name, left)
		}
	}
}

func TestSaveRefuses(t *testing.T) {
	s, dirs := newStore(t)
	img := imported(t, s, "x:1")
	work := t.TempDir()
	if err := SavePath(t.Context(), s, []string{"x:1", "none:1"}, DockerArchive, work+"/a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown name: %v", err)
	}
	if err := SavePath(t.Context(), s, nil, OCIArchive, work+"/a"); err == nil {
		t.Error("no names: saved")
	}
	if err := Save(t.Context(), s, []string{"x:1"}, OCIDir, io.Discard); hint.Of(err) == "" {
		t.Errorf("folder to a pipe: %v", err)
	}
	blob := filepath.Join(dirs.Images(), blobName(img.LayerDescs[0].Digest))
	if err := os.WriteFile(blob, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range []Format{DockerArchive, OCIArchive, OCIDir} {
		if err := SavePath(t.Context(), s, []string{"x:1"}, format, work+"/a"); !errors.Is(err, store.ErrDigest) {
			t.Errorf("damaged blob as %s: %v", format, err)
		}
	}
	if entries, err := os.ReadDir(work); len(entries) > 0 || err != nil {
		t.Errorf("left: %v, %v", entries, err)
	}
}

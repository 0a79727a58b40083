package archive

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/image/store"
)

func TestGenuineImages(t *testing.T) {
	for dir, want := range map[string]string{"alpine": "alpine:3.20.3", "busybox": "busybox:1.38.0-glibc"} {
		path := filepath.Join("../../../shared/images", dir)
		if _, err := os.Stat(path); err != nil {
			t.Skip("no genuine images beside the repository")
		}
		path = withLinks(t, path)
		s, dirs := newStore(t)
		loaded, err := LoadPath(t.Context(), s, path, LoadOptions{Layer: tolerant})
		if err != nil {
			t.Fatal(err)
		}
		img, err := s.Resolve(want)
		if err != nil || loaded[0].Names[0].Familiar() != want {
			t.Fatalf("%+v, %v", loaded, err)
		}
		layers, err := s.LayerDirs(img)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(dirs.Data, layers[0], "bin/sh")); err != nil {
			t.Error(err)
		}
		if size, err := s.Unpacked(img); err != nil || size < 1<<20 {
			t.Errorf("unpacked %d bytes, %v", size, err)
		}
	}
}

// withLinks copies a layout. Upstream's busybox has links for blobs, which a checkout without links turns into files
// that hold their targets; here they are links again.
func withLinks(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(from))
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(to + "/blobs/sha256/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, blob := range blobs {
		target, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(target), "../") {
			if err := errors.Join(os.Remove(blob), os.Symlink(string(target), blob)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return to
}

// skopeo must read all that we write, and we all that it writes.
func TestSkopeo(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is not installed")
	}
	s, dirs := newStore(t)
	want := imported(t, s, "team/app:1")
	copyImage := func(from, to string) {
		t.Helper()
		if out, err := exec.Command(skopeo, "--insecure-policy", "copy", from, to).CombinedOutput(); err != nil {
			t.Fatalf("skopeo copy %s %s: %v\n%s", from, to, err, out)
		}
	}
	work := t.TempDir()
	name := "docker.io/team/app:1"
	for i, write := range []func(path string) (source string){
		func(path string) string { return "oci:" + dirs.Images() + ":" + name },
		func(path string) string { return saved(t, s, DockerArchive, path) },
		func(path string) string { return saved(t, s, OCIArchive, path) + ":" + name },
		func(path string) string { return saved(t, s, OCIDir, path) + ":" + name },
	} {
		source := write(filepath.Join(work, "ours"+string(rune('0'+i))))
		for _, format := range []string{"docker-archive", "oci-archive", "oci"} {
			path := filepath.Join(work, format+string(rune('0'+i)))
			copyImage(source, format+":"+path+":"+name)
			to, _ := newStore(t)
			loaded, err := LoadPath(t.Context(), to, path, LoadOptions{Layer: tolerant})
			if err != nil {
				t.Errorf("%s to %s: %v", source, format, err)
				continue
			}
			// Which config fields a tool keeps is its own affair; the layers must be the same.
			got, err := to.Resolve("team/app:1")
			if err != nil || !slices.Equal(got.Layers, want.Layers) {
				t.Errorf("%s to %s: loaded %+v, %v", source, format, loaded, err)
			}
		}
	}
}

func saved(t *testing.T, s *store.Store, format Format, path string) string {
	t.Helper()
	if err := SavePath(t.Context(), s, []string{"team/app:1"}, format, path); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(format), "oci-dir", "oci", 1) + ":" + path
}

package archive

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600),
		os.Mkdir(filepath.Join(dir, "sub"), 0o700),
		os.Symlink("../file", filepath.Join(dir, "sub", "within")),
		os.Symlink("../../../../../../etc/passwd", filepath.Join(dir, "sub", "outside")),
		os.Symlink("/etc/passwd", filepath.Join(dir, "absolute")),
		os.Symlink("loop", filepath.Join(dir, "loop")),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{
		"file": true, "sub/within": true, "sub": false, "sub/outside": false, "absolute": false, "loop": false, "../x": false, "none": false,
	} {
		data, err := readAll(folder{root}, name)
		if good != (err == nil) || good && string(data) != "content" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// FuzzOpenTar: whatever bytes claim to be an archive, each file of it lies within them.
func FuzzOpenTar(f *testing.F) {
	f.Add(tarOf(f, map[string]string{"manifest.json": "[]", "a/layer.tar": "x", "b": "->a/layer.tar", "../c": "->../c"}))
	f.Add(tarOf(f, map[string]string{"index.json": "{}", "oci-layout": "{}"})[:700])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		archive, err := openTar(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for name := range archive.files {
			r, size, err := archive.open(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil || size < 0 || size > int64(len(data)) {
				t.Fatalf("%q has %d of %d bytes, %v", name, size, len(data), err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n > size {
				t.Fatalf("%q: read %d of %d bytes, %v", name, n, size, err)
			}
		}
	})
}

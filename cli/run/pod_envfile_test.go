package run

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/pod/volume"
)

// What the second process could not read is known again here: that there is no such file, that it may not be read, or whatever else is so.
func TestReadError(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "large"), make([]byte, 1<<20+1), 0o600), os.Mkdir(filepath.Join(dir, "folder"), 0o700)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, want := range map[string]string{"large": "large has 1048577 bytes, and 1048576 are the most that are read", "folder": "folder is not a regular file"} {
		_, err := volume.ReadIn(root, name)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
			continue
		}
		if got := readError(hint.ExitRuntime, name, err.Error()); got == nil || got.Error() != want {
			t.Errorf("%s comes back as %v", name, got)
		}
	}
	if err := readError(hint.ExitNotFound, "x", "openat x: no such file or directory"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := readError(hint.ExitNotExecutable, "x", "openat x: permission denied"); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if err := readError(137, "x", ""); err == nil || !strings.Contains(err.Error(), "137") {
		t.Error(err)
	}
	if err := readError(0, "x", ""); err != nil {
		t.Error(err)
	}
}

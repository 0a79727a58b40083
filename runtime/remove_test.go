package runtime_test

import (
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
)

// TestRemoveHostileTree removes what a container may leave in the way: folders deeper than descriptors reach, closed ones, and
// a link that leads out.
func TestRemoveHostileTree(t *testing.T) {
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	dir := filepath.Join(base, "dir")
	if err := os.MkdirAll(filepath.Join(dir, "closed/inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(outside, []byte("stays"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	deep(t, dir, 3_000)
	if err := os.WriteFile(filepath.Join(dir, "closed/inner/file"), nil, 0o000); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"closed/inner", "closed"} {
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := runtime.RemoveTree(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("what a link led to is gone: %v", err)
	}
}

// deep makes a folder in a folder in a folder, in dir. No path can name them all, so each is opened from its parent.
func deep(t *testing.T, dir string, levels int) {
	t.Helper()
	at, err := linux.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range levels {
		if err := at.Mkdir("d", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := at.Open("d")
		at.Close()
		if err != nil {
			t.Fatal(err)
		}
		at = next
	}
	at.Close()
}

package state_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/minipod/minipod/state"
)

// The trees below hold set-uid files of images: whatever Make makes on the way is closed to others.
func TestMakeClosesParents(t *testing.T) {
	dir := t.TempDir()
	if err := state.Make(filepath.Join(dir, "share/minipod/layers")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"share", "share/minipod", "share/minipod/layers"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// A lock that its holder removed with the whole folder is not made again: the folder could not go.
func TestTryLockThereMakesNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	if _, err := state.TryLockThere(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lock that is not there: %v", err)
	}
	if _, err := os.Lstat(name); err == nil {
		t.Error("it is there now")
	}
}

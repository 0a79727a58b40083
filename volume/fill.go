package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/state"
)

// NeedsFill tells whether the volume that lives at mountpoint (a Volume's Mountpoint) is new or was left half-filled.
// It takes no lock and costs two system calls: the answer of a moment, which Fill checks again under the lock.
func NeedsFill(mountpoint string) (bool, error) {
	if _, err := os.Lstat(ready(mountpoint)); err == nil {
		return true, nil
	}
	return empty(mountpoint)
}

// Fill fills the volume at mountpoint if it is empty, as package documentation draws it. copyTo copies the image's
// folder to the empty folder it is given, the folder's own owner and mode included; its error is returned and the
// volume stays empty. Only one process fills a volume at a time; the others wait and then find it filled.
// Idempotent; after a kill -9 the next Fill completes or repeats the copy. A power cut may lose the newest files.
func Fill(mountpoint string, copyTo func(dir string) error) (err error) {
	lock, err := state.LockFile(path.Join(path.Dir(mountpoint), "lock"))
	if err != nil {
		return fmt.Errorf("fill volume at %s: %w", mountpoint, err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if _, err := os.Lstat(ready(mountpoint)); errors.Is(err, fs.ErrNotExist) {
		if isEmpty, err := empty(mountpoint); err != nil || !isEmpty {
			return err
		}
		if err := copyWhole(mountpoint, copyTo); err != nil {
			return fmt.Errorf("fill volume at %s: %w", mountpoint, err)
		}
	}
	if err := moveIn(mountpoint); err != nil {
		return fmt.Errorf("fill volume at %s: %w", mountpoint, err)
	}
	return nil
}

// copyWhole makes ready(mountpoint) hold the complete copy.
func copyWhole(mountpoint string, copyTo func(dir string) error) error {
	temp := path.Join(path.Dir(mountpoint), "_copy")
	if err := os.RemoveAll(temp); err != nil { // of one that died
		return err
	}
	err := os.Mkdir(temp, 0o755)
	if err == nil {
		err = copyTo(temp)
	}
	if err == nil {
		err = os.Rename(temp, ready(mountpoint)) // the point of no return
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return nil
}

// moveIn empties ready(mountpoint) into mountpoint. A name that is already there was written by a container that
// mounts the volume meanwhile, and stays.
func moveIn(mountpoint string) error {
	from := ready(mountpoint)
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		to := path.Join(mountpoint, entry.Name())
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		if err := os.Rename(path.Join(from, entry.Name()), to); err != nil {
			return err
		}
	}
	if err := linux.CopyAttributes(mountpoint, from); err != nil {
		return err
	}
	return os.RemoveAll(from)
}

func ready(mountpoint string) string { return path.Join(path.Dir(mountpoint), "_ready") }

func empty(dir string) (bool, error) {
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	names, err := d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return len(names) == 0, err
}

package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/runtime"
)

// wantsSize tells whether a verb must find out what containers have written, which takes a walk through all of it.
func wantsSize(c *urfave.Context) bool {
	return c.Bool("size") || strings.Contains(c.String("format"), ".Size")
}

// written is how many bytes the container's own layer holds: what it wrote over the image. It needs the user's id range.
func (a *app) written(r runtime.Record) (int64, error) {
	return treeSize(filepath.Join(a.dirs.Containers(), r.ID, "upper"))
}

// treeSize adds up the files below dir, those with several names once. The container may change the tree meanwhile:
// through os.Root no link of its leads out of it, and what vanishes is not counted.
func treeSize(dir string) (int64, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // one that is being made, or removed
	}
	if err != nil {
		return 0, err
	}
	defer root.Close()
	var size int64
	seen := map[uint64]bool{} // inodes: it is all one file system
	err = fs.WalkDir(root.FS(), ".", func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // it vanished between the two looks
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		size += info.Size()
		return nil
	})
	return size, err
}

// imageSizes are the sizes of the containers' images, unpacked, by image ID. Images that are gone are left out.
func (a *app) imageSizes(records []runtime.Record) (map[string]int64, error) {
	sizes := map[string]int64{}
	if len(records) == 0 {
		return sizes, nil
	}
	images, err := store.Open(a.dirs)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if _, known := sizes[r.ImageID]; known || r.ImageID == "" {
			continue
		}
		img, err := images.Resolve(r.ImageID)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if sizes[r.ImageID], err = images.Unpacked(img); err != nil {
			return nil, err
		}
	}
	return sizes, nil
}

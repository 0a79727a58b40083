package runtime

import (
	"errors"
	"io/fs"
	"os"
	"strconv"

	"codeberg.org/minipod/minipod/internal/linux"
)

// RemoveTree removes dir and all below it. It follows no links. What a container may have made to be in the way is: folders
// closed to their owner, and folders so deep that one descriptor a level is more than we may open.
func RemoveTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	err = flatten(root)
	if err := errors.Join(err, root.Close()); err != nil {
		return err
	}
	return os.Remove(dir)
}

// flatten empties root, and never looks deeper than two levels: a folder in a folder moves up, until none is left.
func flatten(root *os.Root) error {
	unique, moved := ".minipod-"+linux.RandomID()[:8]+"-", 0
	for {
		entries, err := readDir(root, ".")
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if !e.IsDir() {
				if err := root.Remove(e.Name()); err != nil {
					return err
				}
				continue
			}
			if err := root.Chmod(e.Name(), 0o700); err != nil {
				return err
			}
			inner, err := readDir(root, e.Name())
			if err != nil {
				return err
			}
			for _, i := range inner {
				name := e.Name() + "/" + i.Name()
				if i.IsDir() {
					moved++
					err = errors.Join(root.Chmod(name, 0o700), root.Rename(name, unique+strconv.Itoa(moved)))
				} else {
					err = root.Remove(name)
				}
				if err != nil {
					return err
				}
			}
			if err := root.Remove(e.Name()); err != nil {
				return err
			}
		}
	}
}

func readDir(root *os.Root, name string) ([]fs.DirEntry, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

package layer

import (
	"errors"
	"slices"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A node is what a folder of a tree in overlay's format has under a name.
type node struct {
	linux.Stat
	name     string
	whiteout bool
}

func (n node) kind() uint32 { return n.Mode & linux.S_IFMT }

// inode identifies a file that may have several names.
type inode struct{ dev, ino uint64 }

func (n node) inode() inode { return inode{n.Dev, n.Ino} }

// read answers what the folder dir holds, sorted by name, and whether it hides the layers below.
func read(dir linux.File) (nodes []node, hides bool, err error) {
	mark, err := dir.Xattr(xattrOpaque)
	if err != nil && !errors.Is(err, linux.ENODATA) && !errors.Is(err, linux.ENOTSUP) {
		return nil, false, err
	}
	names, err := dir.Names()
	if err != nil {
		return nil, false, err
	}
	slices.Sort(names)
	for _, name := range names {
		n := node{name: name}
		n.Stat, err = dir.Lstat(name)
		switch {
		case gone(err): // of a container that runs
			continue
		case err != nil:
			return nil, false, err
		case n.kind() == linux.S_IFCHR:
			n.whiteout = n.Rdev == 0
		case n.kind() == linux.S_IFREG && n.Size == 0 && string(mark) == "x":
			if n.whiteout, err = hasXattr(dir, name, xattrWhiteout); gone(err) {
				continue
			} else if err != nil {
				return nil, false, err
			}
		}
		nodes = append(nodes, n)
	}
	return nodes, string(mark) == "y", nil
}

func hasXattr(dir linux.File, name, key string) (bool, error) {
	f, err := dir.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.Xattr(key)
	if errors.Is(err, linux.ENODATA) {
		return false, nil
	}
	return err == nil, err
}

// xattrs answers the extended attributes of f that keepXattr keeps.
func xattrs(f linux.File) (map[string]string, error) {
	keys, err := f.Xattrs()
	if errors.Is(err, linux.ENOTSUP) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	kept := map[string]string{}
	for _, key := range keys {
		if keepXattr(key) {
			value, err := f.Xattr(key)
			if errors.Is(err, linux.ENODATA) { // of a container that runs
				continue
			} else if err != nil {
				return nil, err
			}
			kept[key] = string(value)
		}
	}
	return kept, nil
}

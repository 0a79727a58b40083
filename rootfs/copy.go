package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// copyTree fills the folder behind dst with what the one behind src holds: owners, modes, times and links, as a new
// named volume gets them from the image. What exists in dst already is left alone, so a copy that was interrupted can
// be made again. Both are descriptors; devices and sockets are passed over.
func copyTree(src, dst int) error {
	from, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(src))
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(dst))
	if err != nil {
		return err
	}
	defer to.Close()
	err = fs.WalkDir(from.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := copyEntry(from, to, name); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return copyTimes(from, to)
}

func copyEntry(from, to *os.Root, name string) error {
	info, err := from.Lstat(name)
	if err != nil {
		return err
	}
	switch kind := info.Mode().Type(); kind {
	case fs.ModeDir:
		if name != "." {
			err = to.Mkdir(name, 0o700)
		}
	case fs.ModeSymlink:
		var target string
		if target, err = from.Readlink(name); err == nil {
			err = to.Symlink(target, name)
		}
	case 0:
		err = copyFile(from, to, name)
	default:
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if ok {
		if err := to.Lchown(name, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	if info.Mode().Type() == fs.ModeSymlink {
		return nil
	}
	return to.Chmod(name, info.Mode()) // after chown, which clears the set-uid bit
}

func copyFile(from, to *os.Root, name string) error {
	in, err := from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// copyTimes comes last: making an entry changes its folder's time.
func copyTimes(from, to *os.Root) error {
	return fs.WalkDir(from.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := from.Stat(name)
		if err != nil || info.Mode().Type()&^fs.ModeDir != 0 {
			return nil //nolint:nilerr // a dangling link has no time of its own to copy
		}
		return to.Chtimes(filepath.Clean(name), info.ModTime(), info.ModTime())
	})
}

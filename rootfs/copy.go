package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
)

// CopyFromImage copies the image's folder at target to dir, which is empty: owners, modes, times and links, the folder's own
// included, as a new named volume gets them. It is called between MountRoot and Pivot, when both are in sight; links in
// target end at the image's root. Devices, pipes and sockets are passed over; an image without the folder is an empty one.
func (b *Builder) CopyFromImage(target, dir string) error {
	image, err := linux.OpenDir(path.Join(b.Plan.Data, b.Plan.Target))
	if err != nil {
		return err
	}
	defer image.Close()
	folder, err := image.OpenInRoot(strings.TrimPrefix(path.Clean(target), "/"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer folder.Close()
	return b.did(copyTree("/proc/self/fd/"+strconv.Itoa(folder.FD), dir), "copy the image's %s into the new volume", target)
}

func copyTree(src, dst string) error {
	from, err := os.OpenRoot(src)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenRoot(dst)
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
		return to.Chtimes(path.Clean(name), info.ModTime(), info.ModTime())
	})
}

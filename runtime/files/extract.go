package files

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// An extractor unpacks a tar into a folder in which others work at the same time.
type extractor struct {
	tree     Tree
	at       linux.File // the folder
	path     string     // its path in the tree
	from, to string     // the tar's first name, and what it becomes; both "" for no change
	options  Options
	buf      []byte

	parent     linux.File // the folder that was opened last, to be closed
	parentName string
	folders    []folder
}

// A folder's mode and time come last: filling it changes its time, and mode 0500 would forbid it. By then another folder may
// have its name, which shall not get them.
type folder struct {
	name     string
	dev, ino uint64
	mode     uint32
	time     time.Time
}

// later has f, the folder name, get its mode and time at the end.
func (x *extractor) later(f linux.File, name string, mode uint32, t time.Time) error {
	st, err := f.Stat()
	if err == nil {
		x.folders = append(x.folders, folder{name, st.Dev, st.Ino, mode, t})
	}
	return err
}

func (x *extractor) extract(ctx context.Context, r io.Reader) error {
	defer x.leave()
	archive := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return x.settle()
		}
		if err != nil {
			return fmt.Errorf("read the tar: %w", err)
		}
		if err := x.entry(archive, h); err != nil {
			return fmt.Errorf("copy %q: %w", h.Name, err)
		}
	}
}

// local answers the name that an entry gets, relative to x.at.
func (x *extractor) local(unsafeName string) (string, error) {
	name := strings.TrimLeft(unsafeName, "/")
	if name == "" {
		name = "."
	}
	if !filepath.IsLocal(name) {
		return "", errors.New("the name leads out of the folder")
	}
	name = path.Clean(name)
	if x.to == "" {
		return name, nil
	}
	rest, ok := strings.CutPrefix(name, x.from)
	switch {
	case x.from == ".":
		return path.Join(x.to, name), nil
	case !ok || rest != "" && rest[0] != '/':
		return "", fmt.Errorf("it is not below %s", x.from)
	}
	return x.to + rest, nil
}

func (x *extractor) entry(archive io.Reader, h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := x.local(h.Name)
	if err != nil {
		return err
	}
	if name == "." { // the folder that we copy into keeps what it has
		if h.Typeflag != tar.TypeDir {
			return errors.New("the folder itself would be replaced")
		}
		return nil
	}
	parent, err := x.enter(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	switch h.Typeflag {
	case tar.TypeDir:
		return x.directory(parent, name, h)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return x.file(parent, base, h, archive)
	case tar.TypeSymlink:
		return x.node(parent, base, h, func() error { return parent.Symlink(h.Linkname, base) })
	case tar.TypeFifo:
		return x.node(parent, base, h, func() error { return parent.Mknod(base, linux.S_IFIFO|0o600, 0) })
	case tar.TypeLink:
		return x.link(parent, name, h.Linkname)
	case tar.TypeChar, tar.TypeBlock: // nobody may make them in a user namespace
		return nil
	}
	return fmt.Errorf("unknown type %q", h.Typeflag)
}

// enter opens the folder name, below x.at, and makes what is missing on the way. The descriptor stays the extractor's, and
// is good until the next call.
func (x *extractor) enter(name string) (linux.File, error) {
	if x.parentName == name && name != "" {
		return x.parent, nil
	}
	f, err := x.open(name)
	if err != nil {
		return f, err
	}
	x.leave()
	x.parent, x.parentName = f, name
	return f, nil
}

func (x *extractor) leave() {
	if x.parentName != "" {
		x.parent.Close()
		x.parentName = ""
	}
}

func (x *extractor) open(name string) (linux.File, error) {
	f, err := x.lookup(name)
	if !errors.Is(err, fs.ErrNotExist) || name == "." {
		return f, err
	}
	parent, err := x.open(path.Dir(name))
	if err != nil {
		return f, err
	}
	defer parent.Close()
	if err := x.mkdir(parent, path.Base(name), &tar.Header{}); err != nil && !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	if f, err = x.lookup(name); err != nil {
		return f, err
	}
	if err := x.later(f, name, 0o755, time.Time{}); err != nil {
		f.Close()
		return f, err
	}
	return f, nil
}

// lookup opens the folder name. A symbolic link on the way is the container's, and leads where it does for its own
// programs; on the user's side none is followed: what came out of a container shall not choose where it lands.
func (x *extractor) lookup(name string) (linux.File, error) {
	f, err := x.at.OpenBeneath(name)
	if errors.Is(err, linux.ELOOP) && !x.options.Mine {
		return x.tree.Root.OpenInRoot(x.path + "/" + name)
	}
	return f, err
}

func (x *extractor) mkdir(parent linux.File, base string, h *tar.Header) error {
	if err := parent.Mkdir(base, 0o700); err != nil {
		return err
	}
	return x.own(h, func(uid, gid int) error { return parent.Lchown(base, uid, gid) })
}

func (x *extractor) directory(parent linux.File, name string, h *tar.Header) error {
	base := path.Base(name)
	err := x.mkdir(parent, base, h)
	if errors.Is(err, fs.ErrExist) {
		st, e := parent.Lstat(base)
		if e == nil && st.Mode&linux.S_IFMT != linux.S_IFDIR {
			return errors.New("cannot overwrite a non-directory with a directory")
		}
		if err = e; err == nil && x.options.KeepOwners {
			err = x.own(h, func(uid, gid int) error { return parent.Lchown(base, uid, gid) })
		}
	}
	if err != nil {
		return err
	}
	f, err := parent.OpenBeneath(base)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := x.later(f, name, x.mode(h), h.ModTime); err != nil {
		return err
	}
	return x.xattrs(f, h)
}

// errMounted says that a volume, or a file of ours such as /etc/hosts, is mounted on what would be replaced.
var errMounted = errors.New("something is mounted there, which can't be replaced")

// replace calls make, which makes base in parent, and makes room for it. Others may put something there again and again;
// that is their own loss.
func (x *extractor) replace(parent linux.File, base string, make func() error) error {
	for tries := 0; ; tries++ {
		err := make()
		if !errors.Is(err, fs.ErrExist) || tries == 100 {
			return err
		}
		mounted, err := parent.IsMountRoot(base)
		if err == nil && mounted {
			err = errMounted
		} else if err == nil {
			err = parent.Unlink(base)
		}
		switch {
		case errors.Is(err, linux.EISDIR):
			return errors.New("cannot overwrite a directory with a non-directory")
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
}

func (x *extractor) file(parent linux.File, base string, h *tar.Header, archive io.Reader) error {
	var f linux.File
	err := x.replace(parent, base, func() (err error) { f, err = parent.Create(base); return err })
	if errors.Is(err, errMounted) {
		return x.refill(parent, base, h, archive)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := x.content(f, archive, h.Size); err != nil {
		return err
	}
	if err := x.own(h, f.Chown); err != nil {
		return err
	}
	if err := x.xattrs(f, h); err != nil {
		return err
	}
	if err := f.Chmod(x.mode(h)); err != nil {
		return err
	}
	return f.SetTimes(h.ModTime)
}

// refill writes into a file that is mounted. Its owner and mode are those of where it came from.
func (x *extractor) refill(parent linux.File, base string, h *tar.Header, archive io.Reader) error {
	f, err := parent.OpenThere(base)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Mode&linux.S_IFMT != linux.S_IFREG {
		return errors.Join(errMounted, err)
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	return x.content(f, archive, h.Size)
}

// content leaves out what is zero: a file of a container may claim any size, and only its data should take space.
func (x *extractor) content(f linux.File, archive io.Reader, size int64) error {
	for offset := int64(0); offset < size; {
		data := x.buf[:min(int64(len(x.buf)), size-offset)]
		if _, err := io.ReadFull(archive, data); err != nil {
			return fmt.Errorf("read its content: %w", err)
		}
		if data[0] != 0 || !bytes.Equal(data[1:], data[:len(data)-1]) {
			if err := f.WriteAt(data, offset); err != nil {
				return err
			}
		}
		offset += int64(len(data))
	}
	return f.Truncate(size)
}

// node makes a symbolic link or a fifo.
func (x *extractor) node(parent linux.File, base string, h *tar.Header, make func() error) error {
	if err := x.replace(parent, base, make); err != nil {
		return err
	}
	if err := x.own(h, func(uid, gid int) error { return parent.Lchown(base, uid, gid) }); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeFifo {
		if err := parent.ChmodNoFollow(base, x.mode(h)); err != nil {
			return err
		}
	}
	return parent.SetTimesOf(base, h.ModTime)
}

// link makes name another name of an earlier entry.
func (x *extractor) link(parent linux.File, name, unsafeTarget string) error {
	target, err := x.local(unsafeTarget)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", unsafeTarget, err)
	}
	if target == name {
		return nil
	}
	from, err := x.lookup(path.Dir(target))
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", unsafeTarget, err)
	}
	defer from.Close()
	return x.replace(parent, path.Base(name), func() error { return parent.Link(from, path.Base(target), path.Base(name)) })
}

func (x *extractor) own(h *tar.Header, chown func(uid, gid int) error) error {
	switch {
	case x.options.Mine:
		return nil
	case !x.options.KeepOwners:
		return chown(0, 0)
	case min(h.Uid, h.Gid) < 0 || max(h.Uid, h.Gid) >= math.MaxUint32: // (uid_t)-1 would mean "as it is"
		return fmt.Errorf("no such owner: %d:%d", h.Uid, h.Gid)
	}
	err := chown(h.Uid, h.Gid)
	if errors.Is(err, linux.EINVAL) {
		return hint.Wrap(fmt.Errorf("owner %d:%d is not an id of the container: %w", h.Uid, h.Gid, err),
			"copy without --archive: the files then belong to the container's root")
	}
	return err
}

// mode is what a file may keep of its mode.
func (x *extractor) mode(h *tar.Header) uint32 {
	mode := uint32(h.Mode) & linux.ModeBits
	if x.options.Mine {
		const setID = 0o6000
		mode &^= setID
	}
	return mode
}

// xattrs sets what is harmless of the extended attributes. Whatever refuses them is no reason to stop.
func (x *extractor) xattrs(f linux.File, h *tar.Header) error {
	for key, value := range layer.KeptXattrs(h) {
		err := f.SetXattr(key, []byte(value))
		if err != nil && !errors.Is(err, linux.ENOTSUP) && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// settle sets the folders' modes and times, those that were found last first.
func (x *extractor) settle() error {
	for i := len(x.folders) - 1; i >= 0; i-- {
		d := x.folders[i]
		f, err := x.lookup(d.name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, linux.ENOTDIR) || errors.Is(err, linux.ELOOP) {
			continue // somebody removed it meanwhile
		}
		if err != nil {
			return err
		}
		err = d.settle(f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (d folder) settle(f linux.File) error {
	st, err := f.Stat()
	if err != nil || st.Dev != d.dev || st.Ino != d.ino {
		return err
	}
	if err := f.Chmod(d.mode); err != nil || d.time.IsZero() {
		return err
	}
	return f.SetTimes(d.time)
}

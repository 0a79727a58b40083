package layer

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// Unpack fills dir with the layer that r is the uncompressed tar of, and reads r to its end, so that a hash of it is
// the layer's DiffID. dir exists, is empty, and nobody else writes in it; on a file system that knows user.*
// extended attributes, if the layer has opaque folders.
//
// After an error dir is half filled and the caller removes it: nothing in it has a mode yet that would forbid that.
// Nothing is synced. Nothing is ever written outside dir. What is wrong with an entry is an *EntryError; a bound is ErrTooBig; a stream that ends
// early is io.ErrUnexpectedEOF in an EntryError with the last entry that was seen.
func Unpack(ctx context.Context, dir string, r io.Reader, o Options) (Summary, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	// Headers, padding and what follows the archive's end are bounded too: 4 KiB an entry. The caps prevent overflow.
	stream := &meter{r: r, left: min(o.MaxBytes, 1<<60) + 4096*min(o.MaxEntries, 1<<40) + 1<<20}
	u := &unpacker{
		options: o,
		tar:     tar.NewReader(bufio.NewReaderSize(stream, 256<<10)),
		buf:     make([]byte, 1<<20),
		uid:     os.Geteuid(),
		gid:     os.Getegid(),
	}
	var err error
	if u.tree, err = openTree(dir, u.implied); err != nil {
		return Summary{}, fmt.Errorf("unpack layer: %w", err)
	}
	defer u.close()
	u.folders["."] = attributes{mode: 0o755}
	if err := u.entries(ctx); err != nil {
		return u.sum, advise(err)
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return u.sum, advise(fmt.Errorf("read to the end of the layer: %w", err))
	}
	return u.sum, advise(u.finish(ctx))
}

// advise adds what a person can do about err.
func advise(err error) error {
	switch {
	case errors.Is(err, linux.ENOSPC), errors.Is(err, linux.EDQUOT):
		return hint.Wrap(err, "free some space: minipod image prune removes images that nothing uses")
	case errors.Is(err, ErrTooBig):
		return hint.Wrap(err, "check that the image is what you meant: few are that big")
	}
	return err
}

type unpacker struct {
	*tree
	options   Options
	sum       Summary
	tar       *tar.Reader
	buf       []byte
	uid, gid  int      // new files have them
	whiteouts []string // local names: made at the end
	deferred  int64    // bytes of names in whiteouts and folders
}

func (u *unpacker) entries(ctx context.Context) error {
	last := ""
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("unpack layer: %w", err)
		}
		h, err := u.tar.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil && last == "":
			return fmt.Errorf("read the layer's first entry: %w", err)
		case err != nil:
			return &EntryError{last, fmt.Errorf("read the entry after it: %w", err)}
		}
		last = h.Name
		if err := u.entry(ctx, h); err != nil {
			return &EntryError{h.Name, err}
		}
	}
}

func (u *unpacker) entry(ctx context.Context, h *tar.Header) error {
	if err := u.count(h); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeXGlobalHeader { // comments such as git's commit id
		return nil
	}
	name, err := localName(h.Name)
	if err != nil {
		return err
	}
	switch kind, err := marker(name); {
	case err != nil:
		return err
	case kind == metadata:
		return nil
	case kind == whiteout, kind == opaque:
		u.whiteouts = append(u.whiteouts, name)
		return u.remember(name)
	case name == "." && h.Typeflag != tar.TypeDir:
		return errors.New("the layer's root is not a folder")
	case h.Typeflag == tar.TypeDir:
		return u.directory(name, h)
	}
	parent, err := u.dir(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return u.file(ctx, parent, base, h)
	case tar.TypeSymlink:
		return u.node(parent, base, h, func() error { return parent.Symlink(h.Linkname, base) })
	case tar.TypeFifo:
		return u.node(parent, base, h, func() error { return parent.Mknod(base, linux.S_IFIFO|0o600, 0) })
	case tar.TypeLink:
		return u.link(parent, base, h.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		u.sum.Devices++
		return nil
	}
	return fmt.Errorf("unknown type %q", h.Typeflag)
}

// count holds the bounds, before anything is written.
func (u *unpacker) count(h *tar.Header) error {
	if u.sum.Entries++; u.sum.Entries > u.options.MaxEntries {
		return fmt.Errorf("%w: more than %d entries", ErrTooBig, u.options.MaxEntries)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse: // the others have no content, whatever Size says
		if h.Size > u.options.MaxBytes-u.sum.Bytes {
			return fmt.Errorf("%w: more than %d bytes", ErrTooBig, u.options.MaxBytes)
		}
		u.sum.Bytes += h.Size
	}
	return nil
}

// implied counts a folder that only the names of others mention, and gives it docker's attributes.
func (u *unpacker) implied(name string) error {
	if err := u.count(&tar.Header{Typeflag: tar.TypeDir}); err != nil {
		return err
	}
	u.folders[name] = attributes{mode: 0o755}
	return u.remember(name)
}

func (u *unpacker) remember(name string) error {
	if u.deferred += int64(len(name)); u.deferred > maxDeferred {
		return fmt.Errorf("%w: more than %d bytes of folders' names and whiteouts", ErrTooBig, maxDeferred)
	}
	return nil
}

func (u *unpacker) directory(name string, h *tar.Header) error {
	if name != "." {
		parent, err := u.dir(path.Dir(name))
		if err != nil {
			return err
		}
		base := path.Base(name)
		err = mkdir(parent, base)
		if errors.Is(err, fs.ErrExist) {
			var st linux.Stat
			if st, err = parent.Lstat(base); err == nil && st.Mode&linux.S_IFMT != linux.S_IFDIR {
				err = u.replace(parent, base, func() error { return mkdir(parent, base) })
			}
		}
		if err != nil {
			return err
		}
		name = path.Join(parent.name, base)
	}
	f, err := u.dir(name)
	if err != nil {
		return err
	}
	if err := u.own(h, f.Chown); err != nil {
		return err
	}
	if err := u.xattrs(f.File, h); err != nil {
		return err
	}
	u.folders[name] = attributes{uint32(h.Mode & linux.ModeBits), h.ModTime}
	return u.remember(name)
}

func (u *unpacker) file(ctx context.Context, parent folder, base string, h *tar.Header) error {
	var f linux.File
	err := u.replace(parent, base, func() (err error) { f, err = parent.Create(base); return err })
	if err != nil {
		return err
	}
	defer f.Close()
	if err := u.content(ctx, f, h.Size); err != nil {
		return err
	}
	if h.Uid != u.uid || h.Gid != u.gid {
		if err := u.own(h, f.Chown); err != nil {
			return err
		}
	}
	if err := u.xattrs(f, h); err != nil {
		return err
	}
	if err := f.Chmod(uint32(h.Mode & linux.ModeBits)); err != nil {
		return err
	}
	return f.SetTimes(h.ModTime)
}

// node makes a symbolic link or a fifo. Neither can have extended attributes of the kinds we keep.
func (u *unpacker) node(parent folder, base string, h *tar.Header, make func() error) error {
	if err := u.replace(parent, base, make); err != nil {
		return err
	}
	if h.Uid != u.uid || h.Gid != u.gid {
		err := u.own(h, func(uid, gid int) error { return parent.Lchown(base, uid, gid) })
		if err != nil {
			return err
		}
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := parent.ChmodNode(base, uint32(h.Mode&linux.ModeBits)); err != nil {
			return err
		}
	}
	return parent.SetTimesOf(base, h.ModTime)
}

// link makes base another name of an earlier entry. The attributes are the earlier entry's.
func (u *unpacker) link(parent folder, base, unsafeTarget string) error {
	target, err := localName(unsafeTarget)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", unsafeTarget, err)
	}
	from, err := u.lookup(path.Dir(target)) // not dir: that could close parent, and makes folders
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", unsafeTarget, err)
	}
	defer from.Close()
	if from.name == parent.name && path.Base(target) == base { // to itself: removing the old one would lose it
		_, err := parent.Lstat(base)
		return err
	}
	return u.replace(parent, base, func() error { return parent.Link(from.File, path.Base(target), base) })
}

// finish does what had to wait for the last entry. Whiteouts come first, since they change their folder's time.
func (u *unpacker) finish(ctx context.Context) error {
	if err := u.applyWhiteouts(); err != nil {
		return err
	}
	return u.settle(ctx)
}

// A meter is a reader that fails with ErrTooBig after so many bytes.
type meter struct {
	r    io.Reader
	left int64
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, fmt.Errorf("%w: its headers and padding never end", ErrTooBig)
	}
	n, err := m.r.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	return n, err
}

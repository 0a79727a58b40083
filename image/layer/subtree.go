package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"codeberg.org/minipod/minipod/internal/linux"
)

// WriteTree writes what the folder dir holds as base (one name, or "." for dir itself) to w as a tar, in which it is
// called name; where that is a folder, all below it, too. kind is the S_IFMT part of its mode, as the caller found it: one
// that is another by now answers fs.ErrNotExist. Unlike Pack it takes the files as they are and knows nothing
// of overlayfs' marks. Sockets and device nodes are left out. w is not closed.
//
// The tree may be a running container's, and its work against us: names are opened beneath dir and never through a
// symbolic link, so nothing outside of it is read. What is gone when its turn comes is left out; a file that shrinks
// meanwhile ends in zeros.
func WriteTree(ctx context.Context, w io.Writer, dir linux.File, base, name string, kind uint32) error {
	p := &packer{root: dir, tar: tar.NewWriter(w), links: map[inode]string{}, live: true}
	err := p.subtree(ctx, dir, base, name, kind)
	if err == nil {
		err = p.tar.Close()
	}
	if err != nil {
		return fmt.Errorf("write a tar of %s: %w", path.Join(dir.Name, base), err)
	}
	return nil
}

func (p *packer) subtree(ctx context.Context, dir linux.File, base, name string, kind uint32) error {
	n := node{name: base}
	var err error
	if base == "." {
		n.Stat, err = dir.Stat()
	} else {
		n.Stat, err = dir.Lstat(base)
	}
	if err == nil && n.kind() != kind {
		err = fs.ErrNotExist
	}
	if err != nil {
		return err
	}
	if kind == linux.S_IFDIR {
		return p.liveFolder(ctx, base, name)
	}
	return p.node(dir, n, name)
}

// liveFolder writes the folder at full, a path beneath p.root, and all in it, as name.
func (p *packer) liveFolder(ctx context.Context, full, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, err := p.root.OpenBeneath(full)
	if err != nil {
		return err
	}
	folders, err := p.liveFiles(dir, name)
	dir.Close() // before we go deeper: depth must not cost descriptors
	if err != nil {
		return err
	}
	for _, sub := range folders {
		if err := p.liveFolder(ctx, path.Join(full, sub), path.Join(name, sub)); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

func (p *packer) liveFiles(dir linux.File, name string) (folders []string, err error) {
	st, err := dir.Stat()
	if err != nil {
		return nil, err
	}
	kept, err := records(dir)
	if err != nil {
		return nil, err
	}
	if err := p.write(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", PAXRecords: kept}, st); err != nil {
		return nil, err
	}
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, base := range names {
		n := node{name: base}
		n.Stat, err = dir.Lstat(base)
		switch {
		case gone(err):
			continue
		case err != nil:
			return nil, err
		}
		switch n.kind() {
		case linux.S_IFDIR:
			folders = append(folders, base)
			continue
		case linux.S_IFCHR, linux.S_IFBLK:
			continue
		}
		if err := p.node(dir, n, path.Join(name, base)); err != nil && !gone(err) {
			return nil, err
		}
	}
	return folders, nil
}

// gone tells that a name means nothing any more, or something else than a moment ago.
func gone(err error) bool {
	for _, is := range []error{fs.ErrNotExist, linux.ELOOP, linux.ENOTDIR, linux.ENXIO, linux.EINVAL} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

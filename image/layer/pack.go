package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

// Pack writes the tree dir, in overlayfs' format, to w as a layer's tar: what Unpack reads. The same tree gives the
// same bytes: a folder's files come before its folders, each sorted, times are in seconds as in docker's layers, and
// there are no names of users. Sockets are left out; they mean nothing without who listens. A name that begins with
// ".wh." can't be said in a layer and is an *EntryError.
//
// Nobody should write in dir meanwhile: a file that shrinks while it is read is an error. w is not closed.
func Pack(ctx context.Context, w io.Writer, dir string) error {
	root, err := linux.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("pack layer: %w", err)
	}
	defer root.Close()
	p := &packer{root: root, tar: tar.NewWriter(w), links: map[inode]string{}}
	if err := p.folder(ctx, "."); err != nil {
		return fmt.Errorf("pack layer: %w", err)
	}
	if err := p.tar.Close(); err != nil {
		return fmt.Errorf("pack layer: %w", err)
	}
	return nil
}

type packer struct {
	root  linux.File
	tar   *tar.Writer
	links map[inode]string // files with several names, by the first one's
	live  bool             // the tree may change meanwhile: what is gone is left out, what shrank is filled up
}

func (p *packer) folder(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, err := p.root.OpenBeneath(name)
	if err != nil {
		return &EntryError{name, err}
	}
	folders, err := p.files(dir, name)
	dir.Close() // before we go deeper: depth must not cost descriptors
	if err != nil {
		return err
	}
	for _, sub := range folders {
		if err := p.folder(ctx, path.Join(name, sub)); err != nil {
			return err
		}
	}
	return nil
}

// files writes the folder dir and what it holds, but for the folders in it, which it answers.
func (p *packer) files(dir linux.File, name string) (folders []string, err error) {
	nodes, err := p.self(dir, name)
	if err != nil {
		return nil, &EntryError{name, err}
	}
	for _, n := range nodes {
		full := path.Join(name, n.name)
		switch {
		case strings.HasPrefix(n.name, whiteoutPrefix):
			err = errors.New("a layer can't hold a file of this name: it would delete another")
		case n.whiteout:
			err = p.marker(path.Join(name, whiteoutPrefix+n.name))
		case n.kind() == linux.S_IFDIR:
			folders = append(folders, n.name)
		default:
			err = p.node(dir, n, full)
		}
		if err != nil {
			return nil, &EntryError{full, err}
		}
	}
	return folders, nil
}

// self writes the folder dir itself, and answers what it holds.
func (p *packer) self(dir linux.File, name string) ([]node, error) {
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
	nodes, hides, err := read(dir)
	if err == nil && hides {
		err = p.marker(path.Join(name, opaqueMarker))
	}
	return nodes, err
}

func (p *packer) node(dir linux.File, n node, full string) error {
	if n.kind() == linux.S_IFSOCK {
		return nil
	}
	if first, ok := p.links[n.inode()]; ok {
		return p.write(tar.Header{Typeflag: tar.TypeLink, Name: full, Linkname: first}, n.Stat)
	}
	if n.kind() == linux.S_IFREG {
		return p.file(dir, n, full)
	}
	if n.Nlink > 1 {
		p.links[n.inode()] = full
	}
	switch n.kind() {
	case linux.S_IFLNK:
		target, err := dir.Readlink(n.name)
		if err != nil {
			return err
		}
		return p.write(tar.Header{Typeflag: tar.TypeSymlink, Name: full, Linkname: target}, n.Stat)
	case linux.S_IFIFO:
		return p.write(tar.Header{Typeflag: tar.TypeFifo, Name: full}, n.Stat)
	}
	if p.live {
		return nil
	}
	return errors.New("a device node can't be unpacked again in a user namespace")
}

func (p *packer) file(dir linux.File, n node, full string) error {
	f, err := dir.Open(n.name)
	if err != nil {
		return err
	}
	content := f.OSFile()
	defer content.Close()
	if p.live {
		if n.Stat, err = f.Stat(); err != nil {
			return err
		}
		if n.kind() != linux.S_IFREG { // another took its name since
			return fs.ErrNotExist
		}
	}
	h := tar.Header{Typeflag: tar.TypeReg, Name: full, Size: n.Size}
	if h.PAXRecords, err = records(f); err != nil {
		return err
	}
	if err := p.write(h, n.Stat); err != nil {
		return err
	}
	if n.Nlink > 1 { // now that it is there, and will not be left out
		p.links[n.inode()] = full
	}
	copied, err := io.CopyN(p.tar, content, n.Size)
	switch {
	case errors.Is(err, io.EOF) && p.live:
		_, err = io.CopyN(p.tar, zeros{}, n.Size-copied)
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("it shrank while it was read: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// zeros reads as zeros for ever.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// write writes h with the attributes that st tells.
func (p *packer) write(h tar.Header, st linux.Stat) error {
	h.Mode, h.Uid, h.Gid = int64(st.Mode&linux.ModeBits), int(st.Uid), int(st.Gid)
	h.ModTime, h.Format = modified(st).Truncate(time.Second), tar.FormatPAX
	return p.tar.WriteHeader(&h)
}

// marker writes a name that stands for a deletion. It has no attributes, so that equal trees have equal bytes.
func (p *packer) marker(full string) error {
	return p.write(tar.Header{Typeflag: tar.TypeReg, Name: full}, linux.Stat{Mode: 0o600})
}

// records answers f's extended attributes as PAX records. One with a "=" in its name can't be said in a record, and is left out.
func records(f linux.File) (map[string]string, error) {
	kept, err := xattrs(f)
	if err != nil {
		return nil, err
	}
	records := map[string]string{}
	for key, value := range kept {
		if !strings.Contains(key, "=") {
			records[xattrPrefix+key] = value
		}
	}
	return records, nil
}

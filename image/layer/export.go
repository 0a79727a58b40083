package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"codeberg.org/minipod/minipod/internal/linux"
)

// Export writes the stack to w as one tar, like `docker export`: names are relative, and the root folder has no entry. Of a
// container that runs it takes what is there: what vanishes meanwhile is left out, a file that shrinks ends in zeros.
// Sockets and device nodes are left out. w is not closed.
func (s *Stack) Export(ctx context.Context, w io.Writer) error {
	p := &packer{tar: tar.NewWriter(w), links: map[inode]string{}, live: true}
	err := s.export(ctx, p, ".", s.all())
	if err == nil {
		err = p.tar.Close()
	}
	if err != nil {
		return fmt.Errorf("export a tree: %w", err)
	}
	return nil
}

func (s *Stack) export(ctx context.Context, p *packer, name string, layers []int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	members, err := s.read(name, layers)
	if err != nil {
		return err
	}
	for _, m := range members {
		full := path.Join(name, m.name)
		err := s.pack(p, m, full)
		if err == nil && m.kind() == linux.S_IFDIR {
			err = s.export(ctx, p, full, m.layers)
		}
		if err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

// pack writes m, a folder without what it holds.
func (s *Stack) pack(p *packer, m member, full string) error {
	dir, err := s.open(m.layers[0], path.Dir(full))
	if err != nil {
		return err
	}
	defer dir.Close()
	if m.kind() != linux.S_IFDIR {
		return p.node(dir, m.node, full)
	}
	f, err := dir.OpenBeneath(m.name)
	if err != nil {
		return err
	}
	defer f.Close()
	kept, err := records(f)
	if err != nil {
		return err
	}
	return p.write(tar.Header{Typeflag: tar.TypeDir, Name: full + "/", PAXRecords: kept}, m.Stat)
}

// WriteChanges writes changes, which CompareTo answered for s, to w as a layer's tar: what Unpack reads. What was removed
// becomes a whiteout of its own (".wh.x"), also where a folder was replaced as a whole: the image specification wants that
// rather than opaque folders (layer.md, "Whiteouts"). w is not closed.
func (s *Stack) WriteChanges(ctx context.Context, w io.Writer, changes []Change) error {
	p := &packer{tar: tar.NewWriter(w), links: map[inode]string{}, live: true}
	for _, c := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.writeChange(p, c); err != nil && !gone(err) {
			return fmt.Errorf("write a layer: %w", &EntryError{c.name, err})
		}
	}
	if err := p.tar.Close(); err != nil {
		return fmt.Errorf("write a layer: %w", err)
	}
	return nil
}

func (s *Stack) writeChange(p *packer, c Change) error {
	if kind, err := marker(c.name); err != nil || kind != plain {
		return errors.New("a layer can't hold a file of this name: it would delete another")
	}
	if c.Kind == Deleted {
		return p.marker(path.Join(path.Dir(c.name), whiteoutPrefix+path.Base(c.name)))
	}
	return s.pack(p, c.member, c.name)
}

package layer

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A ChangeKind is docker's letter for what became of a file.
type ChangeKind byte

// The kinds of change.
const (
	Added    ChangeKind = 'A'
	Modified ChangeKind = 'C'
	Deleted  ChangeKind = 'D'
)

// A Change is one line of `docker diff`.
type Change struct {
	Kind ChangeKind
	Path string // absolute, clean

	name   string // relative, as archives have it
	member member
}

// CompareTo answers what is different in s than in base, sorted by path, as docker does: a folder in which something changed
// has itself changed; all that is in an added folder was added; of a removed one, only itself is told. A file changed
// if its mode, owner, size, time or extended attributes did; of a folder, size and time mean nothing.
//
// above says that s is one layer upon base's; then only what is in that layer is looked at. mountPoints are names (relative)
// of empty files and folders that a container gets to mount something on, which are no change of its making.
func (s *Stack) CompareTo(ctx context.Context, base *Stack, above bool, mountPoints map[string]bool) ([]Change, error) {
	c := &comparison{s, base, above, mountPoints, nil}
	if err := c.folder(ctx, ".", s.all(), base.all()); err != nil {
		return nil, fmt.Errorf("compare trees: %w", err)
	}
	slices.SortFunc(c.changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return c.changes, nil
}

type comparison struct {
	now, base   *Stack
	above       bool
	mountPoints map[string]bool
	changes     []Change
}

func (c *comparison) add(kind ChangeKind, name string, m member) {
	c.changes = append(c.changes, Change{kind, "/" + name, name, m})
}

// folder compares a folder that both have; layers are those that take part in it here and there. Without layers of its own
// the base has nothing.
func (c *comparison) folder(ctx context.Context, name string, layers, baseLayers []int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now, err := c.now.read(name, layers)
	if err != nil {
		return err
	}
	before, err := c.base.read(name, baseLayers)
	if err != nil {
		return err
	}
	old := map[string]member{}
	for _, m := range before {
		old[m.name] = m
	}
	for _, m := range now {
		full := path.Join(name, m.name)
		was, existed := old[m.name]
		delete(old, m.name)
		if c.isMountPoint(full, m, was, existed) {
			continue
		}
		if err := c.compare(ctx, full, m, was, existed); err != nil {
			return err
		}
	}
	for _, base := range slices.Sorted(maps.Keys(old)) {
		c.add(Deleted, path.Join(name, base), old[base])
	}
	return nil
}

// compare compares what is at full now with what was there.
func (c *comparison) compare(ctx context.Context, full string, m, was member, existed bool) error {
	if c.above && m.layers[0] != 0 { // the layer on top has nothing there
		return nil
	}
	kind := Added
	if existed {
		same, err := c.same(full, m, was)
		if err != nil && !gone(err) {
			return err
		}
		if kind = Modified; same {
			kind = 0
		}
	}
	at := len(c.changes)
	if kind != 0 {
		c.add(kind, full, m)
	}
	if m.kind() != linux.S_IFDIR {
		return nil
	}
	var baseLayers []int
	if existed && was.kind() == linux.S_IFDIR {
		baseLayers = was.layers
	}
	if err := c.folder(ctx, full, m.layers, baseLayers); err != nil {
		return err
	}
	if kind == 0 && len(c.changes) > at {
		c.add(Modified, full, m)
	}
	return nil
}

// isMountPoint tells an empty file or folder that was made to mount something on. A file may have replaced a link that led
// nowhere.
func (c *comparison) isMountPoint(full string, m, was member, existed bool) bool {
	if !c.mountPoints[full] || existed && was.kind() != linux.S_IFLNK {
		return false
	}
	return m.kind() == linux.S_IFDIR || m.kind() == linux.S_IFREG && m.Size == 0
}

func (c *comparison) same(full string, m, was member) (bool, error) {
	if m.Mode != was.Mode || m.Uid != was.Uid || m.Gid != was.Gid || m.Rdev != was.Rdev {
		return false, nil
	}
	switch m.kind() {
	case linux.S_IFREG:
		if m.Size != was.Size || m.Mtim != was.Mtim {
			return false, nil
		}
	case linux.S_IFLNK:
		return m.Size == was.Size && m.Mtim == was.Mtim, nil
	case linux.S_IFDIR:
	default:
		return m.Mtim == was.Mtim, nil
	}
	here, err := c.now.xattrs(full, m)
	if err != nil {
		return false, err
	}
	there, err := c.base.xattrs(full, was)
	return maps.Equal(here, there), err
}

// xattrs answers the extended attributes of a file or a folder.
func (s *Stack) xattrs(full string, m member) (map[string]string, error) {
	dir, err := s.open(m.layers[0], path.Dir(full))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	f, err := dir.Open(m.name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return xattrs(f)
}

package layer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A Stack is what overlayfs shows of some folders in its format, found without mounting anything: the way to look at a
// container from outside, whatever driver it has, and whether it runs or not.
type Stack struct {
	dirs []linux.File // the topmost first
	fuse bool
}

// OpenStack opens the folders, the topmost first. fuse says that fuse-overlayfs writes the topmost: where it can't make
// overlayfs' marks it says the same by names (".wh.x", ".wh..wh..opq"), as an archive does. The caller closes the stack.
func OpenStack(topFirst []string, fuse bool) (*Stack, error) {
	s := &Stack{fuse: fuse}
	for _, name := range topFirst {
		dir, err := linux.OpenDir(name)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("open a layer: %w", err)
		}
		s.dirs = append(s.dirs, dir)
	}
	return s, nil
}

// Close closes the folders.
func (s *Stack) Close() {
	for _, dir := range s.dirs {
		dir.Close()
	}
	s.dirs = nil
}

// all are the layers that take part in the root folder.
func (s *Stack) all() []int {
	layers := make([]int, len(s.dirs))
	for i := range layers {
		layers[i] = i
	}
	return layers
}

// A member is what a folder of the stack has under a name.
type member struct {
	node
	layers []int // the first has the node; of a folder, all that take part in it
	closed bool  // what lower layers have under the name is hidden
}

// read answers what the folder name holds, sorted. layers are those that take part in it, the topmost first. A folder that
// is gone by now, in a container that runs, is an empty one.
func (s *Stack) read(name string, layers []int) ([]member, error) {
	found := map[string]*member{}
	for _, i := range layers {
		nodes, hides, err := s.readLayer(i, name)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, n := range nodes {
			m, seen := found[n.name]
			switch {
			case !seen:
				found[n.name] = &member{n, []int{i}, n.whiteout || n.kind() != linux.S_IFDIR}
			case m.closed:
			case n.whiteout || n.kind() != linux.S_IFDIR:
				m.closed = true
			default:
				m.layers = append(m.layers, i)
			}
		}
		if hides {
			break
		}
	}
	var members []member
	for _, base := range slices.Sorted(maps.Keys(found)) {
		if m := found[base]; !m.whiteout {
			members = append(members, *m)
		}
	}
	return members, nil
}

func (s *Stack) readLayer(i int, name string) ([]node, bool, error) {
	dir, err := s.dirs[i].OpenBeneath(name)
	if err != nil {
		return nil, false, err
	}
	defer dir.Close()
	nodes, hides, err := read(dir)
	if err != nil || i > 0 || !s.fuse {
		return nodes, hides, err
	}
	plain := nodes[:0]
	for _, n := range nodes {
		base, isMark := strings.CutPrefix(n.name, whiteoutPrefix)
		switch {
		case n.name == opaqueMarker:
			hides = true
		case strings.HasPrefix(n.name, metaPrefix):
		case isMark:
			n.name, n.whiteout = base, true
			plain = append(plain, n)
		default:
			plain = append(plain, n)
		}
	}
	return plain, hides, nil
}

// open opens the folder name in a layer.
func (s *Stack) open(layer int, name string) (linux.File, error) {
	return s.dirs[layer].OpenBeneath(name)
}

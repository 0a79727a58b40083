package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A tree is a folder that is being filled. It finds and makes the folders in it, and never leaves it.
type tree struct {
	root linux.File
	path string // root's, with every symbolic link resolved
	open map[string]linux.File

	folders map[string]attributes   // by real name: what settle sets
	made    func(name string) error // called for each folder that dir makes, before it is made
}

// attributes are those of a folder that have to wait. A zero time leaves the time as it is.
type attributes struct {
	mode uint32
	time time.Time
}

// A folder is an open folder of the tree and its real name there: no component of it is a symbolic link.
type folder struct {
	linux.File
	name string
}

// maxOpen is how many folders a tree keeps open. Archives are written folder by folder, so few suffice, and several
// layers unpack at once within the usual limit of 1024 descriptors.
const maxOpen = 128

func openTree(dir string, made func(string) error) (*tree, error) {
	root, err := linux.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	real, err := root.Path()
	if err != nil {
		root.Close()
		return nil, err
	}
	return &tree{root, real, map[string]linux.File{}, map[string]attributes{}, made}, nil
}

func (t *tree) close() {
	t.forget(".")
	t.root.Close()
}

// localName answers a name of the archive as a clean path relative to the tree. Absolute names are relative to the
// tree, as everywhere; names that lead out of it are refused.
func localName(unsafeName string) (string, error) {
	name := strings.TrimLeft(unsafeName, "/")
	if name == "" {
		return ".", nil
	}
	if !filepath.IsLocal(name) {
		return "", errors.New("name leads out of the layer")
	}
	name = path.Clean(name)
	return name, checkDepth(path.Dir(name))
}

// dir opens the folder name, a local name, and makes what is missing on the way. Symbolic links of the tree are
// followed inside the tree. The descriptor stays the tree's and is good until the next call of dir or remove.
func (t *tree) dir(name string) (folder, error) {
	if f, ok := t.open[name]; ok {
		return folder{f, name}, nil
	}
	f, err := t.lookup(name)
	if err == nil {
		return t.keep(f), nil
	}
	if !errors.Is(err, fs.ErrNotExist) || name == "." {
		return folder{}, err
	}
	parent, err := t.dir(path.Dir(name))
	if err != nil {
		return folder{}, err
	}
	base := path.Base(name)
	name = path.Join(parent.name, base)
	if err := t.made(name); err != nil {
		return folder{}, err
	}
	err = mkdir(parent, base)
	if errors.Is(err, fs.ErrExist) { // yet it was not found: a symbolic link whose target is missing
		return folder{}, fmt.Errorf("%s, a parent, is a dangling symbolic link", name)
	} else if err != nil {
		return folder{}, err
	}
	return t.dir(name)
}

// mkdir makes the folder base, for now with a mode that lets us fill it.
func mkdir(parent folder, base string) error {
	if err := checkDepth(path.Join(parent.name, base)); err != nil { // again: links lead deeper than names tell
		return err
	}
	return parent.Mkdir(base, 0o700)
}

// lookup opens the folder name without making anything. The caller closes it.
func (t *tree) lookup(name string) (folder, error) {
	f, err := t.root.OpenBeneath(name)
	if err == nil {
		return folder{f, name}, nil
	}
	if !errors.Is(err, linux.ELOOP) {
		return folder{}, err
	}
	f, err = t.root.OpenInRoot(name)
	if err != nil {
		return folder{}, err
	}
	real, err := f.Path()
	f.Close()
	if err != nil {
		return folder{}, err
	}
	name, err = filepath.Rel(t.path, real)
	if err != nil || !filepath.IsLocal(name) {
		return folder{}, fmt.Errorf("%s is not in %s", real, t.path)
	}
	f, err = t.root.OpenBeneath(name)
	return folder{f, name}, err
}

func (t *tree) keep(f folder) folder {
	if len(t.open) >= maxOpen {
		t.forget(".")
	}
	if old, ok := t.open[f.name]; ok { // reached by another name
		f.Close()
		return folder{old, f.name}
	}
	t.open[f.name] = f.File
	return f
}

// forget closes the folder name and all below it.
func (t *tree) forget(name string) {
	for n, f := range t.open {
		if name == "." || n == name || strings.HasPrefix(n, name+"/") {
			f.Close()
			delete(t.open, n)
		}
	}
}

// remove removes base and, if that is a folder, all in it. parent stays open.
func (t *tree) remove(parent folder, base string) error {
	err := parent.Unlink(base)
	if !errors.Is(err, linux.EISDIR) {
		return err
	}
	name := path.Join(parent.name, base)
	t.forget(name)
	root, err := os.OpenRoot(t.path)
	if err != nil {
		return err
	}
	return errors.Join(root.RemoveAll(name), root.Close())
}

// replace calls make, which makes base in parent, a second time after removing what an earlier entry left there.
func (t *tree) replace(parent folder, base string, make func() error) error {
	err := make()
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := t.remove(parent, base); err != nil {
		return err
	}
	return make()
}

// settle sets the folders' modes and times, children first: no mode then keeps us from what is below it.
func (t *tree) settle(ctx context.Context) error {
	names := slices.Sorted(maps.Keys(t.folders))
	slices.Reverse(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if name == "." {
			continue // last: "-x" sorts before it
		}
		if err := t.settleFolder(name); err != nil {
			return &EntryError{name, err}
		}
	}
	return t.settleFolder(".")
}

func (t *tree) settleFolder(name string) error {
	f, err := t.root.OpenBeneath(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, linux.ENOTDIR) || errors.Is(err, linux.ELOOP) {
		return nil // a later entry replaced it
	} else if err != nil {
		return err
	}
	defer f.Close()
	a := t.folders[name]
	if err := f.Chmod(a.mode); err != nil || a.time.IsZero() {
		return err
	}
	return f.SetTimes(a.time)
}

func checkDepth(name string) error {
	if level(name) > maxDepth {
		return fmt.Errorf("folders nest deeper than %d", maxDepth)
	}
	return nil
}

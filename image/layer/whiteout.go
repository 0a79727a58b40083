package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/linux"
)

// Names in an archive that are not files (OCI image spec, layer.md; the words are AUFS').
const (
	whiteoutPrefix = ".wh."
	metaPrefix     = ".wh..wh."
	opaqueMarker   = ".wh..wh..opq"
)

// Overlayfs' words for the same (Documentation/filesystems/overlayfs.rst), in the namespace of -o userxattr.
const (
	xattrOpaque   = "user.overlay.opaque"
	xattrWhiteout = "user.overlay.whiteout"
)

// A kind says what a name means.
type kind int

const (
	plain    kind = iota
	whiteout      // ".wh.x": the layers below have no x
	opaque        // ".wh..wh..opq": the layers below have nothing here
	metadata      // other ".wh..wh.x": AUFS' own records, ignored as docker does
)

// marker answers what the local name means, or why it means nothing.
func marker(name string) (kind, error) {
	base := path.Base(name)
	switch {
	case base == opaqueMarker:
		return opaque, nil
	case strings.HasPrefix(name, metaPrefix), strings.Contains(name, "/"+metaPrefix):
		return metadata, nil
	case strings.HasPrefix(path.Dir(name), whiteoutPrefix), strings.Contains(path.Dir(name), "/"+whiteoutPrefix):
		return plain, errors.New("a whiteout is not a folder")
	case !strings.HasPrefix(base, whiteoutPrefix):
		return plain, nil
	}
	switch base[len(whiteoutPrefix):] {
	case "", ".", "..":
		return plain, errors.New("whiteout of no name")
	}
	return whiteout, nil
}

// applyWhiteouts makes what the markers ask for. All entries are there by now, and what is in this layer stays.
//
// The ones higher up come first: below what hides everything there is nothing left to hide, and a whiteout there
// would be seen. Overlayfs lists a folder that is in one layer only as it is, whiteouts too.
func (u *unpacker) applyWhiteouts() error {
	for i, name := range u.whiteouts {
		parent, err := u.dir(path.Dir(name))
		if err != nil {
			return &EntryError{name, err}
		}
		u.whiteouts[i] = path.Join(parent.name, path.Base(name)) // the real name, which may be longer
		if err := u.remember(u.whiteouts[i]); err != nil {
			return &EntryError{name, err}
		}
	}
	slices.SortFunc(u.whiteouts, func(a, b string) int { return height(a) - height(b) })
	hidden := map[string]bool{}
	for _, name := range u.whiteouts {
		if err := u.applyWhiteout(name, hidden); err != nil {
			return &EntryError{name, err}
		}
	}
	return nil
}

// hiddenBy answers the name that the marker hides in the layers below.
func hiddenBy(marker string) string {
	dir, base := path.Split(marker)
	if base == opaqueMarker {
		return path.Clean(dir)
	}
	return dir + strings.TrimPrefix(base, whiteoutPrefix)
}

// height is the level of what the marker hides.
func height(marker string) int {
	if path.Base(marker) == opaqueMarker {
		return level(marker) - 1
	}
	return level(marker)
}

// level is how deep name is in the layer, whose root has level 0.
func level(name string) int {
	if name == "." {
		return 0
	}
	return strings.Count(name, "/") + 1
}

func (u *unpacker) applyWhiteout(marker string, hidden map[string]bool) error {
	name := hiddenBy(marker)
	if within(path.Dir(name), hidden) {
		return nil
	}
	parent, err := u.dir(path.Dir(marker))
	if err != nil {
		return err
	}
	hidden[name] = true
	if path.Base(marker) == opaqueMarker {
		u.sum.OpaqueRoot = u.sum.OpaqueRoot || name == "."
		return setOpaque(parent.File)
	}
	st, err := parent.Lstat(path.Base(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeWhiteout(parent.File, path.Base(name))
	case err == nil && st.Mode&linux.S_IFMT == linux.S_IFDIR:
		dir, err := u.dir(name)
		if err != nil {
			return err
		}
		return setOpaque(dir.File)
	}
	return err // nil: a file of this layer hides what is below it anyway
}

// within says whether the folder name or one above it is in hidden.
func within(name string, hidden map[string]bool) bool {
	for ; ; name = path.Dir(name) {
		if hidden[name] {
			return true
		}
		if name == "." {
			return false
		}
	}
}

func setOpaque(dir linux.File) error {
	if err := dir.SetXattr(xattrOpaque, []byte("y")); err != nil {
		return fmt.Errorf("mark the folder opaque: %w", err)
	}
	return nil
}

// makeWhiteout makes the whiteout name in dir: the device 0/0, or where mknod is forbidden altogether the other form.
func makeWhiteout(dir linux.File, name string) error {
	err := dir.Mknod(name, linux.S_IFCHR, 0) // LAB: whiteout
	if errors.Is(err, fs.ErrPermission) {
		return makeXattrWhiteout(dir, name)
	}
	return err
}

// makeXattrWhiteout makes the whiteout of nested overlays, which Linux knows since 6.7: an attribute on an empty file,
// and one on the folder, so that no other folder's files need be looked at.
func makeXattrWhiteout(dir linux.File, name string) error {
	f, err := dir.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.SetXattr(xattrWhiteout, []byte("y")); err != nil {
		return err
	}
	return dir.SetXattr(xattrOpaque, []byte("x"))
}

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A Tree is a root folder, a container's or the user's own "/": paths begin and end there. Root may be an O_PATH descriptor.
type Tree struct{ Root linux.File }

// maxLinks is how many symbolic links in a row the destination may be, as in the kernel.
const maxLinks = 40

// A Source says what a copy begins with. It goes ahead of the tar.
type Source struct {
	Name   string // what the tar calls it; "." where only the content of a folder is meant
	IsDir  bool
	Stream bool // the tar is a person's own, from standard input: Name means nothing
}

// split takes an unsafe path of the tree apart: the folder to open, the name in it, and what a copy is called. A path that
// ends in a slash or in "/." means the folder itself, and where it is a symbolic link what that leads to.
func split(unsafePath string) (dir, base, name string) {
	clean := path.Clean("/" + unsafePath)
	last := unsafePath[strings.LastIndexByte(unsafePath, '/')+1:]
	switch {
	case clean == "/", last == "." && unsafePath != "":
		return clean, ".", "."
	case last == "":
		return clean, ".", path.Base(clean)
	}
	return path.Dir(clean), path.Base(clean), path.Base(clean)
}

// An entry is a name in an open folder, and what it stands for at the moment.
type entry struct {
	dir  linux.File
	base string // one name, or "." for dir itself
	st   linux.Stat
}

func (e entry) kind() uint32 { return e.st.Mode & linux.S_IFMT }

// look opens dir as a folder of the tree, and describes base in it.
func (t Tree) look(dir, base string) (e entry, err error) {
	e.base = base
	if e.dir, err = t.Root.OpenIn(dir); err != nil {
		return e, err
	}
	if base == "." {
		e.st, err = e.dir.Stat()
	} else {
		e.st, err = e.dir.Lstat(base)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.dir.Close()
	}
	return e, err
}

// find finds what is to be copied. A symbolic link is itself copied, unless follow is set. The caller closes e.dir.
func (t Tree) find(unsafePath string, follow bool) (e entry, s Source, err error) {
	dir, base, name := split(unsafePath)
	e, err = t.look(dir, base)
	for range maxLinks {
		if err != nil || !follow || e.kind() != linux.S_IFLNK {
			break
		}
		e, dir, err = t.step(e, dir)
	}
	if err == nil && follow && e.kind() == linux.S_IFLNK {
		e.dir.Close()
		return e, s, fmt.Errorf("%s: %w", unsafePath, linux.ELOOP)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if e.dir.FD >= 0 {
			e.dir.Close()
		}
		return e, s, fmt.Errorf("could not find %s: %w", unsafePath, fs.ErrNotExist)
	}
	if err != nil {
		return e, s, err
	}
	switch e.kind() {
	case linux.S_IFREG, linux.S_IFDIR, linux.S_IFLNK, linux.S_IFIFO:
		return e, Source{Name: name, IsDir: e.kind() == linux.S_IFDIR}, nil
	}
	e.dir.Close()
	return e, s, fmt.Errorf("%s is a device or a socket: there is nothing to copy", unsafePath)
}

// step goes from the symbolic link e, in the folder dir, to what it leads to. It closes e.dir.
func (t Tree) step(e entry, dir string) (next entry, nextDir string, err error) {
	nextDir, base, err := e.target(dir)
	e.dir.Close()
	if err != nil {
		return e, dir, err
	}
	next, err = t.look(nextDir, base)
	return next, nextDir, err
}

// target answers where the symbolic link e, in the folder dir of the tree, leads to. Neither part is cleaned: "a/../b" is
// another name than "b" where a is a link, and the kernel knows.
func (e entry) target(dir string) (nextDir, nextBase string, err error) {
	to, err := e.dir.Readlink(e.base)
	if err != nil {
		return "", "", err
	}
	if !path.IsAbs(to) {
		to = dir + "/" + to
	}
	folder, base := path.Split(strings.TrimRight(to, "/"))
	if base == "" || base == "." || base == ".." {
		return to, ".", nil
	}
	return folder, base, nil
}

// A destination is where a copy goes.
type destination struct {
	entry
	path   string // of dir in the tree, as it was opened
	exists bool
	folder bool // the path says so: it ends in a slash
}

// destination finds where a copy goes. Of a symbolic link it is what that leads to, even if that is not there yet; the
// folder that it is in must be. The caller closes d.dir.
func (t Tree) destination(unsafePath string) (d destination, err error) {
	dir, base, _ := split(unsafePath)
	d.entry, err = t.look(dir, base)
	if base == "." && dir != "/" && errors.Is(err, fs.ErrNotExist) {
		d.folder = true
		dir, base = path.Dir(dir), path.Base(dir)
		d.entry, err = t.look(dir, base)
	}
	for links := 0; err == nil && d.kind() == linux.S_IFLNK; links++ {
		if links == maxLinks {
			d.dir.Close()
			return d, fmt.Errorf("%s: %w", unsafePath, linux.ELOOP)
		}
		d.entry, dir, err = t.step(d.entry, dir)
	}
	d.path, d.exists = dir, err == nil
	switch {
	case errors.Is(err, fs.ErrNotExist) && d.dir.FD >= 0 && d.base != ".":
		return d, nil
	case errors.Is(err, fs.ErrNotExist):
		return d, fmt.Errorf("the folder of %s does not exist: %w", unsafePath, fs.ErrNotExist)
	case err != nil:
		return d, err
	}
	if kind := d.kind(); kind != linux.S_IFDIR && kind != linux.S_IFREG {
		d.dir.Close()
		return d, fmt.Errorf("destination %s must be a directory or a regular file", unsafePath)
	}
	return d, nil
}

// Errors of a copy that makes no sense, in docker's words.
var (
	ErrCannotCopyDir = errors.New("cannot copy directory")
	ErrDirNotExists  = errors.New("no such directory")
	ErrNotDir        = errors.New("must be a directory")
)

// place decides: whether s goes into the folder that d is, or beside it under d's name. It is docker's table
// (docs/files.md).
func place(s Source, d destination) (into bool, err error) {
	isDir := d.exists && d.kind() == linux.S_IFDIR
	switch {
	case isDir:
		return true, nil
	case s.Stream:
		return false, ErrNotDir
	case d.exists && s.IsDir:
		return false, ErrCannotCopyDir
	case !d.exists && !s.IsDir && d.folder:
		return false, ErrDirNotExists
	}
	return false, nil
}

package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
)

// NameOf returns the container's name, which follows from its ID where the user gave none.
func NameOf(r Record) string {
	if r.Name != "" {
		return r.Name
	}
	return "mp-" + r.ID[:8]
}

// takeName makes the link that is the name. One that is nobody's (see holds) goes by free.
func (c *Container) takeName(free func(link string) error) error {
	link := c.nameLink()
	for {
		err := os.Symlink(c.ID, link)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		owner, err := os.Readlink(link)
		if errors.Is(err, fs.ErrNotExist) { // its container was removed just now
			continue
		}
		if err != nil {
			return err
		}
		if c.holds(owner, c.Name) {
			return hint.Wrap(fmt.Errorf("%w: %q is container %s", ErrNameTaken, c.Name, owner[:min(12, len(owner))]),
				fmt.Sprintf("remove that one (minipod rm -f %s) or choose another name", c.Name))
		}
		if err := free(link); err != nil {
			return err
		}
	}
}

// holds tells whether the name that a link gives to container id is that container's: it is there, and its record does not say another
// name. A Rename that was killed leaves a link to the old name or to the new one. One that goes on leaves it for a moment, too: only
// under the lock of the names is it certain.
func (c *Container) holds(id, name string) bool {
	dir := filepath.Join(c.dirs.Containers(), id)
	if _, err := os.Lstat(dir); err != nil {
		return false
	}
	r, err := readRecord(dir) // there is none while the container is being made
	return err != nil || NameOf(r) == name
}

// freeName removes a link that is nobody's. The lock is for those who want the same name, without it one could remove the link that
// another has just made; and for who is renamed.
func (c *Container) freeName(link string) error {
	lock, err := c.lockNames()
	if err != nil {
		return err
	}
	return errors.Join(c.freeLocked(link), lock.Remove())
}

// freeLocked is freeName for who has the lock of the names.
func (c *Container) freeLocked(link string) error {
	owner, err := os.Readlink(link)
	if err == nil && !c.holds(owner, filepath.Base(link)) {
		err = os.Remove(link)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

func (c *Container) lockNames() (*state.Lock, error) {
	return state.LockFile(filepath.Join(c.dirs.Containers(), ".names", ".lock"))
}

func (c *Container) nameLink() string { return filepath.Join(c.dirs.Containers(), ".names", c.Name) }

// Rename gives the container another name. It holds, by the caller's lock, or is nobody's to rename. Killed midway, it has the one or
// the other, and the link that is too much is nobody's.
func (c *Container) Rename(name string) error {
	if name == "" || name == "." || name == ".." || name == ".lock" || filepath.Base(name) != name {
		return fmt.Errorf("%q is no name for a container", name)
	}
	lock, err := c.lockNames()
	if err != nil {
		return err
	}
	return errors.Join(c.rename(name), lock.Remove())
}

func (c *Container) rename(name string) error {
	old := *c
	c.Name = name
	if err := c.takeName(c.freeLocked); err != nil {
		c.Name = old.Name
		return err
	}
	if err := c.Save(); err != nil {
		c.Name = old.Name
		return errors.Join(err, os.Remove(filepath.Join(c.dirs.Containers(), ".names", name)))
	}
	return os.Remove(old.nameLink())
}

// removeNames removes the links whose containers are gone. Nobody makes one meanwhile: the caller holds the lock.
func removeNames(dirs state.Dirs) error {
	names := filepath.Join(dirs.Containers(), ".names")
	entries, err := os.ReadDir(names)
	for _, e := range entries {
		link := filepath.Join(names, e.Name())
		owner, e := os.Readlink(link)
		if e != nil {
			continue // its container removed it just now
		}
		if _, e := os.Lstat(filepath.Join(dirs.Containers(), owner)); !errors.Is(e, fs.ErrNotExist) {
			continue
		}
		if e := os.Remove(link); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// A fate is what Sweep does to a container.
type fate int

const (
	cared     fate = iota // somebody holds it, or it ended in order
	abandoned             // nobody holds it, and nobody wants it
	orphaned              // it is to stay, and its end is not written down
)

func look(dir string) (fate, Record) {
	var r Record
	lock, err := state.TryLockThere(filepath.Join(dir, "lock"))
	switch {
	case err == nil:
		defer lock.Unlock()
	case errors.Is(err, fs.ErrNotExist): // not whole yet, or half removed, whatever is there still
		return abandoned, r
	default:
		return cared, r
	}
	err = state.ReadJSON(filepath.Join(dir, "record.json"), &r)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return abandoned, r
	case err != nil || r.Version != 1:
		return cared, r
	case r.Status == StatusCreated && !r.Ready, r.Remove && r.Status != StatusCreated:
		return abandoned, r
	case r.Live():
		return orphaned, r
	}
	return cared, r
}

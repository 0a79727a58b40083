package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/cgroup"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/runtime/userns"
	"codeberg.org/minipod/minipod/state"
	"codeberg.org/minipod/minipod/volume"
)

// finish removes the container, or lets go of it. One that never ran is not kept; one that ran is, whatever failed afterwards: its files
// are the user's.
func finish(dirs state.Dirs, uids, gids idmap.Map, c *runtime.Container, ran, kept bool) error {
	if ran && kept && c.Remove { // ready to be started again, and nobody's to sweep
		c.Status, c.Ready = runtime.StatusCreated, true
		return errors.Join(c.Save(), c.Close())
	}
	if ran && !c.Remove {
		return c.Close()
	}
	removeInside := func(dir string) error { return RemoveInside(uids, gids, dir) }
	var err error
	for _, name := range c.Own { // first, while the container's record still tells of them
		err = errors.Join(err, removeVolume(dirs, name, removeInside))
	}
	if err = errors.Join(err, c.Delete(removeInside)); err != nil {
		return fmt.Errorf("remove container %s: %w", c.Name, err)
	}
	return Tell(dirs, "destroy", &c.Record)
}

// Tell appends what happened to a container to the events.
func Tell(dirs state.Dirs, action string, r *runtime.Record) error {
	return events.Open(dirs).Append(events.Container(action, r.ID, runtime.NameOf(*r), r.Image, r.Labels, nil))
}

func removeVolume(dirs state.Dirs, name string, removeInside func(dir string) error) error {
	err := volumes(dirs, removeInside).Remove(name, func(string) []string { return nil })
	if errors.Is(err, volume.ErrNotFound) {
		return nil
	}
	return err
}

// volumes are those in dirs, with a way to remove files of other ids.
func volumes(dirs state.Dirs, removeInside func(dir string) error) *volume.Store {
	s := volume.Open(dirs)
	s.RemoveTree = func(dir string) error {
		err := runtime.RemoveTree(dir)
		if errors.Is(err, fs.ErrPermission) {
			return removeInside(dir)
		}
		return err
	}
	return s
}

// sweep removes what containers left whose supervisors died.
func (r *run) sweep() error {
	return Sweep(r.dirs, r.removeInside)
}

// Sweep removes what dead supervisors left, folders by removeInside where they hold files of other ids.
func Sweep(dirs state.Dirs, removeInside func(dir string) error) error {
	return runtime.Sweep(dirs, func(dir string) error {
		var record runtime.Record
		if err := state.ReadJSON(filepath.Join(dir, "record.json"), &record); err == nil {
			for _, name := range record.Own {
				if err := removeVolume(dirs, name, removeInside); err != nil {
					return err
				}
			}
		}
		err := runtime.RemoveTree(dir)
		if errors.Is(err, fs.ErrPermission) {
			return removeInside(dir)
		}
		return err
	}, bury)
}

// bury removes the group of a container whose supervisor was killed, and tells of one that stays.
func bury(r runtime.Record) error {
	if r.Error != "" {
		fmt.Fprintf(os.Stderr, "minipod: warning: container %s has ended: %s\n", r.Name, r.Error)
	}
	return RemoveGroup(r)
}

// RemoveGroup removes the group of a container whose supervisor was killed.
func RemoveGroup(r runtime.Record) error {
	if r.Cgroup == "" {
		return nil
	}
	group, err := cgroup.Load(r.Cgroup)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// What shared another's pid namespace had no PID 1 to end with, and what is frozen can't see to its own end. What does not die, Remove tells.
	_ = group.Kill()
	return group.Remove()
}

// RemoveVerb is the verb of our own process that removes a tree inside the user's id range.
const RemoveVerb = "remove-tree"

func (r *run) removeInside(dir string) error { return RemoveInside(r.uids, r.gids, dir) }

// RemoveInside removes dir, whose files may belong to any of the user's ids.
func RemoveInside(uids, gids idmap.Map, dir string) error {
	status, err := Inside(context.Background(), uids, gids, []string{RemoveVerb, dir}, [3]*os.File{os.Stdin, os.Stderr, os.Stderr})
	if err == nil && status != 0 {
		err = fmt.Errorf("remove %s: exit status %d", dir, status)
	}
	return err
}

// diagnose finds out who forbade a user namespace, where it was that.
func diagnose(err error) error {
	var call *linux.CallError
	if !errors.As(err, &call) || call.Call != "clone" {
		return err
	}
	exe, _ := os.Executable() // only for the advice
	return userns.Diagnose(err, os.ReadFile, exe)
}

package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/state"
)

// Errors to test for with errors.Is.
var (
	ErrNotFound  = errors.New("no such container")
	ErrNameTaken = errors.New("the container name is already in use")
	ErrRunning   = errors.New("the container is running")
)

// The states of a container, in docker's words.
const (
	StatusCreated    = "created"
	StatusRunning    = "running"
	StatusPaused     = "paused"
	StatusRestarting = "restarting" // it ended, and starts again after a pause
	StatusExited     = "exited"
	StatusDead       = "dead" // its record can't be read: it can only be removed
)

// A Record is what we remember of a container. Version is 1; a newer one is not ours to read.
type Record struct {
	Version  int
	ID       string
	Name     string
	Image    string // as the user named it
	ImageID  string
	Command  []string // with the image's entrypoint, and its command where the user gave none
	Created  time.Time
	Started  time.Time `json:",omitzero"`
	Finished time.Time `json:",omitzero"`
	Status   string
	PID      int    // of PID 1, on the host; 0 when not running
	Birth    uint64 // its start time (field 22 of /proc/PID/stat): with it PID names one process for ever
	ExitCode int
	Ready    bool   `json:",omitempty"` // its bundle is whole: it may be started by another command
	Error    string `json:",omitempty"` // why it did not start, or why nobody saw its end
	Remove   bool   // --rm

	Supervisor      int    `json:",omitempty"` // the PID of who holds the lock
	SupervisorBirth uint64 `json:",omitempty"`
	Hosted          bool   `json:",omitempty"` // its supervisor is that of others, too, and does not end with it: a pod's
	Restarts        int    `json:",omitempty"` // how often it was started again by its restart policy
	OOMKilled       bool   `json:",omitempty"`
	Cgroup          string `json:",omitempty"` // the folder of its group below the cgroup mount

	Network *node.Lease `json:",omitempty"` // its place in the pod network, while it runs

	Driver  rootfs.Driver `json:",omitempty"` // how its tree is kept
	Volumes []string
	Own     []string // of Volumes: the anonymous ones that were made for it, which --rm removes
	Labels  map[string]string
}

// Live tells whether the container has a supervisor, by the record: it runs, is paused, or starts again soon.
func (r *Record) Live() bool {
	return r.Status == StatusRunning || r.Status == StatusPaused || r.Status == StatusRestarting
}

// A Container is one that this process supervises: it holds the lock. Its owner calls Delete or Close.
type Container struct {
	Record
	Dir string

	dirs state.Dirs
	lock *state.Lock
}

// Create makes the container's folder and takes its lock and its name. An empty ID is made up, and an empty name follows from the ID.
// Atomic: until it returns, a crash leaves something that Sweep removes.
func Create(dirs state.Dirs, r Record) (*Container, error) {
	if err := makeFolders(dirs); err != nil {
		return nil, err
	}
	making, err := state.RLockFile(filepath.Join(dirs.Containers(), ".lock"))
	if err != nil {
		return nil, fmt.Errorf("create a container: %w", err)
	}
	defer making.Unlock()
	if r.ID == "" {
		r.ID = linux.RandomID()
	}
	r.Version, r.Name, r.Status, r.Created = 1, NameOf(r), StatusCreated, time.Now()
	if err := r.supervisedByUs(); err != nil {
		return nil, err
	}
	c := &Container{Record: r, Dir: filepath.Join(dirs.Containers(), r.ID), dirs: dirs}
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create a container: %w", err)
	}
	// Nobody else holds it for longer than a look: see read and abandoned.
	if c.lock, err = state.LockFile(filepath.Join(c.Dir, "lock")); err != nil {
		return nil, errors.Join(fmt.Errorf("create a container: %w", err), os.RemoveAll(c.Dir))
	}
	if err := c.takeName(c.freeName); err != nil {
		return nil, errors.Join(err, c.lock.Unlock(), os.RemoveAll(c.Dir))
	}
	if err := c.Save(); err != nil {
		return nil, errors.Join(err, c.Delete(RemoveTree))
	}
	return c, nil
}

// supervisedByUs writes down who holds the lock: this process.
func (r *Record) supervisedByUs() (err error) {
	r.Supervisor = os.Getpid()
	r.SupervisorBirth, err = linux.StartTime(r.Supervisor)
	return err
}

func makeFolders(dirs state.Dirs) error {
	names := filepath.Join(dirs.Containers(), ".names")
	if _, err := os.Lstat(names); err == nil {
		return nil
	}
	for _, dir := range []string{dirs.Data, dirs.Containers(), names} {
		if err := state.Make(dir); err != nil {
			return fmt.Errorf("make minipod's folders: %w", err)
		}
	}
	return nil
}

// Save writes the record: whole or not at all. It is not synced to disk: what a power cut could take from it is the
// state of a container that the power cut has ended.
func (c *Container) Save() error {
	data, err := json.Marshal(&c.Record)
	if err != nil {
		return fmt.Errorf("encode the record of container %s: %w", c.Name, err)
	}
	if err := c.replace("record.json", data); err != nil {
		return fmt.Errorf("write the record of container %s: %w", c.Name, err)
	}
	return nil
}

func (c *Container) replace(name string, data []byte) error {
	temp := filepath.Join(c.Dir, "."+name)
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(c.Dir, name))
}

// Lock is what says that the container is supervised. A supervisor inherits it: see Inherit.
func (c *Container) Lock() *state.Lock { return c.lock }

// Inherit takes over the container id, whose lock this process was born with on descriptor fd.
func Inherit(dirs state.Dirs, id string, fd uintptr) (*Container, error) {
	c := &Container{Dir: filepath.Join(dirs.Containers(), id), dirs: dirs}
	c.lock = state.Inherited(fd, filepath.Join(c.Dir, "lock"))
	err := state.ReadJSON(filepath.Join(c.Dir, "record.json"), &c.Record)
	if err == nil {
		err = c.supervisedByUs()
	}
	if err == nil {
		err = c.Save()
	}
	if err != nil {
		return nil, errors.Join(err, c.lock.Unlock())
	}
	return c, nil
}

// Close lets go of a container that stays on disk.
func (c *Container) Close() error { return c.lock.Unlock() }

// Delete removes the container with everything that it wrote, and its lock last. removeInside removes a folder inside the
// user's id range: it is called where the container left files that are not its root's, which nobody outside may remove.
func (c *Container) Delete(removeInside func(dir string) error) error {
	// A folder whose lock is removed already looks abandoned: Sweep stays away meanwhile, and takes what a crash leaves of it.
	removing, err := state.RLockFile(filepath.Join(c.dirs.Containers(), ".lock"))
	if err != nil {
		return fmt.Errorf("remove a container: %w", err)
	}
	defer removing.Unlock()
	owner, err := os.Readlink(c.nameLink())
	if err == nil && owner == c.ID {
		err = os.Remove(c.nameLink())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_ = os.Chmod(filepath.Join(c.Dir, "work", "work"), 0o700) // overlay's own folder, which it makes with mode 0
	err = RemoveTree(c.Dir)
	if errors.Is(err, fs.ErrPermission) {
		err = removeInside(c.Dir)
	}
	if err != nil {
		return err
	}
	return c.lock.Unlock()
}

// List returns the records of all containers, the newest first. One that says "running" and has no supervisor died with it.
func List(dirs state.Dirs) ([]Record, error) {
	entries, err := os.ReadDir(dirs.Containers())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var list []Record
	for _, e := range entries {
		if !isID(e.Name()) {
			continue
		}
		r, err := read(filepath.Join(dirs.Containers(), e.Name()))
		if errors.Is(err, fs.ErrNotExist) { // being made, or half removed: Sweep's
			continue
		}
		if err != nil {
			r = unreadable(dirs, e.Name(), r.Version)
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Record) int { return b.Created.Compare(a.Created) })
	return list, nil
}

// unreadable stands for a container whose record is damaged (its Version is 0), or of a newer minipod: one such must not keep
// the others from being listed, and whoever wants to remove it needs its name.
func unreadable(dirs state.Dirs, id string, version int) Record {
	r := Record{Version: version, ID: id, Name: id[:12], Status: StatusDead}
	names := filepath.Join(dirs.Containers(), ".names")
	entries, _ := os.ReadDir(names)
	for _, e := range entries {
		if owner, err := os.Readlink(filepath.Join(names, e.Name())); err == nil && owner == id {
			r.Name = e.Name()
		}
	}
	return r
}

func isID(name string) bool {
	return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == ""
}

func read(dir string) (Record, error) {
	r, err := readRecord(dir)
	if err != nil || r.Status == StatusExited || r.Status == StatusCreated && r.Ready {
		return r, err
	}
	lock, err := state.TryLockThere(filepath.Join(dir, "lock"))
	if errors.Is(err, state.ErrLocked) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if r.Live() {
		r.ExitCode, r.Error = 137, killedSupervisor
	}
	r.Status, r.PID, r.Network = StatusExited, 0, nil
	return r, lock.Unlock()
}

func readRecord(dir string) (r Record, err error) {
	err = state.ReadJSON(filepath.Join(dir, "record.json"), &r)
	if err == nil && r.Version != 1 {
		err = fmt.Errorf("record version %d is not ours to read", r.Version)
	}
	return r, err
}

// Named returns the containers whose names match, in no order: it reads no others.
func Named(dirs state.Dirs, match func(name string) bool) ([]Record, error) {
	names := filepath.Join(dirs.Containers(), ".names")
	entries, err := os.ReadDir(names)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var list []Record
	for _, e := range entries {
		if !match(e.Name()) {
			continue
		}
		id, err := os.Readlink(filepath.Join(names, e.Name()))
		if err != nil || !isID(id) {
			continue // it was removed just now
		}
		r, err := read(filepath.Join(dirs.Containers(), id))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// Find returns the container of that name, id, or unique beginning of an id.
func Find(dirs state.Dirs, nameOrID string) (Record, error) {
	if isID(nameOrID) { // no other can be meant
		r, err := read(filepath.Join(dirs.Containers(), nameOrID))
		if err == nil {
			return r, nil
		}
	}
	list, err := List(dirs)
	if err != nil {
		return Record{}, err
	}
	var found []Record
	for _, r := range list {
		if r.Name == nameOrID || r.ID == nameOrID {
			return r, nil
		}
		if nameOrID != "" && strings.HasPrefix(r.ID, nameOrID) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Record{}, hint.Wrap(fmt.Errorf("%w: %s", ErrNotFound, nameOrID), "list them: minipod ps -a")
	}
	return Record{}, hint.Wrap(fmt.Errorf("%d containers have ids that begin with %s", len(found), nameOrID), "write more of the id")
}

// Sweep puts in order what dead supervisors left. remove is called with each folder of a container with --rm, or that was never ready
// to start (inside the user namespace, if need be). Of one that stays it writes down that it ended; bury is called with its record, to
// remove what else there is of it, and to tell. A container that is being made at this moment puts it off.
func Sweep(dirs state.Dirs, remove func(dir string) error, bury func(Record) error) error {
	entries, err := os.ReadDir(dirs.Containers())
	if len(entries) <= 2 { // .lock and .names
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	var dead []string
	var failed error
	for _, e := range entries {
		if !isID(e.Name()) {
			continue
		}
		dir := filepath.Join(dirs.Containers(), e.Name())
		switch fate, r := look(dir); fate {
		case abandoned:
			dead = append(dead, dir)
		case orphaned:
			failed = errors.Join(failed, settle(dirs, r, bury))
		}
	}
	if len(dead) == 0 {
		return failed
	}
	sweeping, err := state.TryLock(filepath.Join(dirs.Containers(), ".lock"))
	if errors.Is(err, state.ErrLocked) {
		return failed
	}
	if err != nil {
		return errors.Join(failed, err)
	}
	defer sweeping.Unlock()
	for _, dir := range dead {
		if fate, r := look(dir); fate == abandoned { // now that nobody makes one
			failed = errors.Join(failed, bury(r), remove(dir))
		}
	}
	return errors.Join(failed, removeNames(dirs))
}

// settle writes down the end of a container whose supervisor was killed.
func settle(dirs state.Dirs, r Record, bury func(Record) error) error {
	c, err := Adopt(dirs, r)
	if err != nil {
		return nil //nolint:nilerr // somebody else is at it, or it is gone: either way it is no orphan any more
	}
	if !c.Live() { // somebody else was faster
		return c.Close()
	}
	c.Error = killedSupervisor
	err = bury(c.Record)
	c.Status, c.PID, c.Birth, c.ExitCode, c.Finished, c.Cgroup, c.Network = StatusExited, 0, 0, 137, time.Now(), "", nil
	return errors.Join(err, c.Save(), c.Close())
}

// killedSupervisor is the Error of a container that nobody saw end.
const killedSupervisor = "its supervisor was killed, and the kernel killed its processes"

package pod

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/state"
)

// Errors to test for with errors.Is.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
)

// The files of a pod's folder, pods/<uid>.
const (
	lockFile       = "lock"            // held by whoever supervises the pod: the kernel drops it with the holder
	changeFile     = "change.lock"     // held for the moment of a change of what is wanted
	podFile        = "pod.json"        // what is wanted
	manifestFile   = "manifest.json"   // the object as it was applied
	statusFile     = "status.json"     // what there is; the supervisor's to write
	supervisorFile = "supervisor.json" // who supervises
	deletionLink   = "deletion"        // see mark
	volumesDir     = "volumes"
)

// A Stored is a pod on disk, as it was when it was read.
type Stored struct {
	Pod

	dirs state.Dirs
}

// Dir is the pod's folder.
func (s *Stored) Dir() string { return podDir(s.dirs, s.Metadata.UID) }

// Manifest returns the object as it was applied: a v1.Pod in JSON.
func (s *Stored) Manifest() ([]byte, error) {
	data, err := os.ReadFile(s.manifestOf(s.Metadata.Generation)) // whose writer has died before it took the other's place
	if errors.Is(err, fs.ErrNotExist) {
		return os.ReadFile(path.Join(s.Dir(), manifestFile))
	}
	return data, err
}

// manifestOf is the manifest that a change has written, and which counts from the moment on that podFile has this generation: so a writer that is killed
// leaves both as they were, or both changed.
func (s *Stored) manifestOf(generation int64) string {
	return path.Join(s.Dir(), fmt.Sprintf("manifest-%d.json", generation))
}

// finish ends what a writer that was killed has begun. The caller holds the lock.
func (s *Stored) finish() error {
	taken := os.Rename(s.manifestOf(s.Metadata.Generation), path.Join(s.Dir(), manifestFile))
	removed := os.Remove(s.manifestOf(s.Metadata.Generation + 1)) // it came to nothing, and that generation will be another's
	var errs []error
	for _, err := range []error{taken, removed} {
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, state.RemoveTemps(path.Join(s.Dir(), podFile)))...)
}

func podsDir(dirs state.Dirs) string            { return path.Join(dirs.Data, "pods") }
func podDir(dirs state.Dirs, uid string) string { return path.Join(podsDir(dirs), uid) }
func nameLink(dirs state.Dirs, m Metadata) string {
	return path.Join(podsDir(dirs), ".names", m.Namespace+"_"+m.Name)
}

// checkName keeps what names a file from naming another. What Kubernetes asks of a name beyond that is checked where manifests are read.
func checkName(name string) error {
	if name == "" || len(name) > 253 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" || name[0] == '.' {
		return fmt.Errorf("%q is no name for a pod or a namespace", name)
	}
	return nil
}

// Create writes a pod down, under a name that nobody else has in its namespace; its UID and time are made up. Nothing runs yet: see Start.
// Atomic: until it returns, a crash leaves something that Sweep removes.
func Create(dirs state.Dirs, p *Pod, manifest []byte) (*Stored, error) {
	s := &Stored{Pod: *p, dirs: dirs}
	m := &s.Metadata
	if err := errors.Join(checkName(m.Name), checkName(m.Namespace)); err != nil {
		return nil, err
	}
	m.UID, m.Created, m.Deleted, m.Grace, m.Generation = newUID(), time.Now().UTC().Truncate(time.Second), nil, nil, 1
	for _, dir := range []string{podsDir(dirs), path.Join(podsDir(dirs), ".names")} {
		if err := state.Make(dir); err != nil {
			return nil, fmt.Errorf("make minipod's folders: %w", err)
		}
	}
	making, err := state.RLockFile(path.Join(podsDir(dirs), ".lock"))
	if err != nil {
		return nil, fmt.Errorf("create a pod: %w", err)
	}
	defer making.Unlock()
	if err := os.Mkdir(s.Dir(), 0o700); err != nil {
		return nil, fmt.Errorf("create a pod: %w", err)
	}
	err = write(s, manifest)
	if err == nil {
		err = s.takeName()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.Dir()))
	}
	return s, nil
}

// newUID is a version 4 UUID.
func newUID() string {
	h := []byte(linux.RandomID()[:32])
	h[12] = '4'
	h[16] = "89ab"[h[16]&3]
	return string(h[:8]) + "-" + string(h[8:12]) + "-" + string(h[12:16]) + "-" + string(h[16:20]) + "-" + string(h[20:])
}

func write(s *Stored, manifest []byte) error {
	lock, err := state.LockFile(path.Join(s.Dir(), lockFile))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := replaceJSON(s.Dir(), podFile, &s.Pod); err != nil {
		return err
	}
	return replace(s.Dir(), manifestFile, manifest)
}

// takeName makes the link that is the name, by one call. One whose pod is gone is nobody's.
func (s *Stored) takeName() error {
	link := nameLink(s.dirs, s.Metadata)
	for {
		err := os.Symlink(s.Metadata.UID, link)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		owner, err := os.Readlink(link)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := os.Lstat(podDir(s.dirs, owner)); err == nil {
			return hint.Wrap(fmt.Errorf("pods %q %w", s.Metadata.Name, ErrExists), "delete that one first: minipod delete pod "+s.Metadata.Name)
		}
		if err := freeName(link, owner); err != nil {
			return err
		}
	}
}

// freeName removes the link of a pod that is gone. The lock is for those who want the same name: without it one could remove the link that
// another has just made.
func freeName(link, gone string) error {
	lock, err := state.LockFile(path.Join(path.Dir(link), ".lock"))
	if err != nil {
		return err
	}
	owner, err := os.Readlink(link)
	if err == nil && owner == gone {
		err = os.Remove(link)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, lock.Unlock())
}

// replace writes a file of the pod's, whole or not at all. Of what is wanted a power cut must not take anything: it is synced.
func replace(dir, name string, data []byte) error {
	return state.WriteFile(path.Join(dir, name), data, 0o600)
}

func replaceJSON(dir, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return replace(dir, name, append(data, '\n'))
}

// Find returns the pod of that name.
func Find(dirs state.Dirs, namespace, name string) (*Stored, error) {
	missing := hint.Wrap(fmt.Errorf("pods %q %w", name, ErrNotFound), "list them: minipod get pods")
	if checkName(name) != nil || checkName(namespace) != nil {
		return nil, missing
	}
	uid, err := os.Readlink(nameLink(dirs, Metadata{Namespace: namespace, Name: name}))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing
	}
	if err != nil {
		return nil, fmt.Errorf("find pod %s: %w", name, err)
	}
	s, err := Get(dirs, uid)
	if errors.Is(err, ErrNotFound) {
		return nil, missing
	}
	return s, err
}

// Get returns the pod of that UID.
func Get(dirs state.Dirs, uid string) (*Stored, error) {
	s := &Stored{dirs: dirs}
	err := state.ReadJSON(path.Join(podDir(dirs, path.Base(uid)), podFile), &s.Pod)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("pod %s %w", uid, ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("read pod %s: %w", uid, err)
	case s.Metadata.UID != uid:
		return nil, fmt.Errorf("read pod %s: it says that it is %q", uid, s.Metadata.UID)
	}
	readMark(dirs, &s.Metadata)
	return s, nil
}

// List returns the pods of a namespace, or all where it is "", by namespace and name.
func List(dirs state.Dirs, namespace string) ([]*Stored, error) {
	names := path.Join(podsDir(dirs), ".names")
	entries, err := os.ReadDir(names)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var list []*Stored
	for _, e := range entries {
		of, _, ok := strings.Cut(e.Name(), "_")
		if !ok || namespace != "" && of != namespace {
			continue
		}
		uid, err := os.Readlink(path.Join(names, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list pods: %w", err)
		}
		s, err := Get(dirs, uid)
		if errors.Is(err, ErrNotFound) { // it was removed just now
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *Stored) int {
		return cmp.Or(cmp.Compare(a.Metadata.Namespace, b.Metadata.Namespace), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	return list, nil
}

// Change changes what is wanted: do gets the pod as it is, and what it makes of it is written, with the manifest unless that is nil. The
// supervisor is told. UID, time and name are not do's to change.
func Change(dirs state.Dirs, uid string, manifest []byte, do func(*Pod) error) error {
	if err := change(dirs, uid, manifest, do); err != nil {
		return fmt.Errorf("change pod %s: %w", uid, err)
	}
	return Poke(dirs, uid)
}

func change(dirs state.Dirs, uid string, manifest []byte, do func(*Pod) error) error {
	lock, err := state.LockFile(path.Join(podDir(dirs, path.Base(uid)), changeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	s, err := Get(dirs, uid)
	if err != nil {
		return err
	}
	if err := s.finish(); err != nil {
		return err
	}
	before := s.Metadata
	if err := do(&s.Pod); err != nil {
		return err
	}
	m := &s.Metadata
	m.Name, m.Namespace, m.UID, m.Created, m.Generation = before.Name, before.Namespace, before.UID, before.Created, before.Generation+1
	if manifest != nil {
		if err := state.WriteFile(s.manifestOf(m.Generation), manifest, 0o600); err != nil {
			return err
		}
	}
	if err := replaceJSON(s.Dir(), podFile, &s.Pod); err != nil || manifest == nil {
		return err
	}
	return s.finish()
}

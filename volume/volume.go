package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/state"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrNotFound = errors.New("no such volume")
	ErrInUse    = errors.New("volume is in use")
	ErrName     = errors.New("invalid volume name")
	ErrOptions  = errors.New("volume options are not supported")
)

// A Volume is a folder with a name. Its JSON is docker's `volume inspect`.
type Volume struct {
	CreatedAt  time.Time
	Driver     string
	Labels     map[string]string
	Mountpoint string // absolute path of the folder that containers mount
	Name       string
	Options    map[string]string
	Scope      string
	Anonymous  bool `json:"-"` // made for a container that named none
}

// record is volume.json: what the folder itself does not tell.
type record struct {
	Version   int               `json:"version"`
	CreatedAt time.Time         `json:"createdAt"`
	Labels    map[string]string `json:"labels,omitempty"`
	Anonymous bool              `json:"anonymous,omitempty"`
}

// A Store is the folder of all volumes. Its methods are safe for any number of processes at once.
type Store struct {
	// RemoveTree removes a folder and what is in it: os.RemoveAll, unless the caller knows a way to remove files of all
	// the user's ids, which containers may have made. Set it before the first call.
	RemoveTree func(dir string) error

	dir string
}

// Open returns the volumes in dirs. Nothing is made on disk before the first volume.
func Open(dirs state.Dirs) *Store { return &Store{RemoveTree: os.RemoveAll, dir: dirs.Volumes()} }

// CheckName tells whether docker would take name for a volume: two or more of [a-zA-Z0-9_.-], the first a letter or
// a digit. So no name leaves the folder of volumes, and none collides with our own dot files there.
func CheckName(name string) error {
	if len(name) == 1 {
		return fmt.Errorf("create %s: %w: too short, names should be at least two alphanumeric characters", name, ErrName)
	}
	bad := name == "" || len(name) > 255
	for i, c := range []byte(name) {
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		bad = bad || !alphanumeric && (i == 0 || c != '_' && c != '.' && c != '-')
	}
	if !bad {
		return nil
	}
	err := fmt.Errorf("create %s: %w: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name, ErrName)
	return hint.Wrap(err, "use an absolute path if you mean a folder of the host")
}

// Create makes the volume and returns it; one that exists is returned as it is, as docker does. An empty name makes
// an anonymous volume with a name of 64 hexadecimal digits. Options belong to drivers, and there is one driver
// which has none: any is refused. Atomic: after a crash the volume is there whole or not at all.
func (s *Store) Create(name string, labels, options map[string]string) (*Volume, error) {
	if len(options) > 0 {
		err := fmt.Errorf("create volume %s: %w", name, ErrOptions)
		return nil, hint.Wrap(err, "use --tmpfs or a bind mount (-v /host/folder:/folder) instead of driver options")
	}
	if name == "" {
		return s.create(linux.RandomID(), record{Version: 1, CreatedAt: time.Now().UTC(), Labels: labels, Anonymous: true})
	}
	return s.create(name, record{Version: 1, CreatedAt: time.Now().UTC(), Labels: labels})
}

// CreateAnonymous is Create for a container that named no volume. The caller chose the name, so that it could be written
// down somewhere before there is a volume to lose.
func (s *Store) CreateAnonymous(name string) (*Volume, error) {
	return s.create(name, record{Version: 1, CreatedAt: time.Now().UTC(), Anonymous: true})
}

func (s *Store) create(name string, r record) (*Volume, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if v, err := s.Get(name); !errors.Is(err, ErrNotFound) { // the usual case needs no lock
		return v, err
	}
	lock, err := s.lock()
	if err != nil {
		return nil, fmt.Errorf("create volume %s: %w", name, err)
	}
	defer lock.Unlock()
	if v, err := s.Get(name); !errors.Is(err, ErrNotFound) { // somebody else was faster
		return v, err
	}
	if err := s.make(name, r); err != nil {
		return nil, fmt.Errorf("create volume %s: %w", name, err)
	}
	return s.Get(name)
}

func (s *Store) make(name string, r record) error {
	temp := s.path(".new-" + strconv.Itoa(os.Getpid()))
	err := os.Mkdir(temp, 0o700)
	if err == nil {
		err = os.Mkdir(path.Join(temp, "_data"), 0o755)
	}
	if err == nil { // docker makes it 0755 whatever the umask; a container's users must get in
		err = os.Chmod(path.Join(temp, "_data"), 0o755)
	}
	if err == nil {
		err = state.WriteJSON(path.Join(temp, "volume.json"), r)
	}
	if err == nil {
		err = os.Rename(temp, s.path(name))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return nil
}

// Get returns the volume of that name, or ErrNotFound.
func (s *Store) Get(name string) (*Volume, error) {
	if CheckName(name) != nil { // never look outside: "../x" is not a volume
		return nil, notFound(name)
	}
	var r record
	err := state.ReadJSON(s.path(name, "volume.json"), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, fmt.Errorf("read volume %s: %w", name, err)
	}
	return &Volume{
		Name: name, Driver: "local", Scope: "local", Mountpoint: s.path(name, "_data"),
		CreatedAt: r.CreatedAt, Labels: r.Labels, Options: map[string]string{}, Anonymous: r.Anonymous,
	}, nil
}

func notFound(name string) error {
	return hint.Wrap(fmt.Errorf("get %s: %w", name, ErrNotFound), "run `minipod volume ls` to see those there are")
}

// List returns all volumes, by name.
func (s *Store) List() ([]*Volume, error) {
	entries, err := os.ReadDir(s.dir) // sorted
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var all []*Volume
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		v, err := s.Get(entry.Name())
		if errors.Is(err, ErrNotFound) {
			continue // removed since ReadDir
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// Remove removes the volume and all that is in it. usedBy answers the containers that have the volume mounted;
// where there is one the answer is ErrInUse and nothing changes. The volume is gone at once and for good, even if
// the process dies while it removes the files: the next Create, Remove or Prune removes the rest.
func (s *Store) Remove(name string, usedBy func(name string) []string) error {
	lock, err := s.lock()
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	defer lock.Unlock()
	if _, err := s.Get(name); err != nil {
		return err
	}
	if users := usedBy(name); len(users) > 0 {
		err := fmt.Errorf("remove %s: %w - [%s]", name, ErrInUse, strings.Join(users, ", "))
		return hint.Wrap(err, "run `minipod rm "+users[0]+"` first")
	}
	if err := s.destroy(name); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// Prune removes the volumes that no container uses and that match accepts, and returns their names and the bytes
// that their files took.
func (s *Store) Prune(match func(*Volume) bool, usedBy func(name string) []string) (removed []string, freed int64, err error) {
	lock, err := s.lock()
	if err != nil {
		return nil, 0, fmt.Errorf("prune volumes: %w", err)
	}
	defer lock.Unlock()
	all, err := s.List()
	if err != nil {
		return nil, 0, err
	}
	for _, v := range all {
		if !match(v) || len(usedBy(v.Name)) > 0 {
			continue
		}
		size := Size(v.Mountpoint)
		if err := s.destroy(v.Name); err != nil {
			return removed, freed, fmt.Errorf("prune volume %s: %w", v.Name, err)
		}
		removed, freed = append(removed, v.Name), freed+size
	}
	return removed, freed, nil
}

// Size adds up the lengths of the regular files below dir that the caller may see.
func Size(dir string) (bytes int64) {
	_ = fs.WalkDir(os.DirFS(dir), ".", func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // a folder closed to us is not counted, and no reason to stop
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
		}
		return nil
	})
	return bytes
}

// destroy renames the volume out of sight and then removes it.
func (s *Store) destroy(name string) error {
	// Whoever fills the volume right now would otherwise be copying into a folder that we are removing.
	filling, err := state.LockFile(s.path(name, "lock"))
	if err != nil {
		return err
	}
	defer filling.Unlock()
	dead := s.path(".dead-" + name)
	if err := os.Rename(s.path(name), dead); err != nil {
		return err
	}
	return s.RemoveTree(dead)
}

// lock takes the lock of the whole folder, which is made where missing, and sweeps what a killed process left.
func (s *Store) lock() (*state.Lock, error) {
	if err := state.Make(s.dir); err != nil {
		return nil, err
	}
	l, err := state.LockFile(s.path(".lock"))
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, errors.Join(err, l.Unlock())
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".new-") || strings.HasPrefix(entry.Name(), ".dead-") {
			// Not an error of ours if it fails: the next one tries again.
			_ = s.RemoveTree(s.path(entry.Name()))
		}
	}
	return l, nil
}

func (s *Store) path(names ...string) string {
	return path.Join(slices.Insert(names, 0, s.dir)...)
}

// MarshalJSON prints what docker prints: null for no labels, seconds in the time.
func (v Volume) MarshalJSON() ([]byte, error) {
	type plain Volume
	v.CreatedAt = v.CreatedAt.Truncate(time.Second)
	return json.Marshal(plain(v))
}

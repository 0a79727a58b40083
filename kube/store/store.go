package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
)

// The kinds of objects that are kept here.
const (
	KindConfigMap = "ConfigMap"
	KindSecret    = "Secret"
	KindClaim     = "PersistentVolumeClaim"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrNotFound = errors.New("not found")
	ErrName     = errors.New("invalid name")
)

// A Key is what an object is found by.
type Key struct{ Kind, Namespace, Name string }

// String is the API server's way of naming an object: secrets "db".
func (k Key) String() string { return fmt.Sprintf("%s %q", folder(k.Kind), k.Name) }

// Get returns the object's JSON. One that is not there answers ErrNotFound.
func Get(dirs state.Dirs, kind, namespace, name string) ([]byte, error) {
	return get(dirs, Key{kind, namespace, name})
}

func get(dirs state.Dirs, k Key) ([]byte, error) {
	name, err := file(dirs, k)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		err := fmt.Errorf("%s %w", k, ErrNotFound)
		return nil, hint.Wrap(err, "list what is there with: minipod get "+folder(k.Kind)+" -n "+k.Namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", k, err)
	}
	return data, nil
}

// Put makes the object's file hold data, whatever it held before. Atomic: readers see the old object or the new one.
func Put(dirs state.Dirs, kind, namespace, name string, data []byte) error {
	return Update(dirs, kind, namespace, name, func([]byte) ([]byte, error) { return data, nil })
}

// Update replaces the object by what change makes of it; old is nil where there is none. Nobody else changes an object meanwhile. Nothing
// is written when change fails, or answers old itself.
func Update(dirs state.Dirs, kind, namespace, name string, change func(old []byte) ([]byte, error)) error {
	return update(dirs, Key{kind, namespace, name}, change)
}

func update(dirs state.Dirs, k Key, change func(old []byte) ([]byte, error)) error {
	name, err := file(dirs, k)
	if err != nil {
		return err
	}
	lock, err := lock(dirs)
	if err != nil {
		return fmt.Errorf("store %s: %w", k, err)
	}
	defer lock.Unlock()
	old, err := get(dirs, k)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	data, err := change(old)
	if err != nil {
		return err
	}
	if old != nil && string(data) == string(old) {
		return nil
	}
	if err := state.Make(path.Dir(name)); err != nil {
		return fmt.Errorf("store %s: %w", k, err)
	}
	if err := errors.Join(state.RemoveTemps(name), state.WriteFile(name, data, 0o600)); err != nil {
		return fmt.Errorf("store %s: %w", k, err)
	}
	return nil
}

// Delete removes the object. One that is not there answers ErrNotFound.
func Delete(dirs state.Dirs, kind, namespace, name string) error {
	k := Key{kind, namespace, name}
	object, err := file(dirs, k)
	if err != nil {
		return err
	}
	lock, err := lock(dirs)
	if err != nil {
		return fmt.Errorf("delete %s: %w", k, err)
	}
	defer lock.Unlock()
	if err := os.Remove(object); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %w", k, ErrNotFound)
	} else if err != nil {
		return fmt.Errorf("delete %s: %w", k, err)
	}
	// The folder goes with its last object; one that is not empty stays, and that is no error.
	_ = os.Remove(path.Dir(object))
	return nil
}

// List returns the keys of a kind's objects in a namespace, or in all where it is "", sorted by namespace and name.
func List(dirs state.Dirs, kind, namespace string) ([]Key, error) {
	top, err := kindFolder(dirs, kind)
	if err != nil {
		return nil, err
	}
	namespaces := []string{namespace}
	if namespace == "" {
		if namespaces, err = entries(top); err != nil {
			return nil, fmt.Errorf("list %s: %w", folder(kind), err)
		}
	} else if err := checkName(namespace, 63, false); err != nil {
		return nil, fmt.Errorf("list %s in namespace %q: %w", folder(kind), namespace, err)
	}
	keys := []Key{}
	for _, namespace := range namespaces {
		names, err := entries(path.Join(top, namespace))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", folder(kind), err)
		}
		for _, name := range names {
			if name, ok := strings.CutSuffix(name, ".json"); ok {
				keys = append(keys, Key{kind, namespace, name})
			}
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { // by the name, not the file's: "a-b.json" comes before "a.json"
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return keys, nil
}

// entries are the names in dir, without our own, which begin with a dot. A missing folder has none.
func entries(dir string) ([]string, error) {
	found, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range found {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func lock(dirs state.Dirs) (*state.Lock, error) {
	dir := path.Join(dirs.Data, "kube")
	if err := state.Make(dir); err != nil {
		return nil, err
	}
	return state.LockFile(path.Join(dir, ".lock"))
}

// file is where an object is. It is the one place where a name becomes a path.
func file(dirs state.Dirs, k Key) (string, error) {
	dir, err := kindFolder(dirs, k.Kind)
	if err != nil {
		return "", err
	}
	if err := checkName(k.Namespace, 63, false); err != nil {
		return "", fmt.Errorf("namespace %q: %w", k.Namespace, err)
	}
	if err := checkName(k.Name, 253, true); err != nil {
		return "", fmt.Errorf("%s: %w", k, err)
	}
	// 253 bytes and ".json" are more than a file's name may have; such a name is an error of the file system's, ENAMETOOLONG.
	return path.Join(dir, k.Namespace, k.Name+".json"), nil
}

func kindFolder(dirs state.Dirs, kind string) (string, error) {
	switch kind {
	case KindConfigMap, KindSecret, KindClaim:
		return path.Join(dirs.Data, "kube", folder(kind)), nil
	}
	return "", fmt.Errorf("store an object of kind %q: no such kind is stored", kind)
}

func folder(kind string) string { return strings.ToLower(kind) + "s" }

// checkName holds a name to RFC 1123: letters, digits and dashes, where dots is set in parts between dots. A part begins and ends
// with a letter or a digit.
func checkName(name string, limit int, dots bool) error {
	bad := len(name) > limit
	parts := []string{name}
	if dots {
		parts = strings.Split(name, ".")
	}
	for _, part := range parts {
		bad = bad || part == "" || part[0] == '-' || part[len(part)-1] == '-'
		for _, c := range []byte(part) {
			bad = bad || ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '-'
		}
	}
	if bad {
		return fmt.Errorf("%w: at most %d of [a-z0-9-], the first and the last a letter or a digit, are allowed", ErrName, limit)
	}
	return nil
}

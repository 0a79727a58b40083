// Package state is how minipod keeps anything on disk: folders found once, records written atomically, locks that
// die with their holder.
//
// Three rules make kill -9 harmless at any moment. A file appears whole or not at all (WriteFile). A lock is a
// flock on an open descriptor, so the kernel drops it when the last holder dies (Lock). What is half-made lives
// under a name that no reader looks at, and the next command that holds the lock removes it.
//
// We write these sixty lines ourselves rather than link renameio and flock: they run before main in `minipod run`,
// where each linked package is weighed. For the same reason package path serves here where others take path/filepath,
// whose name sorts behind github.com and so initialises after whatever is ready there.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
)

// Dirs are the folders of one user's minipod. All are absolute. They are made with mode 0700: the trees below hold
// set-uid files of images, which no other user of the machine may execute.
type Dirs struct {
	Data   string // images, layers, containers, volumes; $MINIPOD_ROOT, else $XDG_DATA_HOME/minipod
	Run    string // sockets and locks that a reboot may clear; $XDG_RUNTIME_DIR/minipod, else Data/run
	Config string // config.json; $XDG_CONFIG_HOME/minipod
}

// Images, Layers, Containers, Volumes and Tmp are the folders below Data.
func (d Dirs) Images() string     { return path.Join(d.Data, "images") }
func (d Dirs) Layers() string     { return path.Join(d.Data, "layers") }
func (d Dirs) Containers() string { return path.Join(d.Data, "containers") }
func (d Dirs) Volumes() string    { return path.Join(d.Data, "volumes") }
func (d Dirs) Tmp() string        { return path.Join(d.Data, "tmp") }

// Find returns the folders that the environment names; getenv is os.Getenv but for tests. Nothing is made.
func Find(getenv func(string) string) (Dirs, error) {
	home := getenv("HOME")
	under := func(variable, fallback string) (string, error) {
		if v := getenv(variable); path.IsAbs(v) { // the XDG specification: relative values are ignored
			return path.Join(v, "minipod"), nil
		}
		if !path.IsAbs(home) {
			return "", hint.Wrap(fmt.Errorf("find minipod's folders: neither $%s nor $HOME is an absolute path", variable), "set HOME")
		}
		return path.Join(home, fallback, "minipod"), nil
	}
	var d Dirs
	var err error
	if d.Data = getenv("MINIPOD_ROOT"); d.Data == "" {
		if d.Data, err = under("XDG_DATA_HOME", ".local/share"); err != nil {
			return Dirs{}, err
		}
	} else if !path.IsAbs(d.Data) {
		cwd, err := os.Getwd()
		if err != nil {
			return Dirs{}, fmt.Errorf("find minipod's folders: %w", err)
		}
		d.Data = path.Join(cwd, d.Data)
	}
	d.Run = path.Join(d.Data, "run")
	if v := getenv("XDG_RUNTIME_DIR"); path.IsAbs(v) && getenv("MINIPOD_ROOT") == "" {
		d.Run = path.Join(v, "minipod")
	}
	if d.Config, err = under("XDG_CONFIG_HOME", ".config"); err != nil && getenv("MINIPOD_ROOT") == "" {
		return Dirs{}, err
	}
	return d, nil
}

// Make makes dir and its parents where they are missing, with mode 0700, as the XDG specification has it.
func Make(dir string) error {
	if err := os.MkdirAll(path.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// WriteFile makes name hold data: temp, fsync, rename, fsync of the folder. Readers see the old or the new content.
func WriteFile(name string, data []byte, mode fs.FileMode) error {
	dir := path.Dir(name)
	temp := path.Join(dir, tempPrefix(name)+strconv.Itoa(os.Getpid()))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// RemoveTemps removes what writers of name left that died in WriteFile. The caller holds the lock under which name is
// written, or it removes a living writer's file. It is idempotent, and a missing folder is no error.
func RemoveTemps(name string) error {
	dir := path.Dir(name)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix(name)) {
			continue
		}
		if err := os.Remove(path.Join(dir, e.Name())); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, err)...)
}

// tempPrefix starts the name of name's temporary files; the writer's PID ends it.
func tempPrefix(name string) string { return ".tmp-" + path.Base(name) + "-" }

// WriteJSON is WriteFile of v's indented JSON, with mode 0600.
func WriteJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return WriteFile(name, append(data, '\n'), 0o600)
}

// ReadJSON reads what WriteJSON wrote. A missing file answers fs.ErrNotExist.
func ReadJSON(name string, v any) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode %s: %w", name, err)
	}
	return nil
}

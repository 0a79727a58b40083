package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/state"
)

// ProbeVerb is the verb of our own process that makes the test mount inside a user namespace.
const ProbeVerb = "probe-storage"

// chooseStorage decides how layers become a tree. The test mount's answer is kept; it is asked for again when the kernel or
// the data folder's file system is another.
func (r *run) chooseStorage() error {
	file := filepath.Join(r.dirs.Data, rootfs.StorageFile)
	var probed rootfs.Probed
	err := state.ReadJSON(file, &probed)
	fresh := err == nil && probed.Fresh(r.dirs.Data)
	if !fresh {
		status, err := r.inside([]string{ProbeVerb, r.dirs.Data}, os.Stderr)
		if err != nil {
			return err
		}
		if status != 0 {
			return fmt.Errorf("test which storage works here: exit status %d", status)
		}
		if err := state.ReadJSON(file, &probed); err != nil {
			return fmt.Errorf("test which storage works here: %w", err)
		}
	}
	if !probed.Overlay || r.config.Storage.Driver == string(rootfs.FuseOverlayfs) {
		r.fuse = findFuse()
	}
	if r.storage, err = rootfs.Choose(r.config.Storage.Driver, probed, r.fuse); err != nil {
		return err
	}
	if !fresh && r.storage.Notice != "" {
		fmt.Fprintf(os.Stderr, "minipod: warning: %s\n", r.storage.Notice)
	}
	return nil
}

// findFuse returns the path of fuse-overlayfs where it could work, or "".
func findFuse() string {
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return ""
	}
	device.Close()
	program, err := exec.LookPath("fuse-overlayfs")
	if err != nil {
		return ""
	}
	return program
}

// ProbeStorage is the other end: it tries in dir and writes the answer down.
func ProbeStorage(dir string) error {
	temp := filepath.Join(dir, "tmp")
	if err := state.Make(temp); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	probed, err := rootfs.Probe(temp)
	if err != nil {
		return err
	}
	return state.WriteJSON(filepath.Join(dir, rootfs.StorageFile), probed)
}

// FlattenVerb is the verb of our own process that merges layers where no overlay can be mounted: `FlattenVerb DST LAYER...`,
// the layers top first.
const FlattenVerb = "flatten"

func (r *run) flatten(dst string, lowers []string) error {
	args := []string{FlattenVerb, dst}
	for _, lower := range lowers {
		args = append(args, filepath.Join(r.dirs.Data, lower))
	}
	status, err := r.inside(args, os.Stderr)
	if err == nil && status != 0 {
		err = ErrSaid
	}
	return err
}

package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/state"
)

// Storage answers how the container's tree is kept. Records of before we wrote that down tell by what is there: only a copy
// fills the folder root.
func (r *Record) Storage(dirs state.Dirs) rootfs.Driver {
	if r.Driver != "" {
		return r.Driver
	}
	if entries, err := os.ReadDir(filepath.Join(dirs.Containers(), r.ID, "root")); errors.Is(err, fs.ErrPermission) || len(entries) > 0 {
		return rootfs.Copy
	}
	return rootfs.Overlay
}

// MountTree mounts the tree of a container that does not run in this process's mount namespace, writable, and opens its root.
// The volumes are not in it. layers are those of its image, relative to the data folder, the topmost first; fuse is the path
// of fuse-overlayfs, where it needs that. The caller is root of the user's id range in a mount namespace of its own, in which
// the mount ends with the last process, and holds the container (Adopt), so that nobody starts it meanwhile. The
// current folder becomes the tree's root.
func MountTree(dirs state.Dirs, r Record, layers []string, fuse string) (root linux.File, err error) {
	here := filepath.Join("containers", r.ID)
	plan := &rootfs.Plan{
		Data: dirs.Data, Lower: layers, Driver: r.Storage(dirs),
		Upper: filepath.Join(here, "upper"), Work: filepath.Join(here, "work"), Target: filepath.Join(here, "root"),
	}
	if _, err := os.Lstat(filepath.Join(dirs.Data, plan.Upper)); errors.Is(err, fs.ErrNotExist) {
		return root, hint.Wrap(fmt.Errorf("container %s has no files yet: it was never started", r.Name), "start it first")
	}
	builder := rootfs.Builder{Plan: plan}
	if err := builder.MakePrivate(); err != nil {
		return root, err
	}
	if plan.Driver == rootfs.FuseOverlayfs {
		server, err := rootfs.StartFuse(fuse, plan)
		if err != nil {
			return root, err
		}
		if err := server.Release(); err != nil {
			return root, err
		}
	}
	if err := builder.MountRoot(); err != nil {
		return root, fmt.Errorf("mount the tree of container %s: %w", r.Name, err)
	}
	root, err = linux.OpenDir(".")
	root.Name = "/"
	return root, err
}

package runtime

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/state"
)

// Layers answers the folders that make up the container's tree, the topmost first and absolute, for image/layer's Stack;
// image are those of its image, relative to the data folder. above says that the topmost holds the container's writes alone;
// else, as a copy, there is but one folder with everything. A container that never started has written nothing.
func (r *Record) Layers(dirs state.Dirs, image []string) (topFirst []string, above bool) {
	here := filepath.Join(dirs.Containers(), r.ID)
	if r.Storage(dirs) == rootfs.Copy {
		return []string{filepath.Join(here, "root")}, false
	}
	upper := filepath.Join(here, "upper")
	if _, err := os.Lstat(upper); !errors.Is(err, fs.ErrNotExist) {
		topFirst, above = append(topFirst, upper), true
	}
	for _, dir := range image {
		topFirst = append(topFirst, filepath.Join(dirs.Data, dir))
	}
	return topFirst, above
}

// MountPoints are the names, relative to the root, of what every container gets in its tree to mount something of ours on, where
// its image lacks it: no change of the container's own.
func MountPoints() map[string]bool {
	return map[string]bool{"proc": true, "sys": true, "dev": true, "etc/hosts": true, "etc/hostname": true, "etc/resolv.conf": true}
}

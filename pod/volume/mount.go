package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/pod"
)

// A Mount is a volume in a container.
type Mount struct {
	Volume

	Target  string
	Beneath string // a path below the volume
	Options []string
}

// Mounts are what a container has of the pod's volumes. Folders at a subPath that are not there yet are made.
func Mounts(c *pod.Container, volumes map[string]Volume, env *pod.Environment) ([]Mount, error) {
	var list []Mount
	for i := range c.VolumeMounts { // LAB: volume-mounts
		vm := &c.VolumeMounts[i]
		v, ok := volumes[vm.Name]
		if !ok {
			return nil, fmt.Errorf("volume %q is not one of the pod's", vm.Name)
		}
		target := path.Clean("/" + vm.MountPath)
		if target == "/" {
			return nil, fmt.Errorf("volume %q: it can't be mounted on /", vm.Name)
		}
		m := Mount{Volume: v, Target: target, Options: []string{"rbind", propagation(vm), "rw"}}
		if vm.ReadOnly || v.ReadOnly {
			m.Options[2] = "ro"
		}
		if v.Image {
			m.Options = append(m.Options, "noexec")
		}
		sub, err := subPath(vm, env)
		if err == nil && sub != "" {
			m.Beneath = sub
			if v.Memory {
				return nil, fmt.Errorf("subPath %q of volume %q: a part of a volume in memory can't be mounted by itself here", sub, vm.Name)
			}
			if !v.Image {
				err = makeSub(v.Dir, sub)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("failed to create subPath directory for volumeMount %q of container %q: %w", vm.Name, c.Name, err)
		}
		list = append(list, m)
	}
	return list, nil
}

func propagation(vm *pod.VolumeMount) string {
	if vm.MountPropagation == nil {
		return "rprivate"
	}
	switch *vm.MountPropagation {
	case "HostToContainer":
		return "rslave"
	case "Bidirectional":
		return "rshared"
	}
	return "rprivate"
}

func subPath(vm *pod.VolumeMount, env *pod.Environment) (string, error) {
	sub := vm.SubPath
	if vm.SubPathExpr != "" {
		if sub = env.Expand(vm.SubPathExpr); strings.Contains(sub, "$(") {
			return "", fmt.Errorf("missing value for %q", vm.SubPathExpr)
		}
	}
	if sub == "" {
		return "", nil
	}
	if path.IsAbs(sub) || slices.Contains(strings.Split(sub, "/"), "..") {
		return "", fmt.Errorf("%q must be relative and not contain '..'", sub)
	}
	return path.Clean(sub), nil
}

// makeSub makes a folder in a volume, with the volume's own mode, whatever our umask. Trust boundary: containers may have put links on the way; os.Root follows none that leads out.
func makeSub(dir, sub string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	_, err = root.Stat(sub)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	mode := info.Mode() & (fs.ModePerm | fs.ModeSetgid)
	made := ""
	for part := range strings.SplitSeq(sub, "/") {
		made = path.Join(made, part)
		err := root.Mkdir(made, mode.Perm())
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = root.Chmod(made, mode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

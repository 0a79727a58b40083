package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Child makes a group in g for one of several containers with one supervisor, which stays where it is: g is then a pod's, whose limits are those
// of all of them together. Its owner calls Remove. On an error nothing is left of it.
func (g *Group) Child(id string, r *specs.LinuxResources) (*Group, error) {
	writes, err := Writes(r)
	if err != nil {
		return nil, err
	}
	child := &Group{base: filepath.Join(g.Path, "minipod-"+id[:12]), proc: g.proc}
	child.Path = filepath.Join(child.base, containerName)
	for _, dir := range []string{child.base, child.Path} {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, errors.Join(fmt.Errorf("make the container's cgroup: %w", err), child.Remove())
		}
	}
	wanted := controllers(writes)
	cause := map[string]error{}
	for _, folder := range []string{g.Path, child.base} {
		have, on := words(folder, "cgroup.controllers"), words(folder, "cgroup.subtree_control")
		for _, c := range slices.Concat([]string{"cpu", "cpuset", "io", "memory", "pids"}, wanted) {
			if slices.Contains(on, c) || !slices.Contains(have, c) {
				continue
			}
			if err := write(folder, "cgroup.subtree_control", "+"+c); err != nil && cause[c] == nil {
				cause[c] = fmt.Errorf("hand it down: %w", err)
			}
		}
	}
	have := child.Controllers()
	lacking := slices.DeleteFunc(wanted, func(c string) bool { return slices.Contains(have, c) })
	if len(lacking) > 0 {
		err = child.missing(lacking, cause[lacking[0]])
	} else {
		err = child.set(writes)
	}
	if err != nil {
		return nil, errors.Join(err, child.Remove())
	}
	return child, nil
}

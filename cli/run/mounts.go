package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/volume"
)

// mounts turns the user's mounts, and the volumes that the image wants, into the specification's. Volumes are made here.
func (r *run) mounts(c *runtime.Container) ([]specs.Mount, error) {
	wanted, err := r.wanted()
	if err != nil {
		return nil, err
	}
	isNew, err := r.nameVolumes(c, wanted)
	if err != nil {
		return nil, err
	}
	var list []specs.Mount
	store := volumes(r.dirs, r.removeInside)
	for i, m := range wanted {
		mount := specs.Mount{Type: m.Type, Source: m.Source, Destination: m.Target, Options: m.Options}
		switch m.Type {
		case "bind":
			if slices.Contains(r.borrowed, m.Target) { // it is not of the host
				break
			}
			if _, err := os.Stat(m.Source); err != nil {
				return nil, sourceAdvice(m.Source, err)
			}
		case "volume":
			dir, err := r.volume(store, m, isNew[i])
			if err != nil {
				return nil, err
			}
			mount.Type, mount.Source = "bind", dir
		}
		list = append(list, mount)
	}
	// A mount must not cover one that comes before it: parents first.
	slices.SortStableFunc(list, func(a, b specs.Mount) int {
		return strings.Count(strings.TrimSuffix(a.Destination, "/"), "/") - strings.Count(strings.TrimSuffix(b.Destination, "/"), "/")
	})
	return list, nil
}

// wanted are the user's mounts, and those of the image for other targets.
func (r *run) wanted() ([]flags.Mount, error) {
	const most = 500 // each is a folder to make and a mount to attach: an image that wants more means harm
	if n := len(r.image.Config.Config.Volumes); n > most {
		return nil, fmt.Errorf("the image wants %d volumes, and %d are the most", n, most)
	}
	list := slices.Clone(r.Mounts)
	for target := range r.image.Config.Config.Volumes {
		if slices.ContainsFunc(r.Mounts, func(m flags.Mount) bool { return m.Target == path.Clean(target) }) {
			continue
		}
		if !strings.HasPrefix(target, "/") || path.Clean(target) == "/" {
			return nil, fmt.Errorf("the image wants a volume at %q, which is not an absolute path below /", target)
		}
		list = append(list, flags.Mount{Type: "volume", Target: target, Options: []string{"rbind", "rprivate", "rw"}})
	}
	return list, nil
}

// nameVolumes names the anonymous volumes and writes down which volumes the container has: before they are made, so that
// the sweep finds them however we end.
func (r *run) nameVolumes(c *runtime.Container, wanted []flags.Mount) (isNew []bool, err error) {
	isNew = make([]bool, len(wanted))
	for i := range wanted {
		m := &wanted[i]
		if m.Type != "volume" {
			continue
		}
		if m.Source == "" {
			m.Source, isNew[i] = linux.RandomID(), true
			c.Own = append(c.Own, m.Source)
		}
		c.Volumes = append(c.Volumes, m.Source)
	}
	if len(c.Volumes) > 0 {
		err = c.Save() // rm and prune must know them, too
	}
	return isNew, err
}

func sourceAdvice(source string, err error) error {
	err = fmt.Errorf("mount source %s: %w", source, err)
	if errors.Is(err, fs.ErrNotExist) {
		return hint.Wrap(err, "make it first (mkdir -p "+source+"), or use a named volume: -v NAME:TARGET")
	}
	return err
}

func (r *run) volume(store *volume.Store, m flags.Mount, isNew bool) (dir string, err error) {
	create := func() (*volume.Volume, error) { return store.Create(m.Source, nil, nil) }
	if isNew {
		create = func() (*volume.Volume, error) { return store.CreateAnonymous(m.Source) }
	}
	v, err := create()
	if err != nil {
		return "", err
	}
	if m.NoCopy {
		return v.Mountpoint, nil
	}
	empty, err := volume.NeedsFill(v.Mountpoint)
	if err != nil {
		return "", err
	}
	if empty {
		r.fill = append(r.fill, v.Mountpoint)
	}
	return v.Mountpoint, nil
}

// rlimits checks the limits against our own: an ordinary user can't raise them.
func (r *run) rlimits() ([]specs.POSIXRlimit, error) {
	var list []specs.POSIXRlimit
	for _, u := range r.Ulimits {
		limit := specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: u.Soft, Hard: u.Hard}
		number, ok := linux.RlimitNumber(limit.Type)
		if !ok {
			return nil, hint.Wrap(fmt.Errorf("unknown limit %q", u.Name), "see man 2 getrlimit for the names, in lower case: nofile, nproc, core")
		}
		most, err := linux.HardRlimit(number)
		if err != nil {
			return nil, err
		}
		if limit.Hard > most {
			return nil, hint.Wrap(fmt.Errorf("--ulimit %s: the hard limit is over yours, which is %d", u.Name, most), "raise yours in /etc/security/limits.conf, or ask for less")
		}
		list = append(list, limit)
	}
	return list, nil
}

// files are those that every container gets from us.
func (r *run) files(hostname string) ([]rootfs.File, error) {
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if r.Network != flags.PodNetwork { // else the start knows the address
		hosts += "127.0.0.1\t" + hostname + "\n"
	}
	if r.Network == "host" {
		data, err := os.ReadFile("/etc/hosts")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("copy the host's names: %w", err)
		}
		hosts = string(data)
	}
	for _, h := range r.AddHosts {
		hosts += h.Addr + "\t" + h.Name + "\n"
	}
	resolver, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("copy the host's resolvers: %w", err)
	}
	return []rootfs.File{
		{Target: "/etc/hosts", Content: hosts},
		{Target: "/etc/hostname", Content: hostname + "\n"},
		{Target: "/etc/resolv.conf", Content: string(resolver)},
	}, nil
}

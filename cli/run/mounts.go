package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/volume"
)

// mounts turns the user's mounts, and the volumes that the image wants, into the specification's. Volumes are made here.
func (r *run) mounts(c *runtime.Container) ([]specs.Mount, error) {
	var list []specs.Mount
	volumes := volume.Open(r.dirs)
	for _, m := range r.Mounts {
		mount := specs.Mount{Type: m.Type, Source: m.Source, Destination: m.Target, Options: m.Options}
		switch m.Type {
		case "bind":
			if _, err := os.Stat(m.Source); err != nil {
				return nil, sourceAdvice(m.Source, err)
			}
		case "volume":
			dir, err := r.volume(c, volumes, m.Source, !m.NoCopy)
			if err != nil {
				return nil, err
			}
			mount.Type, mount.Source = "bind", dir
		}
		list = append(list, mount)
	}
	for target := range r.image.Config.Config.Volumes {
		if slices.ContainsFunc(list, func(m specs.Mount) bool { return m.Destination == target }) {
			continue
		}
		if !strings.HasPrefix(target, "/") {
			return nil, fmt.Errorf("the image wants a volume at %q, which is not an absolute path", target)
		}
		dir, err := r.volume(c, volumes, "", true)
		if err != nil {
			return nil, err
		}
		list = append(list, specs.Mount{Type: "bind", Source: dir, Destination: target, Options: []string{"rbind", "rprivate", "rw"}})
	}
	// A mount must not cover one that comes before it: parents first.
	slices.SortStableFunc(list, func(a, b specs.Mount) int {
		return strings.Count(strings.TrimSuffix(a.Destination, "/"), "/") - strings.Count(strings.TrimSuffix(b.Destination, "/"), "/")
	})
	if len(c.Volumes) == 0 {
		return list, nil
	}
	return list, c.Save() // rm and prune must know them
}

func sourceAdvice(source string, err error) error {
	err = fmt.Errorf("mount source %s: %w", source, err)
	if errors.Is(err, fs.ErrNotExist) {
		return hint.Wrap(err, "make it first (mkdir -p "+source+"), or use a named volume: -v NAME:TARGET")
	}
	return err
}

func (r *run) volume(c *runtime.Container, volumes *volume.Store, name string, fill bool) (dir string, err error) {
	v, err := volumes.Create(name, nil, nil)
	if err != nil {
		return "", err
	}
	c.Volumes = append(c.Volumes, v.Name)
	if v.Anonymous {
		r.volumes = append(r.volumes, v.Name)
	}
	if !fill {
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
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t" + hostname + "\n"
	if r.Network == "host" {
		data, err := os.ReadFile("/etc/hosts")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("copy the host's names: %w", err)
		}
		hosts = string(data)
	}
	for _, h := range r.AddHosts {
		hosts += h.Addr.String() + "\t" + h.Name + "\n"
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

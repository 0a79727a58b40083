package runtime

import (
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/runtime/stage"
)

var (
	manyIDs = idmap.Map{{Host: 1000, Size: 1}, {Container: 1, Host: 100000, Size: 65536}}
	oneID   = idmap.Map{{Host: 1000, Size: 1}}
)

func TestMountOf(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mount specs.Mount
		gids  idmap.Map
		want  rootfs.Mount
		fails string
	}{
		{
			"proc",
			specs.Mount{Type: "proc", Source: "proc", Destination: "/proc", Options: []string{"nosuid", "noexec", "nodev"}},
			manyIDs,
			rootfs.Mount{Type: "proc", Source: "proc", Target: "/proc", Attr: linux.AttrNosuid | linux.AttrNoexec | linux.AttrNodev},
			"",
		},
		{
			"tmpfs with its own options",
			specs.Mount{Type: "tmpfs", Source: "shm", Destination: "/dev/shm", Options: []string{"ro", "mode=1777", "strictatime", "size=64m"}},
			manyIDs,
			rootfs.Mount{Type: "tmpfs", Source: "shm", Target: "/dev/shm", Attr: linux.AttrRdonly | linux.AttrStrictatime, Options: []string{"mode=1777", "size=64m"}},
			"",
		},
		{
			"devpts",
			specs.Mount{Type: "devpts", Destination: "/dev/pts", Options: []string{"gid=5", "newinstance"}},
			manyIDs,
			rootfs.Mount{Type: "devpts", Target: "/dev/pts", Options: []string{"gid=5", "newinstance"}},
			"",
		},
		{
			"devpts with one id",
			specs.Mount{Type: "devpts", Destination: "/dev/pts", Options: []string{"gid=5", "newinstance"}},
			oneID,
			rootfs.Mount{Type: "devpts", Target: "/dev/pts", Options: []string{"newinstance"}},
			"",
		},
		{
			"cgroup",
			specs.Mount{Type: "cgroup", Destination: "/sys/fs/cgroup", Options: []string{"ro"}},
			manyIDs,
			rootfs.Mount{Type: "cgroup", Target: "/sys/fs/cgroup", Attr: linux.AttrRdonly, Optional: true},
			"",
		},
		{
			"bind",
			specs.Mount{Type: "bind", Source: "/a", Destination: "/b", Options: []string{"rbind", "rslave", "ro", "nodiratime", "noatime"}},
			manyIDs,
			rootfs.Mount{Type: "bind", Source: "/a", Target: "/b", Attr: linux.AttrRdonly | linux.AttrNodiratime | linux.AttrNoatime, Propagation: linux.MsSlave},
			"",
		},
		{
			"bind by option",
			specs.Mount{Source: "/a", Destination: "/b", Options: []string{"bind", "rw", "rshared"}},
			manyIDs,
			rootfs.Mount{Type: "bind", Source: "/a", Target: "/b", Propagation: linux.MsShared},
			"",
		},
		{
			"type none",
			specs.Mount{Type: "none", Source: "/a", Destination: "/b"},
			manyIDs,
			rootfs.Mount{Type: "bind", Source: "/a", Target: "/b"},
			"",
		},
		{"unknown option", specs.Mount{Type: "bind", Source: "/a", Destination: "/b", Options: []string{"size=1"}}, manyIDs, rootfs.Mount{}, `"size=1"`},
		{"relative source", specs.Mount{Type: "bind", Source: "a", Destination: "/b"}, manyIDs, rootfs.Mount{}, `"a" is not an absolute path`},
		{"no source", specs.Mount{Type: "bind", Destination: "/b"}, manyIDs, rootfs.Mount{}, "/b"},
	} {
		got, err := mountOf(tt.mount, tt.gids)
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s: %v, want %s", tt.name, err, tt.fails)
			}
		} else if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", tt.name, err, got, tt.want)
		}
	}
}

func TestPlanOf(t *testing.T) {
	score, umask := -5, uint32(0o77)
	whole := func() *specs.Spec {
		return &specs.Spec{
			Hostname: "h", Root: &specs.Root{Readonly: true},
			Process: &specs.Process{
				Terminal: true, Args: []string{"sh"}, Env: []string{"A=b"}, Cwd: "/w", NoNewPrivileges: true, OOMScoreAdj: &score,
				User:         specs.User{Username: "mia:staff", Umask: &umask},
				Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1, Hard: 2}},
				Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL", "CAP_CHOWN"}, Effective: []string{"CAP_CHOWN"}},
			},
			Linux: &specs.Linux{
				Namespaces:  []specs.LinuxNamespace{{Type: specs.UserNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.PIDNamespace}},
				MaskedPaths: []string{"/proc/kcore"}, ReadonlyPaths: []string{"/proc/sys"},
			},
			Mounts: []specs.Mount{{Type: "proc", Destination: "/proc"}},
		}
	}
	got, err := planOf(whole(), manyIDs, manyIDs)
	ids := []stage.IDRange{{First: 0, Count: 1}, {First: 1, Count: 65536}}
	want := &stage.Plan{
		Hostname: "h", Terminal: true, Loopback: true,
		Rootfs: rootfs.Plan{
			ReadOnly: true, Devices: rootfs.DefaultDevices(), Masked: []string{"/proc/kcore"}, ReadOnlyPaths: []string{"/proc/sys"},
			Mounts: []rootfs.Mount{{Type: "proc", Target: "/proc"}},
		},
		Process: stage.Process{
			Args: []string{"sh"}, Env: []string{"A=b"}, Cwd: "/w", User: "mia:staff", Umask: 0o77, OOMScoreAdj: &score, NoNewPrivileges: true,
			Rlimits:  []stage.Rlimit{{Name: "RLIMIT_NOFILE", Resource: 7, Soft: 1, Hard: 2}},
			Bounding: 1<<5 | 1, Capabilities: 1, IDs: ids, GIDs: ids, Setgroups: true,
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	hostNetwork := whole()
	hostNetwork.Linux.Namespaces = hostNetwork.Linux.Namespaces[:1]
	hostNetwork.Process.User.Umask = nil
	got, err = planOf(hostNetwork, oneID, oneID)
	if err != nil || got.Loopback || got.Process.Setgroups || got.Process.Umask != 0o022 {
		t.Errorf("%v, %+v", err, got)
	}
	for name, change := range map[string]func(*specs.Spec){
		"no process":         func(s *specs.Spec) { s.Process = nil },
		"no linux":           func(s *specs.Spec) { s.Linux = nil },
		"no arguments":       func(s *specs.Spec) { s.Process.Args = nil },
		"a namespace's path": func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "/proc/1/ns/net" },
		"an unknown limit":   func(s *specs.Spec) { s.Process.Rlimits[0].Type = "RLIMIT_DREAMS" },
		"a capability":       func(s *specs.Spec) { s.Process.Capabilities.Bounding[0] = "CAP_FLY" },
		"another capability": func(s *specs.Spec) { s.Process.Capabilities.Effective[0] = "CAP_FLY" },
		"a mount":            func(s *specs.Spec) { s.Mounts[0] = specs.Mount{Type: "bind", Source: "x"} },
	} {
		s := whole()
		change(s)
		if p, err := planOf(s, manyIDs, manyIDs); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

package spec

import (
	"cmp"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/idmap"
)

// SandboxOptions are the settings of a pod's sandbox.
type SandboxOptions struct {
	Hostname     string
	HostNetwork  bool
	HostIPC      bool              // then it has no shared memory of its own
	ShmSize      int64             // bytes; 0 for DefaultShmSize
	Capabilities caps.Set          // the most that any container may have that lives among its processes
	Memory       map[string]string // volumes in memory: where they are mounted, and their tmpfs's options
	Sysctls      map[string]string

	UIDs, GIDs idmap.Map
}

// Sandbox returns the specification of a pod's sandbox: namespaces for others to join, in a tree that has nothing but what goes with them. Its
// command is a name for people; what runs is PID 1.
func Sandbox(o SandboxOptions) *specs.Spec {
	list := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=64k"}},
	}
	for _, m := range defaultMounts(Options{ShmSize: cmp.Or(o.ShmSize, DefaultShmSize), GIDs: o.GIDs}) {
		if m.Destination == "/dev/shm" && !o.HostIPC {
			list = append(list, m)
		}
	}
	for target, options := range o.Memory {
		list = append(list, specs.Mount{Destination: target, Type: "tmpfs", Source: "tmpfs", Options: append([]string{"nosuid", "nodev"}, strings.Split(options, ",")...)})
	}
	own := Options{HostNetwork: o.HostNetwork, HostIPC: o.HostIPC}
	return &specs.Spec{
		Version:  specs.Version,
		Process:  &specs.Process{Args: []string{"/pause"}, Cwd: "/", Capabilities: capabilities(o.Capabilities), NoNewPrivileges: true},
		Root:     &specs.Root{Path: "rootfs", Readonly: true},
		Hostname: o.Hostname,
		Mounts:   list,
		Linux: &specs.Linux{
			UIDMappings: mappings(o.UIDs),
			GIDMappings: mappings(o.GIDs),
			Namespaces:  own.namespaces(),
			Sysctl:      o.Sysctls,
		},
	}
}

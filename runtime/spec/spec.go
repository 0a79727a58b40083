// Package spec turns an image's configuration and a command line into an OCI runtime specification.
//
// It decides and touches nothing: no file, no environment, no clock. The rules are Docker's, as images rely on them; the
// translation of an image's fields follows the OCI image specification (conversion.md). What only the container's own
// files can tell stays open: process.user.username carries the user as it was written, for the runtime to look up in the
// image's /etc/passwd once that is mounted, and HOME is left to the same moment.
package spec

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/idmap"
)

// Options are the settings of one container, defaults worked in by the caller save where a field says otherwise.
type Options struct {
	ID       string // names the host, where Hostname is empty
	Hostname string

	Args       []string // replaces the image's Cmd, unless empty
	Entrypoint *string  // replaces the image's Entrypoint and drops its Cmd; "" for none; nil for the image's
	Env        []string // NAME=VALUE over the image's; a bare NAME takes the image's away
	Workdir    string   // "" for the image's
	User       string   // "" for the image's
	Terminal   bool

	Mounts   []specs.Mount // ready to be mounted: volumes are binds of their folders by now
	ShmSize  int64         // bytes; 0 for DefaultShmSize
	NoShm    bool          // nothing at /dev/shm
	ReadOnly bool          // the root, not the mounts

	HostNetwork     bool
	HostPID         bool
	HostIPC         bool // /dev/shm is the host's, too
	HostQueues      bool // with HostIPC: the host has a /dev/mqueue
	Capabilities    caps.Set
	NoNewPrivileges bool
	Seccomp         *specs.LinuxSeccomp // nil for none, and where the filter comes compiled
	Rlimits         []specs.POSIXRlimit
	OOMScoreAdj     *int
	Umask           *uint32

	UIDs, GIDs idmap.Map

	Labels     map[string]string // over the image's
	StopSignal string            // "" for the image's
}

// DefaultShmSize is the size of /dev/shm in bytes, Docker's 64 MiB.
const DefaultShmSize = 64 << 20

// AnnotationStopSignal is where the image specification keeps an image's StopSignal.
const AnnotationStopSignal = "org.opencontainers.image.stopSignal"

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// The parts of /proc and /sys that tell of the machine or change it, as Docker covers them (moby/daemon/pkg/oci/defaults.go).
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
		"/sys/firmware",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// Build returns the specification of a container of an image. It fails where there is no command to run, or where the
// image's texts can't be passed to one; both errors ask for exit status 125.
func Build(image ocispec.ImageConfig, o Options) (*specs.Spec, error) {
	arguments := Command(image, o)
	if len(arguments) == 0 {
		return nil, hint.Exit(hint.Wrap(errors.New("no command specified, and the image has none"),
			"name one behind the image, for example `minipod run IMAGE sh`"), hint.ExitRuntime)
	}
	hostname := cmp.Or(o.Hostname, o.ID[:min(12, len(o.ID))])
	process := &specs.Process{
		Terminal:        o.Terminal,
		User:            specs.User{Username: cmp.Or(o.User, image.User), Umask: o.Umask},
		Args:            arguments,
		Env:             environment(hostname, o.Terminal, image.Env, o.Env),
		Cwd:             path.Join("/", cmp.Or(o.Workdir, image.WorkingDir)),
		Capabilities:    capabilities(o.Capabilities),
		Rlimits:         o.Rlimits,
		NoNewPrivileges: o.NoNewPrivileges,
		OOMScoreAdj:     o.OOMScoreAdj,
	}
	if err := refuseNUL(process); err != nil {
		return nil, hint.Exit(err, hint.ExitRuntime)
	}
	return &specs.Spec{
		Version:     specs.Version,
		Process:     process,
		Root:        &specs.Root{Path: "rootfs", Readonly: o.ReadOnly},
		Hostname:    hostname,
		Mounts:      mounts(o),
		Annotations: annotations(image, o),
		Linux: &specs.Linux{
			UIDMappings:   mappings(o.UIDs),
			GIDMappings:   mappings(o.GIDs),
			Namespaces:    o.namespaces(),
			Seccomp:       o.Seccomp,
			MaskedPaths:   slices.Clone(maskedPaths),
			ReadonlyPaths: slices.Clone(readonlyPaths),
		},
	}, nil
}

// Command joins entrypoint and arguments: of the options Args and Entrypoint count. An entrypoint of the caller's makes the image's Cmd, which was written for
// the image's own entrypoint, meaningless: Docker drops it too.
func Command(image ocispec.ImageConfig, o Options) []string {
	entrypoint, arguments := image.Entrypoint, image.Cmd
	if o.Entrypoint != nil {
		entrypoint, arguments = nil, nil
		if *o.Entrypoint != "" {
			entrypoint = []string{*o.Entrypoint}
		}
	}
	if len(o.Args) > 0 {
		arguments = o.Args
	}
	return slices.Concat(entrypoint, arguments)
}

// environment lets the image's variables override the defaults, and the caller's override both. Each stands at the
// place where its name came up first.
func environment(hostname string, terminal bool, lists ...[]string) []string {
	env := []string{defaultPath, "HOSTNAME=" + hostname}
	if terminal {
		env = append(env, "TERM=xterm")
	}
	at := map[string]int{} // an image may well have thousands
	for i, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		at[name] = i
	}
	for _, list := range lists {
		for _, variable := range list {
			name, _, hasValue := strings.Cut(variable, "=")
			i, found := at[name]
			switch {
			case name == "":
			case hasValue && found:
				env[i] = variable
			case hasValue:
				at[name] = len(env)
				env = append(env, variable)
			case found:
				env[i] = "" // taken away
				delete(at, name)
			}
		}
	}
	return slices.DeleteFunc(env, func(variable string) bool { return variable == "" })
}

// refuseNUL guards the trust boundary between an image's JSON, where a string may hold a NUL, and execve(2), whose
// strings end at the first one: a program must not see other words than those that were checked and shown.
func refuseNUL(p *specs.Process) error {
	for _, text := range slices.Concat(p.Args, p.Env, []string{p.Cwd, p.User.Username}) {
		if strings.Contains(text, "\x00") {
			return hint.Wrap(fmt.Errorf("%q has a NUL byte", text), "look at the image's configuration with `minipod image inspect`")
		}
	}
	return nil
}

// capabilities leaves the inheritable and ambient sets empty, as Docker does since CVE-2022-24769: a program of an
// ordinary user in the container must not gain capabilities from a file's inheritable bits.
func capabilities(set caps.Set) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: set.Names(), Effective: set.Names(), Permitted: set.Names()}
}

// Namespaces are those that a container has of its own: all but those that are to be the host's. They are known before the rest of its
// specification.
func Namespaces(hosts ...specs.LinuxNamespaceType) (list []specs.LinuxNamespace) {
	for _, kind := range []specs.LinuxNamespaceType{
		specs.UserNamespace, specs.MountNamespace, specs.PIDNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace,
		specs.NetworkNamespace,
	} {
		if !slices.Contains(hosts, kind) {
			list = append(list, specs.LinuxNamespace{Type: kind})
		}
	}
	return list
}

// Has tells whether a container with that specification has a namespace of that kind that is not the host's.
func Has(s *specs.Spec, kind specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == kind })
}

func (o *Options) namespaces() []specs.LinuxNamespace {
	var hosts []specs.LinuxNamespaceType
	for _, one := range []struct {
		kind specs.LinuxNamespaceType
		host bool
	}{{specs.NetworkNamespace, o.HostNetwork}, {specs.PIDNamespace, o.HostPID}, {specs.IPCNamespace, o.HostIPC}} {
		if one.host {
			hosts = append(hosts, one.kind)
		}
	}
	return Namespaces(hosts...) // LAB: host-namespaces
}

func mappings(m idmap.Map) []specs.LinuxIDMapping {
	list := make([]specs.LinuxIDMapping, len(m))
	for i, r := range m {
		list[i] = specs.LinuxIDMapping{ContainerID: r.Container, HostID: r.Host, Size: r.Size}
	}
	return list
}

// annotations are the image's labels, its stop signal and the caller's labels; nil if there is none of them.
func annotations(image ocispec.ImageConfig, o Options) map[string]string {
	var all map[string]string
	set := func(name, value string) {
		if all == nil {
			all = map[string]string{}
		}
		all[name] = value
	}
	for name, value := range image.Labels {
		set(name, value)
	}
	if signal := cmp.Or(o.StopSignal, image.StopSignal); signal != "" {
		set(AnnotationStopSignal, signal)
	}
	for name, value := range o.Labels {
		set(name, value)
	}
	return all
}

// mounts puts the caller's mounts behind the default ones, those nearer to the root first, so that none hides another.
// A mount of the caller's takes the place of the default for its target, and one on /dev of all below it; but the runtime
// must be able to trust /proc, so that one stays, and another on top of it is refused there.
func mounts(o Options) []specs.Mount {
	own := slices.Clone(o.Mounts)
	slices.SortStableFunc(own, func(a, b specs.Mount) int { return depth(a.Destination) - depth(b.Destination) })
	list := slices.DeleteFunc(defaultMounts(o), func(m specs.Mount) bool {
		return m.Destination != "/proc" && slices.ContainsFunc(own, func(mine specs.Mount) bool {
			target := path.Clean(mine.Destination)
			return target == m.Destination || target == "/dev" && strings.HasPrefix(m.Destination, "/dev/")
		})
	})
	return append(list, own...)
}

func depth(target string) int {
	if target = path.Clean(target); target == "/" {
		return 0
	}
	return strings.Count(target, "/")
}

// defaultMounts are Docker's. /sys depends on the network namespace: sysfs shows that namespace's interfaces, so the
// kernel lets only its owner mount one, and with the host's network the host's /sys has to be bound. It is the same with /proc and the pid
// namespace, and with /dev/mqueue and the ipc namespace.
func defaultMounts(o Options) []specs.Mount {
	size := o.ShmSize
	if size == 0 {
		size = DefaultShmSize
	}
	pts := []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}
	const tty = 5
	if o.GIDs.Has(tty) { // devpts refuses a group that doesn't exist
		pts = append(pts, "gid=5")
	}
	sys := specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}}
	if o.HostNetwork {
		sys = host("/sys", "ro")
	}
	proc := specs.Mount{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}}
	if o.HostPID {
		proc = host("/proc")
	}
	list := []specs.Mount{
		proc,
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: pts},
		sys,
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
	}
	if o.HostIPC {
		if o.HostQueues {
			list = append(list, host("/dev/mqueue"))
		}
		return append(list, host("/dev/shm"))
	}
	list = append(list, specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}})
	if o.NoShm {
		return list
	}
	return append(list, specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{
		"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(size, 10),
	}})
}

// host is what the host has at path, with all that is mounted below.
func host(path string, more ...string) specs.Mount {
	return specs.Mount{Destination: path, Type: "bind", Source: path, Options: append([]string{"rbind", "rprivate", "nosuid", "noexec", "nodev"}, more...)}
}

// IsHosts tells a mount that is there because a namespace is the host's from one that somebody asked for.
func IsHosts(s *specs.Spec, m specs.Mount) bool {
	kind, ok := map[string]specs.LinuxNamespaceType{
		"/sys": specs.NetworkNamespace, "/proc": specs.PIDNamespace, "/dev/shm": specs.IPCNamespace, "/dev/mqueue": specs.IPCNamespace,
	}[m.Destination]
	return ok && m.Source == m.Destination && m.Type == "bind" && len(s.Linux.Namespaces) > 0 && !Has(s, kind)
}

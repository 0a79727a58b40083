package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// planOf turns the OCI specification into what the stage does. It is pure, but for the values that the caller puts in after:
// the layers, the compiled seccomp filter, the files of /etc. What the specification holds and we don't do is an error.
func planOf(spec *specs.Spec, uids, gids idmap.Map) (*stage.Plan, error) {
	if spec.Process == nil || spec.Linux == nil || len(spec.Process.Args) == 0 {
		return nil, fmt.Errorf("the specification has no process to run")
	}
	p := &stage.Plan{Hostname: spec.Hostname, Terminal: spec.Process.Terminal}
	p.HostPIDs = sharesHostPIDs(spec)
	var user, shared bool
	for _, ns := range spec.Linux.Namespaces {
		isNew := ns.Path == ""
		shared = shared || !isNew
		switch {
		case ns.Type == specs.NetworkNamespace && isNew:
			p.Loopback = true
		case ns.Type == specs.UTSNamespace && !isNew: // it has its name
			p.Hostname = ""
		case ns.Type == specs.UserNamespace && !isNew:
			user = true
		case (ns.Type == specs.MountNamespace || ns.Type == specs.CgroupNamespace) && !isNew:
			return nil, fmt.Errorf("join the %s namespace %s: a container has one of its own", ns.Type, ns.Path)
		}
	}
	if shared && !user {
		return nil, fmt.Errorf("a namespace can be joined only from within the user namespace that owns it, and the specification has a new one")
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Linux.Sysctl)) {
		if !namespaced(name) {
			return nil, fmt.Errorf("sysctl %q is the whole machine's and not a container's", name)
		}
		p.Sysctls = append(p.Sysctls, name+"="+spec.Linux.Sysctl[name])
	}
	p.Rootfs = rootfs.Plan{
		Devices:       rootfs.DefaultDevices(),
		Masked:        spec.Linux.MaskedPaths,
		ReadOnlyPaths: spec.Linux.ReadonlyPaths,
		ReadOnly:      spec.Root != nil && spec.Root.Readonly,
	}
	kernel := false
	for _, m := range spec.Mounts {
		mount, err := mountOf(m, gids)
		if err != nil {
			return nil, err
		}
		mount.Kernel = p.HostPIDs && mount.Type == "bind" && mount.Source == "/proc" && mount.Target == "/proc" && !kernel
		kernel = kernel || mount.Kernel // the first: a volume of the user's comes after
		p.Rootfs.Mounts = append(p.Rootfs.Mounts, mount)
	}
	if err := processOf(spec.Process, &p.Process); err != nil {
		return nil, err
	}
	p.Process.IDs, p.Process.GIDs = rangesOf(uids), rangesOf(gids)
	p.Process.Setgroups = !gids.Single()
	return p, nil
}

// namespaced tells whether a sysctl belongs to a network or ipc namespace.
func namespaced(name string) bool {
	for _, prefix := range []string{"net.", "kernel.shm", "kernel.msg", "fs.mqueue."} {
		if strings.HasPrefix(name, prefix) && !strings.ContainsAny(name, "/=") && !strings.Contains(name, "..") {
			return true
		}
	}
	return name == "kernel.sem"
}

func processOf(from *specs.Process, to *stage.Process) error {
	to.Args, to.Env, to.Cwd = from.Args, from.Env, from.Cwd
	for _, gid := range from.User.AdditionalGids {
		to.Groups = append(to.Groups, strconv.FormatUint(uint64(gid), 10))
	}
	to.User, to.OOMScoreAdj, to.NoNewPrivileges = from.User.Username, from.OOMScoreAdj, from.NoNewPrivileges
	to.Umask = 0o022
	if from.User.Umask != nil {
		to.Umask = *from.User.Umask
	}
	for _, limit := range from.Rlimits {
		number, ok := linux.RlimitNumber(limit.Type)
		if !ok {
			return fmt.Errorf("unknown resource limit %s", limit.Type)
		}
		to.Rlimits = append(to.Rlimits, stage.Rlimit{Name: limit.Type, Resource: number, Soft: limit.Soft, Hard: limit.Hard})
	}
	if from.Capabilities == nil {
		return nil
	}
	bounding, err := caps.ParseAll(from.Capabilities.Bounding)
	if err != nil {
		return err
	}
	effective, err := caps.ParseAll(from.Capabilities.Effective)
	if err != nil {
		return err
	}
	to.Bounding, to.Capabilities = uint64(bounding), uint64(effective)
	return nil
}

func rangesOf(m idmap.Map) []stage.IDRange {
	ranges := make([]stage.IDRange, len(m))
	for i, r := range m {
		ranges[i] = stage.IDRange{First: r.Container, Count: r.Size}
	}
	return ranges
}

// A word is one of mount(8)'s options and what it means to the kernel.
type word struct {
	name string
	flag uint64
}

func find(words []word, name string) (flag uint64, found bool) {
	i := slices.IndexFunc(words, func(w word) bool { return w.name == name })
	if i < 0 {
		return 0, false
	}
	return words[i].flag, true
}

// attributes are mount(8)'s words that belong to the mount, not to the file system. The empty ones are the default.
var attributes = []word{
	{"ro", linux.AttrRdonly},
	{"nosuid", linux.AttrNosuid},
	{"nodev", linux.AttrNodev},
	{"noexec", linux.AttrNoexec},
	{"noatime", linux.AttrNoatime},
	{"strictatime", linux.AttrStrictatime},
	{"nodiratime", linux.AttrNodiratime},
	{"rw", 0},
	{"suid", 0},
	{"dev", 0},
	{"exec", 0},
	{"relatime", 0},
	{"bind", 0},
	{"rbind", 0},
	{"defaults", 0},
}

var propagations = []word{
	{"private", linux.MsPrivate},
	{"rprivate", linux.MsPrivate},
	{"slave", linux.MsSlave},
	{"rslave", linux.MsSlave},
	{"shared", linux.MsShared},
	{"rshared", linux.MsShared},
}

func mountOf(m specs.Mount, gids idmap.Map) (rootfs.Mount, error) {
	mount := rootfs.Mount{Type: m.Type, Source: m.Source, Target: m.Destination, Optional: m.Type == "cgroup"}
	if m.Type == "none" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind") {
		mount.Type = "bind"
	}
	for _, option := range m.Options {
		if attr, ok := find(attributes, option); ok {
			mount.Attr |= attr
			continue
		}
		if flag, ok := find(propagations, option); ok {
			mount.Propagation = flag
			continue
		}
		if mount.Type == "bind" {
			return mount, fmt.Errorf("mount %s: unknown option %q for a bind", m.Destination, option)
		}
		if option == "gid=5" && !gids.Has(5) { // devpts for group tty, where one id is all that there is
			continue
		}
		mount.Options = append(mount.Options, option)
	}
	if mount.Type == "bind" && !strings.HasPrefix(mount.Source, "/") {
		return mount, fmt.Errorf("mount %s: the source %q is not an absolute path", m.Destination, m.Source)
	}
	return mount, nil
}

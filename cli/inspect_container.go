package cli

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/spec"
)

// containerRecord is docker's `inspect` of a container, with the fields that scripts use (docs.docker.com, Engine API,
// ContainerInspect). The fields have the names that they have in the JSON, so that templates find them. One that has no
// meaning here has docker's value for "none".
type containerRecord struct {
	Id              string
	Created         string
	Path            string
	Args            []string
	State           containerState
	Image           string // the image's ID
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string // "/name"
	RestartCount    int
	Driver          string
	Platform        string
	MountLabel      string
	ProcessLabel    string
	AppArmorProfile string
	ExecIDs         []string
	HostConfig      hostConfig
	SizeRw          *int64 `json:",omitempty"`
	SizeRootFs      *int64 `json:",omitempty"`
	Mounts          []mountPoint
	Config          containerConfig
	NetworkSettings networkSettings
}

// ID is docker's second name for the field, in templates.
func (c *containerRecord) ID() string { return c.Id }

type containerState struct {
	Status                                       string
	Running, Paused, Restarting, OOMKilled, Dead bool
	Pid, ExitCode                                int
	Error, StartedAt, FinishedAt                 string
}

type hostConfig struct {
	Binds           []string
	ContainerIDFile string
	LogConfig       logConfig
	NetworkMode     string
	PortBindings    map[string][]portBinding
	RestartPolicy   restartPolicy
	AutoRemove      bool
	CapAdd, CapDrop []string
	CgroupnsMode    string
	CgroupParent    string
	ExtraHosts      []string
	IpcMode         string
	PidMode         string
	UTSMode         string
	UsernsMode      string
	OomScoreAdj     int
	Privileged      bool
	PublishAllPorts bool
	ReadonlyRootfs  bool
	SecurityOpt     []string
	ShmSize         int64
	Tmpfs           map[string]string `json:",omitempty"`
	Runtime         string
	Init            *bool `json:",omitempty"`
	Ulimits         []ulimit
	resources
	MaskedPaths, ReadonlyPaths []string
}

// resources are limits; 0 is none.
type resources struct {
	Memory, MemoryReservation, MemorySwap int64
	NanoCpus                              int64 // billionths of a processor
	CpuShares                             int64
	CpuPeriod                             int64
	CpuQuota                              int64
	CpusetCpus, CpusetMems                string
	PidsLimit                             *int64
	BlkioWeight                           uint16
}

type logConfig struct {
	Type   string
	Config map[string]string
}

type restartPolicy struct {
	Name              string
	MaximumRetryCount int
}

type ulimit struct {
	Name       string
	Hard, Soft int64
}

type portBinding struct{ HostIp, HostPort string }

type mountPoint struct {
	Type        string
	Name        string `json:",omitempty"`
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
}

type containerConfig struct {
	Hostname, Domainname, User              string
	AttachStdin, AttachStdout, AttachStderr bool
	ExposedPorts                            map[string]struct{} `json:",omitempty"`
	Tty, OpenStdin, StdinOnce               bool
	Env, Cmd                                []string
	Image                                   string // as the user named it
	Volumes                                 map[string]struct{}
	WorkingDir                              string
	Entrypoint                              []string
	Labels                                  map[string]string
	StopSignal                              string
	StopTimeout                             *int `json:",omitempty"`
}

type networkSettings struct {
	SandboxKey                     string
	Ports                          map[string][]portBinding
	Gateway, IPAddress, MacAddress string
	IPPrefixLen                    int
	Networks                       map[string]endpoint
}

type endpoint struct {
	NetworkID, EndpointID, Gateway, IPAddress, MacAddress string
	IPPrefixLen                                           int
	Aliases                                               []string
}

// describe puts together what is known of a container. Only the record always is: where s (what was started), f (what was
// typed) or image is nil, what the others tell has to do.
func describe(r runtime.Record, s *specs.Spec, f *flags.Run, image *ocispec.ImageConfig) containerRecord {
	s = whole(s)
	command := r.Command
	if len(s.Process.Args) > 0 {
		command = s.Process.Args
	}
	c := containerRecord{
		Id: r.ID, Created: timestamp(r.Created), Args: []string{}, State: stateOf(r), RestartCount: r.Restarts, Image: r.ImageID, Name: "/" + r.Name, Platform: "linux",
		Config: configOf(r, s, f, image), HostConfig: hostConfigOf(r, s, f), Mounts: mountsOf(r, s, f),
	}
	if len(command) > 0 {
		c.Path, c.Args = command[0], append(c.Args, command[1:]...)
	}
	c.NetworkSettings = networkSettings{
		Ports: map[string][]portBinding{}, Networks: map[string]endpoint{},
	}
	if mode := c.HostConfig.NetworkMode; mode != "" {
		c.NetworkSettings.Networks[mode] = endpoint{}
	}
	if n := r.Network; n != nil {
		c.NetworkSettings.Gateway, c.NetworkSettings.IPAddress, c.NetworkSettings.MacAddress, c.NetworkSettings.IPPrefixLen = n.Gateway, n.IP, n.MAC, n.Prefix
		c.NetworkSettings.Networks[c.HostConfig.NetworkMode] = endpoint{Gateway: n.Gateway, IPAddress: n.IP, MacAddress: n.MAC, IPPrefixLen: n.Prefix, Aliases: aliasesOf(f)}
		c.NetworkSettings.Ports = bindings(n.Ports, true)
	}
	if r.PID != 0 {
		c.NetworkSettings.SandboxKey = "/proc/" + strconv.Itoa(r.PID) + "/ns/net"
	}
	return c
}

// bindings lists ports as docker does: by the container's. actual are those that are listened at, address by address, and not what was asked for.
func bindings(ports []node.Port, actual bool) map[string][]portBinding {
	list := map[string][]portBinding{}
	for _, p := range ports {
		key := fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)
		if !actual {
			number := ""
			if p.HostPort != 0 {
				number = strconv.Itoa(int(p.HostPort))
			}
			list[key] = append(list[key], portBinding{p.HostIP, number})
			continue
		}
		for _, ip := range hostIPs(p) {
			list[key] = append(list[key], portBinding{ip, strconv.Itoa(int(p.HostPort))})
		}
	}
	return list
}

func aliasesOf(f *flags.Run) []string {
	if f == nil {
		return nil
	}
	return f.Aliases
}

// whole is a copy of s in which the parts that are looked into are there.
func whole(s *specs.Spec) *specs.Spec {
	filled := value(s)
	if filled.Process == nil {
		filled.Process = &specs.Process{}
	}
	if filled.Linux == nil {
		filled.Linux = &specs.Linux{}
	}
	return &filled
}

// timestamp is docker's; a time that never came is the year 1.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func stateOf(r runtime.Record) containerState {
	state := containerState{
		Status: r.Status, Running: r.Live(), Dead: r.Status == runtime.StatusDead, // docker's Running is true for the two beside it, too
		Paused: r.Status == runtime.StatusPaused, Restarting: r.Status == runtime.StatusRestarting, OOMKilled: r.OOMKilled, Error: r.Error,
		Pid: r.PID, ExitCode: r.ExitCode, StartedAt: timestamp(r.Started), FinishedAt: timestamp(r.Finished),
	}
	return state
}

func configOf(r runtime.Record, s *specs.Spec, f *flags.Run, image *ocispec.ImageConfig) containerConfig {
	if image == nil {
		image = &ocispec.ImageConfig{}
	}
	c := containerConfig{
		Hostname: cmp.Or(s.Hostname, r.ID[:min(12, len(r.ID))]), User: cmp.Or(s.Process.User.Username, image.User),
		Tty: s.Process.Terminal, Env: image.Env, Image: r.Image, Volumes: image.Volumes, ExposedPorts: image.ExposedPorts,
		WorkingDir: cmp.Or(s.Process.Cwd, image.WorkingDir), Labels: map[string]string{},
		StopSignal: cmp.Or(s.Annotations[spec.AnnotationStopSignal], image.StopSignal),
	}
	maps.Copy(c.Labels, image.Labels)
	maps.Copy(c.Labels, r.Labels)
	c.Entrypoint, c.Cmd = splitCommand(r.Command, image.Entrypoint)
	if len(s.Process.Env) > 0 {
		c.Env = s.Process.Env
	}
	if f == nil {
		return c
	}
	if len(f.Publish)+len(f.Expose) > 0 {
		c.ExposedPorts = maps.Clone(c.ExposedPorts)
		if c.ExposedPorts == nil {
			c.ExposedPorts = map[string]struct{}{}
		}
		for _, p := range slices.Concat(f.Publish, f.Expose) {
			c.ExposedPorts[fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)] = struct{}{}
		}
	}
	c.User, c.WorkingDir = cmp.Or(f.User, c.User), cmp.Or(f.Workdir, c.WorkingDir)
	c.Hostname = cmp.Or(s.Hostname, f.Hostname, c.Hostname)
	c.Tty, c.OpenStdin, c.StdinOnce, c.AttachStdin = f.TTY, f.Interactive, f.Interactive, f.Interactive
	c.AttachStdout, c.AttachStderr = true, true
	if len(s.Process.Env) == 0 {
		c.Env = slices.Concat(image.Env, f.Env)
	}
	switch {
	case f.Entrypoint == nil:
		c.Entrypoint, c.Cmd = image.Entrypoint, image.Cmd
	case *f.Entrypoint == "":
		c.Entrypoint, c.Cmd = nil, nil
	default:
		c.Entrypoint, c.Cmd = []string{*f.Entrypoint}, nil
	}
	if len(f.Args) > 0 {
		c.Cmd = f.Args
	}
	return c
}

// splitCommand takes a command apart that was the image's entrypoint and what followed it, or had no entrypoint.
func splitCommand(command, entrypoint []string) (first, rest []string) {
	n := len(entrypoint)
	if n == 0 || len(command) < n || !slices.Equal(command[:n], entrypoint) {
		return nil, command
	}
	return entrypoint, command[n:]
}

func hostConfigOf(r runtime.Record, s *specs.Spec, f *flags.Run) hostConfig {
	h := hostConfig{
		LogConfig: logConfig{Type: "none", Config: map[string]string{}}, PortBindings: map[string][]portBinding{},
		RestartPolicy: restartPolicy{Name: "no"}, AutoRemove: r.Remove, CgroupnsMode: "private", IpcMode: "shareable", Runtime: "minipod",
		ReadonlyRootfs: s.Root != nil && s.Root.Readonly, Ulimits: []ulimit{}, resources: resourcesOf(s.Linux.Resources),
		MaskedPaths: s.Linux.MaskedPaths, ReadonlyPaths: s.Linux.ReadonlyPaths,
	}
	switch {
	case seesHostNetwork(s):
		h.NetworkMode = "host"
	case len(s.Linux.Namespaces) > 0:
		h.NetworkMode = "none" // its own, with a loopback alone
	}
	if adjusted := s.Process.OOMScoreAdj; adjusted != nil {
		h.OomScoreAdj = *adjusted
	}
	for _, l := range s.Process.Rlimits { // -1 is docker's infinity, and what the kernel's is as a signed number
		h.Ulimits = append(h.Ulimits, ulimit{strings.ToLower(strings.TrimPrefix(l.Type, "RLIMIT_")), int64(l.Hard), int64(l.Soft)})
	}
	if f == nil {
		return h
	}
	h.NetworkMode, h.IpcMode = cmp.Or(f.Network, h.NetworkMode, "none"), cmp.Or(f.IPC, h.IpcMode)
	h.PidMode, h.UTSMode = f.PID, f.UTS // private is "" in docker, too
	h.RestartPolicy = restartPolicy{cmp.Or(f.Restart.Name, "no"), f.Restart.Maximum}
	h.CapAdd, h.CapDrop, h.ReadonlyRootfs, h.Init = f.CapAdd, f.CapDrop, f.ReadOnly, &f.Init
	h.ShmSize = cmp.Or(f.ShmSize, spec.DefaultShmSize)
	var published []node.Port
	for _, p := range f.Publish {
		published = append(published, node.Port(p))
	}
	h.PortBindings, h.PublishAllPorts = bindings(published, false), f.PublishAll
	for _, host := range f.AddHosts {
		h.ExtraHosts = append(h.ExtraHosts, host.Name+":"+host.Addr)
	}
	if f.NoNewPrivileges {
		h.SecurityOpt = append(h.SecurityOpt, "no-new-privileges")
	}
	if f.Seccomp != "" {
		h.SecurityOpt = append(h.SecurityOpt, "seccomp="+f.Seccomp)
	}
	for _, m := range f.Mounts {
		switch {
		case m.Type == "tmpfs":
			if h.Tmpfs == nil {
				h.Tmpfs = map[string]string{}
			}
			h.Tmpfs[m.Target] = strings.Join(m.Options, ",")
		case m.Source != "": // docker does not list anonymous volumes here
			bind := m.Source + ":" + m.Target
			if slices.Contains(m.Options, "ro") {
				bind += ":ro"
			}
			h.Binds = append(h.Binds, bind)
		}
	}
	return h
}

// seesHostNetwork tells it by the specification, which also knows of a container that shares the network of one on the host's.
func seesHostNetwork(s *specs.Spec) bool {
	return len(s.Linux.Namespaces) > 0 && !slices.ContainsFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.NetworkNamespace })
}

func resourcesOf(from *specs.LinuxResources) (r resources) {
	if from == nil {
		return r
	}
	if m := from.Memory; m != nil {
		r.Memory, r.MemoryReservation, r.MemorySwap = value(m.Limit), value(m.Reservation), value(m.Swap)
	}
	if c := from.CPU; c != nil {
		r.CpuShares, r.CpuPeriod = int64(value(c.Shares)), int64(value(c.Period))
		r.CpuQuota, r.CpusetCpus, r.CpusetMems = value(c.Quota), c.Cpus, c.Mems
		if r.CpuQuota > 0 && r.CpuPeriod > 0 {
			const one = 1_000_000_000
			r.NanoCpus = r.CpuQuota * one / r.CpuPeriod // quotas are microseconds: hours of them fit
		}
	}
	if p := from.Pids; p != nil {
		r.PidsLimit = p.Limit
	}
	if b := from.BlockIO; b != nil {
		r.BlkioWeight = value(b.Weight)
	}
	return r
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// mountsOf are the mounts that somebody asked for. The specification has them all, with the folders of volumes, and the
// usual ones besides; the flags know of no volume that the image wants.
func mountsOf(r runtime.Record, s *specs.Spec, f *flags.Run) []mountPoint {
	list := []mountPoint{}
	tmpfs := map[string]bool{}
	if f != nil {
		for _, m := range f.Mounts {
			tmpfs[m.Target] = m.Type == "tmpfs"
		}
	}
	for _, m := range s.Mounts {
		isBind := m.Type == "bind" || slices.Contains(m.Options, "rbind") || slices.Contains(m.Options, "bind")
		if spec.IsHosts(s, m) {
			continue // ours, not theirs
		}
		switch {
		case isBind:
			list = append(list, bindOf(r, m))
		case m.Type == "tmpfs" && tmpfs[m.Destination]:
			list = append(list, mountPoint{Type: "tmpfs", Destination: m.Destination, RW: !slices.Contains(m.Options, "ro")})
		}
	}
	if len(s.Mounts) > 0 {
		return list
	}
	if f != nil {
		for _, m := range f.Mounts {
			list = append(list, typedMount(m))
		}
		return list
	}
	for _, name := range r.Volumes {
		list = append(list, mountPoint{Type: "volume", Name: name, Driver: "local", RW: true})
	}
	return list
}

func bindOf(r runtime.Record, m specs.Mount) mountPoint {
	p := mountPoint{Type: "bind", Source: m.Source, Destination: m.Destination, RW: true, Propagation: "rprivate"}
	for _, option := range m.Options {
		switch {
		case option == "ro":
			p.RW, p.Mode = false, "ro"
		case strings.HasSuffix(option, "private") || strings.HasSuffix(option, "slave") || strings.HasSuffix(option, "shared"):
			p.Propagation = option
		}
	}
	for _, name := range r.Volumes { // volumes/NAME/_data
		if path.Base(m.Source) == "_data" && path.Base(path.Dir(m.Source)) == name {
			p.Type, p.Name, p.Driver, p.Propagation = "volume", name, "local", ""
		}
	}
	return p
}

func typedMount(m flags.Mount) mountPoint {
	p := bindOf(runtime.Record{}, specs.Mount{Source: m.Source, Destination: m.Target, Options: m.Options})
	p.Type = m.Type
	switch m.Type {
	case "volume":
		p.Name, p.Source, p.Driver, p.Propagation = m.Source, "", "local", ""
	case "tmpfs":
		p.Propagation = ""
	}
	return p
}

package flags

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
)

// Run is the command line of `minipod run`, checked and with the caller's environment, files and working folder worked
// in. What only an image or the kernel can tell (does the user exist, the mount's source, the limit) isn't checked.
type Run struct {
	Image string
	Args  []string // the command that replaces the image's, or nil

	Interactive, TTY, Remove, ReadOnly, Quiet bool

	Name, Workdir, User, Hostname string

	Entrypoint *string  // nil: the image's; "": none
	Env        []string // NAME=VALUE; a bare NAME takes the image's variable away
	Labels     []string // NAME=VALUE
	AddHosts   []Host

	Mounts  []Mount // in the order given, each target once
	ShmSize int64   // bytes, 0: the default

	CapAdd, CapDrop []string // as given
	NoNewPrivileges bool     // true unless switched off
	Seccomp         string   // "": the default profile; "unconfined"; or the absolute path of a profile
	Ulimits         []Ulimit

	Resources Resources

	Pull     string   // missing, always or never
	Platform string   // "": this machine's
	Network  string   // "": the configured default; pod, none, host or container:NAME
	Publish  []Port   // -p
	Expose   []Port   `json:",omitempty"`
	Aliases  []string `json:",omitempty"` // more names in the pod network
	IPC      string   // "": the default; private, shareable, none or container:NAME
	UTS      string   // "": private; or container:NAME
	PID      string   // "": private; or container:NAME
	Pod      string   // the pod to put the container into

	Detach      bool // leave it running
	Restart     RestartPolicy
	StopSignal  int // 0: the image's, or SIGTERM
	StopTimeout int // seconds; -1: never

	PublishAll bool `json:",omitempty"` // what the image exposes, and Expose, at any free ports

	Init        bool // the command runs under our PID 1; otherwise it is PID 1 itself
	SigProxy    bool
	OOMScoreAdj *int
	Umask       *uint32

	Log Log

	Without []string // steps of the start to leave out, in a lab
	Explain string   // "": no, "text" or "json"
	Step    bool

	Warnings []string // what was accepted and means nothing here

	env, envFiles, labels, labelFiles []string
}

// ParseRun reads the arguments that follow "run". Its errors ask for docker's exit status 125, and each has a hint.
// --help is ErrHelp.
func ParseRun(arguments []string) (*Run, error) {
	run, err := parseRun(arguments)
	if err == nil || errors.Is(err, ErrHelp) {
		return run, err
	}
	if hint.Of(err) == "" {
		err = hint.Wrap(err, "run `minipod run --help`")
	}
	return nil, hint.Exit(err, hint.ExitRuntime)
}

func parseRun(arguments []string) (*Run, error) {
	settings, rest, err := Parse(RunFlags(), arguments)
	if err != nil {
		return nil, err
	}
	if len(rest) == 0 {
		return nil, hint.Wrap(errors.New("run needs an image"), "name one: `minipod run alpine`")
	}
	run := &Run{Image: rest[0], NoNewPrivileges: true, Pull: "missing", Init: true, SigProxy: true, StopTimeout: defaultStopTimeout}
	if len(rest) > 1 {
		run.Args = rest[1:]
	}
	for _, s := range settings {
		if err := assign(run.target(s.Flag.Name), s.Value); err != nil {
			return nil, fmt.Errorf("--%s: %w", s.Flag.Name, err)
		}
	}
	return run, run.finish()
}

// target is where the value of the flag with this name goes.
func (r *Run) target(name string) any {
	if i := slices.IndexFunc(runFlags, func(f runFlag) bool { return f.Name == name }); i >= 0 {
		return runFlags[i].target(r)
	}
	return func(value string) error { return r.Resources.Set(name, value) }
}

// finish does what needs all the flags: files of variables come before single ones, and targets are unique.
func (r *Run) finish() (err error) {
	if r.Remove && r.Restart.Name != "" && r.Restart.Name != "no" {
		return hint.Wrap(errors.New("conflicting options: --rm and --restart"), "leave one of them out")
	}
	if err := r.checkShared(); err != nil {
		return err
	}
	if r.Env, err = variables(r.envFiles, r.env); err != nil {
		return err
	}
	if r.Labels, err = labels(r.labelFiles, r.labels); err != nil {
		return err
	}
	warnings, err := r.Resources.Check()
	if err != nil {
		return err
	}
	r.Warnings = append(r.Warnings, warnings...)
	for i, m := range r.Mounts {
		if slices.ContainsFunc(r.Mounts[:i], func(other Mount) bool { return other.Target == m.Target }) {
			return hint.Wrap(fmt.Errorf("duplicate mount point: %s", m.Target), "mount one thing there")
		}
	}
	return nil
}

// assign stores value where the table says.
func assign(target any, value string) error {
	switch t := target.(type) {
	case *bool:
		*t = value == "true"
	case *string:
		*t = value
	case *[]string:
		*t = append(*t, value)
	case func(string) error:
		return t(value)
	}
	return nil
}

// RunFlags is the table of `minipod run`, sorted by name. Two tables make it up, here and not in a variable: what a variable needs
// the program to compute happens before main, whatever the verb.
func RunFlags() []Flag {
	table := make([]Flag, len(runFlags), len(runFlags)+len(resourceFlags))
	for i, f := range runFlags {
		table[i] = f.Flag
	}
	table = append(table, ResourceFlags()...)
	slices.SortFunc(table, func(a, b Flag) int { return strings.Compare(a.Name, b.Name) })
	return table
}

// runFlag is a flag and where its value goes: a *bool, a *string, a *[]string to append to, or a func(string) error.
type runFlag struct {
	Flag
	target func(*Run) any
}

var runFlags = []runFlag{
	{Flag{Name: "add-host", Kind: Strings, Value: "NAME:IP", Usage: "add a line to /etc/hosts"}, func(r *Run) any { return r.addHost }},
	{Flag{Name: "cap-add", Kind: Strings, Value: "CAPABILITY", Usage: "add a capability, or ALL"}, func(r *Run) any { return &r.CapAdd }},
	{Flag{Name: "cap-drop", Kind: Strings, Value: "CAPABILITY", Usage: "drop a capability, or ALL"}, func(r *Run) any { return &r.CapDrop }},
	{Flag{Name: "detach", Short: "d", Kind: Bool, Usage: "leave the container running and print its id"}, func(r *Run) any { return &r.Detach }},
	{Flag{Name: "entrypoint", Kind: String, Value: "COMMAND", Usage: "replace the image's entrypoint (\"\": none)"}, func(r *Run) any { return r.setEntrypoint }},
	{Flag{Name: "env", Short: "e", Kind: Strings, Value: "NAME[=VALUE]", Usage: "set a variable, or hand yours on"}, func(r *Run) any { return &r.env }},
	{Flag{Name: "env-file", Kind: Strings, Value: "FILE", Usage: "set the variables of a file, one a line"}, func(r *Run) any { return &r.envFiles }},
	{Flag{Name: "explain", Kind: Optional, Value: "json", Usage: "tell each step on stderr as it happens"}, func(r *Run) any { return r.setExplain }},
	{Flag{Name: "expose", Kind: Strings, Value: "PORT[/PROTOCOL]", Usage: "say that it listens there, for --publish-all"}, func(r *Run) any { return r.addExpose }},
	{Flag{Name: "hostname", Short: "h", Kind: String, Value: "NAME", Usage: "the container's host name"}, func(r *Run) any { return r.setHostname }},
	{Flag{Name: "init", Kind: Bool, Default: "true", Usage: "run the command under minipod's PID 1"}, func(r *Run) any { return &r.Init }},
	{Flag{Name: "interactive", Short: "i", Kind: Bool, Usage: "hand stdin to the command"}, func(r *Run) any { return &r.Interactive }},
	{Flag{Name: "ipc", Kind: String, Value: "shareable|private|none|host|container:NAME", Default: "shareable", Usage: "whose System V IPC and /dev/shm it has, and who may join its"}, func(r *Run) any { return r.setIPC }},
	{Flag{Name: "label", Short: "l", Kind: Strings, Value: "NAME[=VALUE]", Usage: "label the container"}, func(r *Run) any { return &r.labels }},
	{Flag{Name: "label-file", Kind: Strings, Value: "FILE", Usage: "label the container as a file says, one a line"}, func(r *Run) any { return &r.labelFiles }},
	{Flag{Name: "log-driver", Kind: String, Value: "json-file|none", Default: "json-file", Usage: "whether what the command prints is kept"}, func(r *Run) any { return r.setLogDriver }},
	{Flag{Name: "log-opt", Kind: Strings, Value: "KEY=VALUE", Usage: "how long its log may grow: max-size=10m, max-file=3"}, func(r *Run) any { return r.addLogOpt }},
	{Flag{Name: "mount", Kind: Strings, Value: "KEY=VALUE,…", Usage: "mount a bind, volume or tmpfs"}, func(r *Run) any { return r.addMount }},
	{Flag{Name: "name", Kind: String, Value: "NAME", Usage: "the container's name"}, func(r *Run) any { return r.setName }},
	{Flag{Name: "network", Alias: "net", Kind: String, Value: "pod|none|host|container:NAME", Default: "pod", Usage: "which network the container sees"}, func(r *Run) any { return r.setNetwork }},
	{Flag{Name: "network-alias", Alias: "net-alias", Kind: Strings, Value: "NAME", Usage: "another name that other containers know it by"}, func(r *Run) any { return r.addAlias }},
	{Flag{Name: "oom-score-adj", Kind: Int, Value: "NUMBER", Usage: "whom the kernel kills first, -1000 to 1000"}, func(r *Run) any { return r.setOOMScoreAdj }},
	{Flag{Name: "pid", Kind: String, Value: "private|host|container:NAME", Usage: "private: the command is PID 1 itself, like --init=false; else whose processes it lives among"}, func(r *Run) any { return r.setPID }},
	{Flag{Name: "platform", Kind: String, Value: "OS/ARCH", Usage: "which of an image's platforms to pull"}, func(r *Run) any { return &r.Platform }},
	{Flag{Name: "pod", Kind: String, Value: "NAME", Usage: "put the container into this pod, with -d: see minipod pod create"}, func(r *Run) any { return &r.Pod }},
	{Flag{Name: "privileged", Kind: Bool, Usage: "not possible without root: see --cap-add"}, func(*Run) any { return refusePrivileged }},
	{Flag{Name: "publish", Short: "p", Kind: Strings, Value: "[IP:][HOST:]PORT[/udp]", Usage: "let the host's port lead to the container's"}, func(r *Run) any { return r.addPublish }},
	{Flag{Name: "publish-all", Short: "P", Kind: Bool, Usage: "publish all exposed ports at free ones of the host"}, func(r *Run) any { return &r.PublishAll }},
	{Flag{Name: "pull", Kind: String, Value: "missing|always|never", Default: "missing", Usage: "when to pull the image"}, func(r *Run) any { return oneOf(&r.Pull, "missing", "always", "never") }},
	{Flag{Name: "quiet", Short: "q", Kind: Bool, Usage: "pull without telling"}, func(r *Run) any { return &r.Quiet }},
	{Flag{Name: "read-only", Kind: Bool, Usage: "mount the container's root read-only"}, func(r *Run) any { return &r.ReadOnly }},
	{Flag{Name: "restart", Kind: String, Value: "POLICY", Default: "no", Usage: "start it again when it ends: no, always, unless-stopped, on-failure[:N]"}, func(r *Run) any { return r.setRestart }},
	{Flag{Name: "rm", Kind: Bool, Usage: "remove the container when it ends"}, func(r *Run) any { return &r.Remove }},
	{Flag{Name: "security-opt", Kind: Strings, Value: "OPTION", Usage: "no-new-privileges[=false] or seccomp=unconfined|FILE"}, func(r *Run) any { return r.addSecurityOpt }},
	{Flag{Name: "shm-size", Kind: String, Value: "BYTES", Default: "64m", Usage: "the size of /dev/shm"}, func(r *Run) any { return r.setShmSize }},
	{Flag{Name: "sig-proxy", Kind: Bool, Default: "true", Usage: "hand signals on to the command"}, func(r *Run) any { return &r.SigProxy }},
	{Flag{Name: "step", Kind: Bool, Usage: "wait for Enter between the steps of the start"}, func(r *Run) any { return &r.Step }},
	{Flag{Name: "stop-signal", Kind: String, Value: "SIGNAL", Usage: "what `minipod stop` sends first (the image's, else TERM)"}, func(r *Run) any { return r.setStopSignal }},
	{Flag{Name: "stop-timeout", Kind: Int, Value: "SECONDS", Default: "10", Usage: "how long `minipod stop` waits before it kills; -1: for ever"}, func(r *Run) any { return r.setStopTimeout }},
	{Flag{Name: "tmpfs", Kind: Strings, Value: "TARGET[:OPTIONS]", Usage: "mount a tmpfs"}, func(r *Run) any { return r.addTmpfs }},
	{Flag{Name: "tty", Short: "t", Kind: Bool, Usage: "give the command a terminal"}, func(r *Run) any { return &r.TTY }},
	{Flag{Name: "ulimit", Kind: Strings, Value: "NAME=SOFT[:HARD]", Usage: "set a resource limit (-1: none)"}, func(r *Run) any { return r.addUlimit }},
	{Flag{Name: "umask", Kind: String, Value: "OCTAL", Default: "0022", Usage: "the command's umask"}, func(r *Run) any { return r.setUmask }},
	{Flag{Name: "user", Short: "u", Kind: String, Value: "USER[:GROUP]", Usage: "run as this user of the image, name or number"}, func(r *Run) any { return &r.User }},
	{Flag{Name: "uts", Kind: String, Value: "private|container:NAME", Default: "private", Usage: "whose host name it has"}, func(r *Run) any { return r.setUTS }},
	{Flag{Name: "volume", Short: "v", Kind: Strings, Value: "[SOURCE:]TARGET[:OPTIONS]", Usage: "mount a folder, file or volume"}, func(r *Run) any { return r.addVolume }},
	{Flag{Name: "without", Kind: Strings, Value: "STEP", Usage: "leave a step of the start out; in a lab only (minipod lab)"}, func(r *Run) any { return &r.Without }},
	{Flag{Name: "workdir", Short: "w", Kind: String, Value: "FOLDER", Usage: "the command's working folder"}, func(r *Run) any { return r.setWorkdir }},
}

func oneOf(target *string, allowed ...string) func(string) error {
	return func(value string) error {
		if !slices.Contains(allowed, value) {
			return hint.Wrap(fmt.Errorf("unknown value %q", value), "use "+strings.Join(allowed, " or "))
		}
		*target = value
		return nil
	}
}

func (r *Run) setEntrypoint(value string) error {
	r.Entrypoint = &value
	return nil
}

func (r *Run) setExplain(value string) error {
	if value == "" {
		value = "text"
	}
	return oneOf(&r.Explain, "text", "json")(value)
}

// setHostname checks what sethostname(2) would refuse, and what no program would believe.
func (r *Run) setHostname(value string) error {
	const longest = 64 // __NEW_UTS_LEN
	if value == "" || len(value) > longest || !only(value, lettersAndDigits+"-._") {
		return hint.Wrap(fmt.Errorf("invalid host name %q", value), "use up to 64 letters, digits, dots and hyphens")
	}
	r.Hostname = value
	return nil
}

func (r *Run) setName(value string) error {
	r.Name = value
	return CheckName(value)
}

// CheckName checks the name of a container.
func CheckName(name string) error {
	if len(name) < 2 || len(name) > 200 || !isName(name) { // it is a file's name, too
		return hint.Wrap(fmt.Errorf("invalid container name %q", name), "use letters, digits, _ . and -, 2 to 200 of them, beginning with a letter or digit")
	}
	return nil
}

func (r *Run) setOOMScoreAdj(value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < -1000 || n > 1000 {
		return hint.Wrap(fmt.Errorf("invalid value %s", value), "use a number from -1000 (last to be killed) to 1000 (first)")
	}
	r.OOMScoreAdj = &n
	return nil
}

func refusePrivileged(value string) error {
	if value == "false" {
		return nil
	}
	return hint.Wrap(errors.New("there is no root here whose privileges the container could have"),
		"use --cap-add, --security-opt seccomp=unconfined or -v for what the command needs")
}

func (r *Run) setShmSize(value string) (err error) {
	r.ShmSize, err = parseSize(value)
	return err
}

func (r *Run) setUmask(value string) error {
	n, err := strconv.ParseUint(value, 8, 32)
	if err != nil || n > 0o777 {
		return hint.Wrap(fmt.Errorf("invalid umask %q", value), "use an octal number from 0 to 0777")
	}
	mask := uint32(n)
	r.Umask = &mask
	return nil
}

func (r *Run) setWorkdir(value string) error {
	if !path.IsAbs(value) {
		return hint.Wrap(fmt.Errorf("the working folder %q is not absolute", value), "begin it with /")
	}
	r.Workdir = path.Clean(value)
	return nil
}

package doctor

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/state"
)

// Status is the outcome of a check.
type Status string

// The outcomes.
const (
	OK   Status = "ok"
	Warn Status = "warn" // containers run, something is worse than it could be
	Fail Status = "fail" // containers don't run
	Skip Status = "skip" // does not apply here, or can't be told
)

// A Result is what one check found. Why and Fix matter only when Status is Warn or Fail.
type Result struct {
	Name     string   `json:"name"`  // stable, for scripts
	Title    string   `json:"title"` // for people
	Status   Status   `json:"status"`
	Evidence []string `json:"evidence"`      // the file or the call, what it answered, what was wanted
	Why      string   `json:"why"`           // what does not work, or works worse, without it
	Fix      []string `json:"fix,omitempty"` // shell commands; a line that starts with "#" is advice
}

// An Env is the machine as the checks see it: files below Root, and the calls that no file answers. Host fills it in.
type Env struct {
	Root   string // "" for the real one; goes before every absolute path that is read
	UID    int
	GID    int
	User   string // login name
	Exe    string // our own binary, links resolved: AppArmor goes by that path
	Dirs   state.Dirs
	Config *config.Config
	Getenv func(string) string

	Language lang.Lang // of what people read: Title, Evidence, Why, and the advice in Fix

	LookPath  func(program string) (string, error)
	TryUserns func() error
	IDs       func(uid, gid int) (uids, gids idmap.Map, warning, err error)
	Statfs    func(path string) (linux.FileSystem, error)
	HasCaps   func(path string) bool  // file capabilities
	Open      func(path string) error // for reading and writing, and close again
	// Storage probes overlay below the data folder, in a user namespace. The caller has the means to get into one.
	Storage func(context.Context) (rootfs.Probed, error)
	// Ping asks a registry's base URL ("https://host/v2/") for any answer at all.
	Ping func(ctx context.Context, url string, insecure bool) error
}

// Host is the machine that we run on. storage runs rootfs.Probe in a user namespace; nil skips that check.
func Host(d state.Dirs, c *config.Config, storage func(context.Context) (rootfs.Probed, error)) (Env, error) {
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return Env{}, err
	}
	uid := os.Getuid()
	name := strconv.Itoa(uid) // usermod and loginctl need a name, but a user of a name service may be unknown to us
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return Env{
		UID: uid, GID: os.Getgid(), User: name, Exe: exe, Dirs: d, Config: c, Getenv: os.Getenv,
		LookPath: exec.LookPath, TryUserns: linux.TryUserns, IDs: idmap.ForUser, Statfs: linux.Statfs,
		HasCaps: linux.HasFileCapabilities, Open: open, Storage: storage, Ping: ping,
	}, nil
}

func open(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// Run makes every check, in the order in which they should be read: what stands on a failed one is skipped. A registry
// that doesn't answer costs three seconds; ctx cuts that short.
func Run(ctx context.Context, e Env) []Result {
	m := &machine{Env: e}
	var results []Result
	for _, c := range []struct {
		name, title string
		why         string
		run         func(*machine, context.Context) finding
	}{
		{"kernel", "Linux 5.12 or newer", "mounts are made by calls that came with it (mount_setattr), and overlay in a user namespace came with 5.11", (*machine).kernel},
		{"userns", "user namespaces", "a container's root is an ordinary user outside, and nothing runs without that", (*machine).userns},
		{"proc", "a /proc that is whole", "the kernel mounts a container's own proc only where another one is in sight with nothing of it covered", (*machine).proc},
		{"subuid", "subordinate ids", "with one id a container has only root: files of other owners become root's, and programs can't change user", (*machine).subuid},
		{"newuidmap", "newuidmap and newgidmap", "only these two programs may map the subordinate ids into a namespace", (*machine).newuidmap},
		{"seccomp", "seccomp filters", "every container gets Docker's filter of system calls, and does not start without", (*machine).seccomp},
		{"overlay", "overlay in a user namespace", "without it each container copies its image, or each file goes through a program", (*machine).overlay},
		{"fuse-overlayfs", "fuse-overlayfs", "where the kernel's overlay does not work it saves copying the image", (*machine).fuseOverlayfs},
		{"data", "the data folder", "images are unpacked there, with owners, attributes and modes that not every file system keeps", (*machine).data},
		{"tun", "/dev/net/tun", "a network of the pod's own reaches the world through it (--network none and host do not)", (*machine).tun},
		{"cgroup", "cgroup v2 and delegation", "limits of memory, processors and processes need controllers that are yours", (*machine).cgroup},
		{"runtime-dir", "XDG_RUNTIME_DIR", "sockets and locks belong into a folder that a reboot clears; else they go below the data folder", (*machine).runtimeDir},
		{"linger", "lingering", "systemd ends your processes, background containers among them, when you log out", (*machine).linger},
		{"registry", "registries", "images come from there; what is stored already runs without", (*machine).registries},
	} {
		f := c.run(m, ctx)
		results = append(results, Result{c.name, m.say(c.title), f.status, f.evidence, m.say(c.why), f.fix})
	}
	return results
}

// A finding is the part of a Result that a check finds out.
type finding struct {
	status   Status
	evidence []string
	fix      []string
}

// machine is an Env, with what earlier checks found out for later ones.
type machine struct {
	Env
	namespaces bool // user namespaces can be made
	ranges     bool // there are subordinate ids to map
	overlaid   bool // the kernel's overlay works
}

// say is a sentence in the reader's language: the English format is the key of lang's catalogue.
func (m *machine) say(format string, v ...any) string { return m.Language.Say(format, v...) }

// readFile is os.ReadFile below Root.
func (m *machine) readFile(name string) ([]byte, error) { return os.ReadFile(m.Root + name) }

// read returns a file's text without space around, and "" where it can't be read.
func (m *machine) read(name string) string {
	data, err := m.readFile(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func (m *machine) exists(name string) bool {
	_, err := os.Stat(m.Root + name)
	return err == nil
}

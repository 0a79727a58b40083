package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/runtime/userns"
)

// A Config is what Start needs beside the container's record: the bundle, and what does not outlive this process.
type Config struct {
	Bundle
	Flatten func(dst string, lowers []string) error // merges the layers, where Storage says so: in the user's id range
	Stdio   [3]*os.File
	Cgroup  *os.File       // the container's group, that it is born in; nil: ours
	Sandbox *stage.Sandbox // forked beforehand; nil: Start forks it
	Node    *node.Node     // where Bundle.Attach is set; nil: Start opens it. A sandbox that was forked beforehand has its user namespace as the parent

	Record sync.Locker // held while the container's record changes; nil: nobody else sees it

	Narrate func(stage.Event)       // nil: quiet
	Pause   func(stage.Event) error // nil: don't wait
}

// Start starts the container's sandbox and returns when its command runs. On an error nothing of it is left but the folder;
// a sandbox in cfg is abandoned.
// The calling goroutine must be locked to its thread, as stage.Start says.
func (c *Container) Start(cfg *Config) (sandbox *stage.Sandbox, err error) {
	sandbox = cfg.Sandbox
	defer func() {
		if err != nil && sandbox != nil {
			err = errors.Join(err, sandbox.Abandon())
			sandbox = nil // who would wait for it would wait for nobody
		}
	}()
	joins, err := c.join(cfg)
	if err != nil {
		return sandbox, err
	}
	defer joins.close()
	network, err := c.open(cfg)
	if err != nil {
		return sandbox, err
	}
	defer network.close()
	plan, err := c.plan(cfg)
	if err != nil {
		return sandbox, err
	}
	if err := c.makeTree(cfg, plan); err != nil {
		return sandbox, err
	}
	if sandbox == nil {
		if err := joins.share(plan, cfg.Borrow); err != nil {
			return nil, err
		}
		if sandbox, err = c.fork(cfg, joins, network.users()); err != nil {
			return nil, err
		}
	}
	if sandbox.Namespaces != flagsOf(cfg.Spec.Linux.Namespaces) {
		return sandbox, errors.New("the sandbox has other namespaces than the specification")
	}
	birth, err := linux.StartTime(sandbox.PID) // of our own child, which we have not waited for: its number is its own
	if err != nil {
		return sandbox, err
	}
	lease, err := network.attach(sandbox.PID, birth, joins)
	if err != nil {
		return sandbox, err
	}
	network.tell(cfg.Narrate, lease)
	if cfg.Names {
		introduce(plan, cfg.Spec.Hostname, lease)
	}
	options := stage.Options{Plan: plan, Narrate: cfg.Narrate, Pause: cfg.Pause}
	if cfg.Storage.Driver == rootfs.FuseOverlayfs {
		options.Prepare = func(pid int) error { return mountFuse(pid, cfg.Fuse, &plan.Rootfs) }
	}
	if err := sandbox.Start(options); err != nil {
		return sandbox, err
	}
	if cfg.Record != nil {
		cfg.Record.Lock()
		defer cfg.Record.Unlock()
	}
	c.Status, c.PID, c.Birth, c.Started, c.Finished, c.Error = StatusRunning, sandbox.PID, birth, time.Now(), time.Time{}, ""
	c.Network = network.own(lease)
	return sandbox, nil
}

// A Nascent is what must be known of a container to fork its sandbox, before the rest is found out.
type Nascent struct {
	Name         string
	Namespaces   []specs.LinuxNamespace
	Capabilities caps.Set // the bounding set
	UIDs, GIDs   idmap.Map
	Join         []stage.Namespace // in place of new ones
	Parent       *os.File          // the user namespace of which its own is a child, with the same ids: see Network; nil: the host's
	Files        []*os.File        // what the sandbox is born with
	Stdio        [3]*os.File
	Cgroup       *os.File // nil: ours
	Narrate      func(stage.Event)
}

// Fork forks the sandbox, for Config.Sandbox. Both id map and program start need milliseconds, which the caller can use.
// The calling goroutine must be locked to its thread, as stage.Fork says.
func Fork(n Nascent) (*stage.Sandbox, error) {
	// Who may mount could make a read-only mount of our binary writable; and who lives among another's processes is seen by those who may.
	sealed := n.Capabilities.Has(capSysAdmin) || flagsOf(n.Namespaces)&linux.NewPID == 0 || slices.ContainsFunc(n.Join, func(ns stage.Namespace) bool { return ns.Flag == linux.NewPID })
	o := stage.Options{
		Name: n.Name, Namespaces: flagsOf(n.Namespaces), Join: n.Join, Files: n.Files, Stdio: n.Stdio, Cgroup: n.Cgroup, Narrate: n.Narrate,
		Sealed: sealed,
		MapIDs: func(pid int) error { return idmap.Write(pid, n.UIDs, n.GIDs) },
	}
	if n.Parent != nil {
		o.Parent, o.UIDMap, o.GIDMap = n.Parent, n.UIDs.Identity().Text(), n.GIDs.Identity().Text()
	}
	sandbox, err := stage.Fork(o)
	return sandbox, explainClone(err)
}

func (c *Container) fork(cfg *Config, joins *joins, parent *os.File) (*stage.Sandbox, error) {
	bounding, err := boundingOf(cfg.Spec)
	if err != nil {
		return nil, err
	}
	return Fork(Nascent{
		Name: c.Name, Namespaces: cfg.Spec.Linux.Namespaces, Capabilities: bounding, UIDs: cfg.UIDs, GIDs: cfg.GIDs,
		Join: joins.namespaces, Parent: parent, Files: joins.files, Stdio: cfg.Stdio, Cgroup: cfg.Cgroup, Narrate: cfg.Narrate,
	})
}

func boundingOf(s *specs.Spec) (caps.Set, error) {
	if s.Process == nil || s.Process.Capabilities == nil {
		return 0, nil
	}
	return caps.ParseAll(s.Process.Capabilities.Bounding)
}

const capSysAdmin = 21

func flagsOf(list []specs.LinuxNamespace) (flags uintptr) {
	for _, ns := range list {
		flags |= namespaceFlag(ns.Type)
	}
	return flags
}

func namespaceFlag(kind specs.LinuxNamespaceType) uintptr {
	for i, known := range [...]specs.LinuxNamespaceType{
		specs.UserNamespace, specs.MountNamespace, specs.PIDNamespace, specs.NetworkNamespace,
		specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace,
	} {
		if kind == known {
			return linux.Namespaces[i].Flag
		}
	}
	return 0
}

// explainClone finds out who forbade the user namespace, where it was that.
func explainClone(err error) error {
	var call *linux.CallError
	if !errors.As(err, &call) {
		return err
	}
	switch {
	case call.Call == "map ids" && errors.Is(err, linux.EPERM):
		return hint.Wrap(err, "/etc/subuid or /etc/subgid has changed since the pods' network was made: end all containers (minipod ps), and try again ten seconds later")
	case call.Call != "clone" && !strings.HasPrefix(call.Call, "clone(CLONE_PARENT|CLONE_NEWUSER"):
		return err
	}
	exe, _ := os.Executable() // only for the advice
	return userns.Diagnose(err, os.ReadFile, exe)
}

func (c *Container) plan(cfg *Config) (*stage.Plan, error) {
	plan, err := planOf(cfg.Spec, cfg.UIDs, cfg.GIDs)
	if err != nil {
		return nil, err
	}
	plan.Name, plan.Reaper, plan.Pause, plan.Without = c.Name, cfg.Reaper, cfg.Bundle.Pause, cfg.Without
	if err := checkHostPIDs(plan, cfg.Spec.Linux.Namespaces); err != nil {
		return nil, err
	}
	if plan.Pause {
		plan.Rootfs.Devices = []string{"null"}
	}
	if limits := cfg.Spec.Linux.Resources; limits != nil && limits.Pids != nil {
		plan.Bounded = true
	}
	plan.Explain, plan.Step = cfg.Narrate != nil, cfg.Pause != nil
	plan.Process.Seccomp, plan.Process.ImageGroups = cfg.Seccomp, cfg.ImageGroups
	here := filepath.Join("containers", c.ID)
	tree := &plan.Rootfs
	tree.Data, tree.Lower, tree.Driver = c.dirs.Data, cfg.Layers, cfg.Storage.Driver
	tree.Upper, tree.Work, tree.Target = filepath.Join(here, "upper"), filepath.Join(here, "work"), filepath.Join(here, "root")
	tree.Volatile = c.Remove && cfg.Storage.Volatile
	for i := range tree.Mounts {
		m := &tree.Mounts[i]
		m.Fill = m.Type == "bind" && slices.Contains(cfg.Fill, m.Source)
		m.Beneath = cfg.Beneath[m.Target]
	}
	for _, f := range cfg.Files { // a volume of the user's at /etc/hosts is what the user wants there
		if !slices.ContainsFunc(tree.Mounts, func(m rootfs.Mount) bool { return m.Target == f.Target }) {
			tree.Files = append(tree.Files, f)
		}
	}
	return plan, nil
}

// makeTree makes the folders of the container's tree, or takes up those of an earlier start.
func (c *Container) makeTree(cfg *Config, plan *stage.Plan) error {
	if cfg.Bundle.Pause {
		err := os.Mkdir(filepath.Join(c.Dir, "root"), 0o755)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the container's folders: %w", err)
		}
		return nil
	}
	if len(cfg.Layers) == 0 {
		return errors.New("the image has no layers: there is nothing to run")
	}
	if tree := &plan.Rootfs; tree.Driver == rootfs.Overlay && tree.OptionsLength() >= os.Getpagesize() {
		return hint.Wrap(fmt.Errorf("%d layers are more than one overlay mount can name", len(cfg.Layers)), "build the image with fewer layers, or set the storage driver copy in config.json")
	}
	if !c.Started.IsZero() {
		return c.reuseTree(plan)
	}
	if cfg.Storage.Driver == rootfs.Copy {
		return c.copyTree(cfg)
	}
	mode := os.FileMode(0o755)
	if info, err := os.Stat(filepath.Join(c.dirs.Data, cfg.Layers[0])); err == nil {
		mode = info.Mode().Perm()
	}
	for _, dir := range []string{"upper", "work", "root"} {
		name := filepath.Join(c.Dir, dir)
		if err := os.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // of a start that failed
			return fmt.Errorf("make the container's folders: %w", err)
		}
		if dir == "upper" { // the root folder of the container: as the image has it, whatever our umask
			if err := os.Chmod(name, mode); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyTree merges the layers into the container's root, which is whole once it has that name.
func (c *Container) copyTree(cfg *Config) error {
	root := filepath.Join(c.Dir, "root")
	if _, err := os.Lstat(root); err == nil {
		return nil
	}
	part := root + "." + linux.RandomID()[:8]
	if err := os.Mkdir(part, 0o755); err != nil {
		return fmt.Errorf("make the container's folders: %w", err)
	}
	if err := cfg.Flatten(part, cfg.Layers); err != nil {
		return fmt.Errorf("copy the image's layers: %w", err)
	}
	return os.Rename(part, root)
}

// reuseTree prepares a tree for another start. Volumes are filled once; and overlay refuses an upper folder that was mounted volatile,
// since what it holds may not have reached the disk (Documentation/filesystems/overlayfs.rst, "Volatile mount"): a container that is
// started again is one that somebody sees again.
func (c *Container) reuseTree(plan *stage.Plan) error {
	for i := range plan.Rootfs.Mounts {
		plan.Rootfs.Mounts[i].Fill = false
	}
	plan.Rootfs.Volatile = false
	dir := filepath.Join(c.Dir, "work")
	for _, name := range []string{"work", "incompat"} { // which overlay makes with mode 0
		dir = filepath.Join(dir, name)
		if err := os.Chmod(dir, 0o700); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return fmt.Errorf("take up the container's folders: %w", err)
		}
	}
	if err := RemoveTree(filepath.Join(dir, "volatile")); err != nil {
		return fmt.Errorf("take up the container's folders: %w", err)
	}
	return nil
}

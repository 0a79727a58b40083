package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/runtime/userns"
)

// A Config is what Start needs beside the container's record.
type Config struct {
	Spec       *specs.Spec
	Layers     []string // relative to the data folder, top first
	Storage    rootfs.Choice
	Fuse       string                                  // the path of fuse-overlayfs, where Storage says so
	Flatten    func(dst string, lowers []string) error // merges the layers, where Storage says so: in the user's id range
	Seccomp    []byte                                  // struct sock_filter[], nil for none
	Files      []rootfs.File
	Fill       []string // sources of the mounts that are new volumes
	UIDs, GIDs idmap.Map
	Reaper     bool
	Stdio      [3]*os.File

	Narrate func(stage.Event)       // nil: quiet
	Pause   func(stage.Event) error // nil: don't wait
}

// Start starts the container's sandbox and returns when its command runs; on an error nothing of it is left but the folder.
// The calling goroutine must be locked to its thread, as stage.Start says.
func (c *Container) Start(cfg *Config) (*stage.Sandbox, error) {
	plan, err := c.plan(cfg)
	if err != nil {
		return nil, err
	}
	if err := c.makeTree(cfg, plan); err != nil {
		return nil, err
	}
	options := stage.Options{
		Plan:    plan,
		Stdio:   cfg.Stdio,
		Sealed:  plan.Process.Bounding&(1<<capSysAdmin) != 0,
		MapIDs:  func(pid int) error { return idmap.Write(pid, cfg.UIDs, cfg.GIDs) },
		Narrate: cfg.Narrate,
		Pause:   cfg.Pause,
	}
	for _, ns := range cfg.Spec.Linux.Namespaces {
		options.Namespaces |= namespaceFlag(ns.Type)
	}
	if cfg.Storage.Driver == rootfs.FuseOverlayfs {
		options.Prepare = func(pid int) error { return mountFuse(pid, cfg.Fuse, &plan.Rootfs) }
	}
	sandbox, err := stage.Start(options)
	if err != nil {
		return nil, explainClone(err)
	}
	c.Status, c.PID, c.Started = StatusRunning, sandbox.PID, time.Now()
	c.Birth, err = linux.StartTime(sandbox.PID) // of our own child, which we have not waited for: its number is its own
	if err != nil {
		return nil, errors.Join(err, sandbox.Abandon())
	}
	return sandbox, nil
}

const capSysAdmin = 21

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
	if !errors.As(err, &call) || call.Call != "clone" {
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
	plan.Name, plan.Reaper = c.Name, cfg.Reaper
	plan.Explain, plan.Step = cfg.Narrate != nil, cfg.Pause != nil
	plan.Process.Seccomp = cfg.Seccomp
	here := filepath.Join("containers", c.ID)
	tree := &plan.Rootfs
	tree.Data, tree.Lower, tree.Driver = c.dirs.Data, cfg.Layers, cfg.Storage.Driver
	tree.Upper, tree.Work, tree.Target = filepath.Join(here, "upper"), filepath.Join(here, "work"), filepath.Join(here, "root")
	tree.Volatile = c.Remove && cfg.Storage.Volatile
	for i := range tree.Mounts {
		m := &tree.Mounts[i]
		m.Fill = m.Type == "bind" && slices.Contains(cfg.Fill, m.Source)
	}
	for _, f := range cfg.Files { // a volume of the user's at /etc/hosts is what the user wants there
		if !slices.ContainsFunc(tree.Mounts, func(m rootfs.Mount) bool { return m.Target == f.Target }) {
			tree.Files = append(tree.Files, f)
		}
	}
	return plan, nil
}

// makeTree makes the folders of the container's tree.
func (c *Container) makeTree(cfg *Config, plan *stage.Plan) error {
	if len(cfg.Layers) == 0 {
		return errors.New("the image has no layers: there is nothing to run")
	}
	if tree := &plan.Rootfs; tree.Driver == rootfs.Overlay && tree.OptionsLength() >= os.Getpagesize() {
		return hint.Wrap(fmt.Errorf("%d layers are more than one overlay mount can name", len(cfg.Layers)), "build the image with fewer layers, or set the storage driver copy in config.json")
	}
	mode := os.FileMode(0o755)
	if info, err := os.Stat(filepath.Join(c.dirs.Data, cfg.Layers[0])); err == nil {
		mode = info.Mode().Perm()
	}
	for _, dir := range []string{"upper", "work", "root"} {
		name := filepath.Join(c.Dir, dir)
		if err := os.Mkdir(name, 0o755); err != nil {
			return fmt.Errorf("make the container's folders: %w", err)
		}
		if dir == "upper" { // the root folder of the container: as the image has it, whatever our umask
			if err := os.Chmod(name, mode); err != nil {
				return err
			}
		}
	}
	if cfg.Storage.Driver == rootfs.Copy {
		if err := cfg.Flatten(filepath.Join(c.Dir, "root"), cfg.Layers); err != nil {
			return fmt.Errorf("copy the image's layers: %w", err)
		}
	}
	return nil
}

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// Why there is no group, for errors.Is.
var (
	// ErrUnavailable is New's answer where nobody asked for a limit: the container can run without a group.
	ErrUnavailable = errors.New("no cgroup for the container")

	ErrNoV2         = errors.New("cgroup v2 is not what this machine mounts at /sys/fs/cgroup")
	ErrNoBus        = errors.New("no user manager of systemd answers")
	ErrNotDelegated = errors.New("the group that we are in is not ours")
)

// A MissingController is why a limit can't be kept: the container's group lacks what would keep it.
type MissingController struct {
	Controllers []string
	Group       string // the topmost that lacks the first of them: the one above has it, and does not hand it down
}

func (m *MissingController) Error() string {
	return fmt.Sprintf("a limit needs the cgroup controller %s, which is not handed down to us (see %s)",
		strings.Join(m.Controllers, ", "), filepath.Join(m.Group, "cgroup.controllers"))
}

// Options say which group New is to make.
type Options struct {
	ID          string                // the container's
	Description string                // for systemctl, of the scope
	PID         int                   // the supervisor, which is moved; 0: this process
	Parent      string                // --cgroup-parent: a slice of the user manager's, or the path of a group below Mount
	Resources   *specs.LinuxResources // the limits

	others []int // moved, too

	// What tests change.
	Mount string   // where cgroup v2 is mounted; "": /sys/fs/cgroup
	Proc  string   // where proc is mounted; "": /proc
	Buses []string // where a user manager may be: D-Bus addresses, or paths of sockets without a bus; nil: the usual ones
}

// New makes the group of a container: the supervisor is moved, the limits are set, and nothing runs in it yet. On an error
// nothing of it is left, but the supervisor may be in a scope of its own.
//
// An error that is ErrUnavailable says why there can't be one, and that nobody needs it: no limit and no parent was asked for.
// Every other error has a hint, where there is something to do about it.
func New(o Options) (*Group, error) {
	writes, err := Writes(o.Resources)
	if err != nil {
		return nil, err
	}
	if len(o.ID) < 12 || strings.ContainsAny(o.ID[:12], "/.") {
		return nil, fmt.Errorf("%q is no container's ID", o.ID)
	}
	if o.Mount == "" {
		o.Mount = "/sys/fs/cgroup"
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.PID == 0 {
		o.PID = os.Getpid()
	}
	if o.Buses == nil {
		o.Buses = userManagers()
	}
	g, err := o.place()
	if err != nil {
		return nil, o.unavailable(err, writes)
	}
	wanted := controllers(writes)
	cause, err := g.build(wanted)
	if err != nil {
		return nil, o.unavailable(errors.Join(err, g.Remove()), writes)
	}
	have := g.Controllers()
	lacking := slices.DeleteFunc(wanted, func(c string) bool { return slices.Contains(have, c) })
	if len(lacking) > 0 {
		err = g.missing(lacking, cause[lacking[0]])
	} else {
		err = g.set(writes)
	}
	if err != nil {
		return nil, errors.Join(err, g.Remove())
	}
	return g, nil
}

// unavailable tells why there is no group, and what to do where a limit needs one.
func (o *Options) unavailable(err error, writes []Write) error {
	switch {
	case len(writes) == 0 && o.Parent == "":
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case len(writes) == 0:
		err = fmt.Errorf("use the cgroup parent %s: %w", o.Parent, err)
	default:
		err = fmt.Errorf("keep a limit of %s: %w", strings.Join(controllers(writes), ", "), err)
	}
	switch {
	case hint.Of(err) != "":
	case errors.Is(err, ErrNoV2):
		return hint.Wrap(err, "run `minipod doctor`, which prints how to boot this machine with cgroup v2, or leave the limit out")
	case errors.Is(err, ErrNoBus):
		return hint.Wrap(err, "log in through systemd (ssh, or `machinectl shell USER@`), or run `sudo loginctl enable-linger USER` and `export XDG_RUNTIME_DIR=/run/user/$(id -u)`")
	}
	return err
}

// place finds the folder for the container's groups, and makes it.
func (o *Options) place() (*Group, error) {
	if _, err := os.Stat(filepath.Join(o.Mount, "cgroup.controllers")); err != nil { // v1 has no such file in its root
		return nil, fmt.Errorf("%w (%w)", ErrNoV2, err)
	}
	name := "minipod-" + o.ID[:12]
	if o.Parent != "" && !strings.HasSuffix(o.Parent, ".slice") {
		return o.below(filepath.Join(o.Mount, filepath.Join("/", o.Parent)), name)
	}
	unit := name + ".scope"
	err := o.startScope(unit)
	if err == nil {
		var base string
		if base, err = o.own(); err == nil && filepath.Base(base) != unit {
			err = fmt.Errorf("systemd put the supervisor into %s, not into %s", base, unit)
		}
		if err == nil {
			return &Group{Path: filepath.Join(base, containerName), Unit: unit, base: base, pid: o.PID, proc: o.Proc}, nil
		}
	}
	if o.Parent != "" {
		return nil, err
	}
	own, ownErr := o.own()
	if ownErr != nil {
		return nil, fmt.Errorf("%w; %w", err, ownErr)
	}
	g, ownErr := o.below(own, name)
	if ownErr != nil {
		return nil, fmt.Errorf("%w; %w", err, ownErr)
	}
	return g, nil
}

// own returns the folder of the group that the supervisor is in.
func (o *Options) own() (string, error) {
	text, err := read(o.Proc, strconv.Itoa(o.PID)+"/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		// "/.." is above our cgroup namespace's root, where we see nothing.
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::/"); ok && !strings.HasPrefix(path, "..") {
			return filepath.Join(o.Mount, path), nil
		}
	}
	return "", fmt.Errorf("%w: none is named in /proc/%d/cgroup", ErrNotDelegated, o.PID)
}

// below makes the folder name in the group parent, which must be ours to write: that is what delegation means (man 7 cgroups).
func (o *Options) below(parent, name string) (*Group, error) {
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		if err := linux.Writable(filepath.Join(parent, file)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotDelegated, err)
		}
	}
	g := &Group{base: filepath.Join(parent, name), pid: o.PID, proc: o.Proc}
	g.Path = filepath.Join(g.base, containerName)
	g.origin, _ = o.own() // only to go back to
	// What a supervisor that was killed left of an earlier start.
	if err := g.removeContainer(patience); err != nil {
		return nil, err
	}
	if err := os.Mkdir(g.base, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the container's cgroup: %w", err)
	}
	return g, nil
}

// build makes our two groups, moves the supervisor, and hands the controllers down. The order is the kernel's: controllers are handed
// down by a group without processes only. Why one could not be, cause has by its name.
func (g *Group) build(wanted []string) (cause map[string]error, err error) {
	supervisor := filepath.Join(g.base, supervisorName)
	if err := os.Mkdir(supervisor, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the supervisor's cgroup: %w", err)
	}
	if err := os.Mkdir(g.Path, 0o755); err != nil {
		return nil, fmt.Errorf("make the container's cgroup: %w", err)
	}
	if err := write(supervisor, "cgroup.procs", strconv.Itoa(g.pid)); err != nil {
		err = fmt.Errorf("move the supervisor (process %d) into its cgroup: %w", g.pid, err)
		if errors.Is(err, fs.ErrPermission) { // the group above both must be ours, too (cgroup-v2.rst, "Delegation Containment")
			err = hint.Wrap(err, "start minipod inside of the part of the hierarchy that is yours: `systemd-run --user --scope -p Delegate=yes minipod …`")
		}
		return nil, err
	}
	cause = map[string]error{}
	folders := []string{g.base}
	if g.Unit == "" { // systemd has seen to what is above a scope
		folders = []string{filepath.Dir(g.base), g.base}
	}
	for _, folder := range folders {
		have, on := words(folder, "cgroup.controllers"), words(folder, "cgroup.subtree_control")
		for _, c := range slices.Concat([]string{"cpu", "cpuset", "io", "memory", "pids"}, wanted) {
			if slices.Contains(on, c) || !slices.Contains(have, c) {
				continue
			}
			if err := write(folder, "cgroup.subtree_control", "+"+c); err != nil && cause[c] == nil {
				cause[c] = fmt.Errorf("hand it down: %w", err)
			}
		}
	}
	return cause, nil
}

// missing finds out who does not hand these controllers down to us, and what to do about it. Cause is why the first could not
// be, where somebody tried.
func (g *Group) missing(controllers []string, cause error) error {
	first := controllers[0]
	lacks, top := g.Path, ""
	for dir := g.Path; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err != nil {
			break // above the root of the hierarchy; below, each group has the file
		}
		top = dir
		if !slices.Contains(words(dir, "cgroup.controllers"), first) {
			lacks = dir
		}
	}
	err := error(&MissingController{controllers, lacks})
	above := filepath.Dir(lacks)
	switch {
	case lacks == top:
		return hint.Wrap(err, "boot with a kernel that has it, and without cgroup_disable="+first+" (cat /proc/cmdline)")
	case errors.Is(cause, linux.EBUSY) || g.Unit == "" && len(words(above, "cgroup.procs")) > 0:
		return hint.Wrap(fmt.Errorf("%w: %s can't, while other processes are in it", err, above),
			"start minipod in a group of its own: `systemd-run --user --scope -p Delegate=yes minipod …`")
	case cause != nil:
		return fmt.Errorf("%w: %w", err, cause)
	case g.Unit != "":
		return hint.Wrap(err, `run `+"`"+`sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\nDelegate=cpu cpuset io memory pids\n' | `+
			`sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload`+"`"+`, then log out of every session and in again`)
	}
	return hint.Wrap(err, fmt.Sprintf("have its owner hand it down: `echo +%s | sudo tee %s`", first, filepath.Join(above, "cgroup.subtree_control")))
}

package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// Names of our two groups below the base.
const (
	supervisorName = "supervisor"
	containerName  = "container"
)

// patience is how long we wait for the kernel to freeze processes, or to let the last of them go.
const patience = 10 * time.Second

// A Group is the group of one container.
type Group struct {
	Path string // the container's group, absolute; what Load takes
	Unit string // systemd's scope around it, "" where there is none

	base   string // the folder that container and supervisor are in
	origin string // the group that New took the supervisor from, "" after Load
	pid    int    // the supervisor, 0 after Load
	proc   string // where proc is mounted
}

// Load takes up a group that New made, maybe in another process, by its Path. It answers fs.ErrNotExist when it is gone.
func Load(path string) (*Group, error) {
	if !filepath.IsAbs(path) || filepath.Base(path) != containerName {
		return nil, fmt.Errorf("%s is no container's cgroup", path)
	}
	base := filepath.Dir(path)
	g := &Group{Path: path, base: base, proc: "/proc"}
	if strings.HasSuffix(base, ".scope") {
		g.Unit = filepath.Base(base)
	}
	if _, err := os.Stat(filepath.Join(path, "cgroup.procs")); err != nil {
		return nil, fmt.Errorf("take up the container's cgroup: %w", err)
	}
	return g, nil
}

// Open opens the group for linux.ForkInto. The caller closes it.
func (g *Group) Open() (*os.File, error) { return os.Open(g.Path) }

// Controllers returns the controllers that the container's group has.
func (g *Group) Controllers() []string { return words(g.Path, "cgroup.controllers") }

// Set sets the limits that r names; those that it doesn't name stay. Values that belong together (memory and swap, quota and
// period) must be named together: whoever changes one of them passes the other on. It stops at the first limit that
// can't be set, which may leave others set.
func (g *Group) Set(r *specs.LinuxResources) error {
	writes, err := Writes(r)
	if err != nil {
		return err
	}
	return g.set(writes)
}

func (g *Group) set(writes []Write) error {
	for _, w := range writes {
		err := g.checkSet(w)
		if err == nil {
			err = g.write(w)
		}
		if errors.Is(err, fs.ErrNotExist) && w.Or != nil {
			w = *w.Or
			err = g.write(w)
		}
		if err = g.explain(w, err); err != nil {
			return err
		}
	}
	return nil
}

// checkSet refuses processors and memory nodes that are not there. The kernel accepts them, and gives the group its
// parent's instead.
func (g *Group) checkSet(w Write) error {
	if w.File != "cpuset.cpus" && w.File != "cpuset.mems" {
		return nil
	}
	have, err := read(g.base, w.File+".effective")
	if err != nil {
		return nil //nolint:nilerr // without the controller, writing the file says so
	}
	for _, wanted := range strings.Split(w.Value, ",") {
		first, last, ok := cpuRange(wanted)
		for n := first; ok && n <= last; n++ {
			if !slices.ContainsFunc(strings.Split(have, ","), func(s string) bool {
				first, last, ok := cpuRange(s)
				return ok && first <= n && n <= last
			}) {
				return hint.Wrap(fmt.Errorf("set %s to %s: %d is not available", w.File, w.Value, n), "use some of "+have)
			}
		}
	}
	return nil
}

// cpuRange reads "3" or "0-2".
func cpuRange(s string) (first, last uint64, ok bool) {
	from, to, isRange := strings.Cut(s, "-")
	first, err := strconv.ParseUint(from, 10, 16)
	last = first
	if err == nil && isRange {
		last, err = strconv.ParseUint(to, 10, 16)
	}
	return first, last, err == nil
}

// explain says why a limit could not be set.
func (g *Group) explain(w Write, err error) error {
	if err == nil {
		return nil
	}
	controller := w.Controller()
	err = fmt.Errorf("set %s to %q: %w", w.File, w.Value, err)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !slices.Contains(g.Controllers(), controller):
		return g.missing([]string{controller}, nil)
	case errors.Is(err, fs.ErrNotExist) && w.File == "memory.swap.max" && (w.Value == "max" || !g.swaps()):
		return nil // where there is no swap, no limit of it is exceeded
	case errors.Is(err, fs.ErrNotExist):
		return hint.Wrap(err, "leave this limit out: the kernel was built without it")
	case w.File == "io.max" && errors.Is(err, linux.ENODEV):
		return hint.Wrap(err, "name a whole disk, no partition of it (lsblk shows both)")
	}
	return err
}

// swaps tells whether the machine has any swap.
func (g *Group) swaps() bool {
	text, err := read(g.proc, "swaps")
	return err != nil || strings.Contains(text, "\n") // below its headings
}

// Freeze stops every process of the container where it is. It returns when all of them have stopped; when some can't within
// ten seconds (they wait for a dead disk), it lets them all go on, and answers os.ErrDeadlineExceeded.
func (g *Group) Freeze() error {
	if err := g.freeze("1", patience); err != nil {
		_ = write(g.Path, "cgroup.freeze", "0") // as it was; err is what counts
		return err
	}
	return nil
}

// Thaw lets the container go on.
func (g *Group) Thaw() error { return g.freeze("0", patience) }

func (g *Group) freeze(state string, timeout time.Duration) error {
	err := write(g.Path, "cgroup.freeze", state)
	if err == nil {
		err = g.await("frozen", state, timeout)
	}
	if err != nil {
		return fmt.Errorf("freeze or thaw the container: %w", err)
	}
	return nil
}

// Frozen tells whether the container was frozen.
func (g *Group) Frozen() (bool, error) {
	text, err := read(g.Path, "cgroup.freeze")
	return text == "1", err
}

// Kill sends SIGKILL to every process of the container at once, frozen ones included. Remove waits for their end.
func (g *Group) Kill() error {
	err := write(g.Path, "cgroup.kill", "1")
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(g.Path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return hint.Wrap(fmt.Errorf("kill the container by its cgroup: %w", err), "use Linux 5.14 or newer")
	}
	if err != nil {
		return fmt.Errorf("kill the container by its cgroup: %w", err)
	}
	return nil
}

// Pids returns the processes of the container, in groups of its own making too, by their numbers on the host.
func (g *Group) Pids() ([]int, error) {
	var pids []int
	err := filepath.WalkDir(g.Path, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			return nil
		}
		var list []string
		if err == nil {
			var text string
			text, err = read(name, "cgroup.procs")
			list = strings.Fields(text)
		}
		switch {
		case name != g.Path && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, linux.ENODEV) || errors.Is(err, linux.ENOTSUP)):
			return nil // removed meanwhile, or threaded: then its processes are in the group above
		case err != nil:
			return err
		}
		for _, text := range list {
			if pid, err := strconv.Atoi(text); err == nil && pid > 0 { // 0: in a pid namespace that we don't see into
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the container's processes: %w", err)
	}
	return pids, nil
}

// Attach moves a process of ours into the container's group. Where we may not (both groups' common ancestor must be ours) it
// has systemd do that, if the group is in a scope.
func (g *Group) Attach(pid int) error {
	err := write(g.Path, "cgroup.procs", strconv.Itoa(pid))
	if g.Unit != "" && errors.Is(err, fs.ErrPermission) {
		err = attachByManager(userManagers(), g.Unit, "/"+containerName, pid)
	}
	if err != nil {
		return fmt.Errorf("move process %d into the container's cgroup: %w", pid, err)
	}
	return nil
}

// Renew makes the container's group anew, with all counts at zero, for another start under the same supervisor. No process
// may be left in it.
func (g *Group) Renew(r *specs.LinuxResources) error {
	writes, err := Writes(r)
	if err != nil {
		return err
	}
	if err := g.removeContainer(patience); err != nil {
		return err
	}
	if err := os.Mkdir(g.Path, 0o755); err != nil {
		return fmt.Errorf("make the container's cgroup: %w", err)
	}
	return g.set(writes)
}

// Remove removes what New made, and nothing that is left already. The container's processes must have got their SIGKILL; it
// waits for their end, and answers an error that is EBUSY when there are some after ten seconds.
//
// The group that the supervisor is in can't go before the supervisor: systemd removes it with the scope. Elsewhere the supervisor
// goes back to where it came from, if it may; else the next Remove, by somebody else, gets what is left.
func (g *Group) Remove() error {
	if err := g.removeContainer(patience); err != nil {
		return err
	}
	if g.Unit != "" {
		return nil
	}
	if g.pid != 0 && g.origin != "" {
		_ = write(g.origin, "cgroup.procs", strconv.Itoa(g.pid)) // refused where controllers are switched on by now
	}
	for _, dir := range []string{filepath.Join(g.base, supervisorName), g.base} {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			if errors.Is(err, linux.EBUSY) {
				return nil
			}
			return fmt.Errorf("remove the cgroup: %w", err)
		}
	}
	return nil
}

func (g *Group) removeContainer(timeout time.Duration) error {
	err := g.await("populated", "0", timeout)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &fs.PathError{Op: "remove", Path: g.Path, Err: linux.EBUSY}
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = removeTree(g.Path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the container's cgroup: %w", err)
	}
	return nil
}

// removeTree removes a group and those below it, which a container may have made.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return os.Remove(dir)
}

// await waits until cgroup.events says that key has the value. The kernel wakes us at each change.
func (g *Group) await(key, want string, timeout time.Duration) error {
	f, err := os.Open(filepath.Join(g.Path, "cgroup.events"))
	if err != nil {
		return err
	}
	defer f.Close()
	deadline := time.Now().Add(timeout)
	for {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		text, err := io.ReadAll(f)
		if errors.Is(err, linux.ENODEV) { // removed while we had it open
			return fs.ErrNotExist
		}
		if err != nil {
			return err
		}
		if lookup(text, key) == want {
			return nil
		}
		changed, err := linux.WaitChanged(int(f.Fd()), time.Until(deadline))
		if err != nil {
			return err
		}
		if !changed {
			return fmt.Errorf("%s did not become %s: %w", key, want, os.ErrDeadlineExceeded)
		}
	}
}

// lookup returns the value of a key in a file of lines "key value".
func lookup(text []byte, key string) string {
	for line := range bytes.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(string(line)), " "); ok && name == key {
			return value
		}
	}
	return ""
}

// read returns the content of a group's file, without the line's end.
func read(dir, file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	return strings.TrimRight(string(text), "\n"), err
}

// words returns the words in a file, none where it can't be read.
func words(dir, file string) []string {
	text, _ := read(dir, file)
	return strings.Fields(text)
}

// write writes a value to a group's file, in one write(2), which is what the kernel takes for a value. It never makes a file.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

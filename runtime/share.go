package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/state"
)

// Shares say whose namespaces a container shares: containers' IDs by the kind of namespace (network, ipc, uts, pid). IDs and not PIDs:
// who that is is found out at every start.
//
// A namespace can be joined only by who has powers in the user namespace that owns it. So a container that joins another's lives in
// the other's user namespace, with its ids; and all that it joins must be owned by that one.
type Shares map[specs.LinuxNamespaceType]string

// The kinds that can be joined, in the order in which that is done, and the names of their files in /proc/PID/ns.
var joinable = [...]struct {
	kind specs.LinuxNamespaceType
	file string
}{
	{specs.NetworkNamespace, "net"},
	{specs.IPCNamespace, "ipc"},
	{specs.UTSNamespace, "uts"},
	{specs.PIDNamespace, "pid"},
}

// A donor is a container whose namespaces are joined, running, as it was looked up.
type donor struct {
	Record
	bundle *Bundle
}

// joins are what a start takes from other containers.
type joins struct {
	donors     map[specs.LinuxNamespaceType]*donor
	namespaces []stage.Namespace
	files      []*os.File // for the sandbox, as descriptors from stage.FirstFile on
}

func (j *joins) close() {
	for _, ns := range j.namespaces {
		ns.File.Close()
	}
	for _, f := range j.files {
		f.Close()
	}
}

// join looks up the containers that cfg's joins, writes their namespaces into a copy of cfg's specification, as paths, and opens them. cfg has
// their ids afterwards.
func (c *Container) join(cfg *Config) (*joins, error) {
	j := &joins{donors: map[specs.LinuxNamespaceType]*donor{}}
	if len(cfg.Share) == 0 {
		return j, nil
	}
	var first *donor
	for _, ns := range joinable {
		id, ok := cfg.Share[ns.kind]
		if !ok {
			continue
		}
		d, err := findDonor(c.dirs, ns.kind, id)
		if err != nil {
			return nil, err
		}
		j.donors[ns.kind] = d
		if first == nil {
			first = d
		}
	}
	if first == nil {
		return nil, errors.New("the container joins namespaces of a kind that nobody knows")
	}
	if err := refuseTracers(cfg.Spec, j.donors[specs.PIDNamespace]); err != nil {
		return nil, err
	}
	cfg.Spec = withPaths(cfg.Spec, first, j.donors, !slices.Contains(cfg.Without, stage.Shm))
	cfg.UIDs, cfg.GIDs = first.bundle.UIDs, first.bundle.GIDs
	if err := j.open(cfg.Spec.Linux.Namespaces); err != nil { // LAB: join-namespaces
		j.close()
		return nil, err
	}
	return j, nil
}

// findDonor returns the running container with that id. One that shares its own pid namespace with another is none: the other is.
func findDonor(dirs state.Dirs, kind specs.LinuxNamespaceType, id string) (*donor, error) {
	r, err := read(filepath.Join(dirs.Containers(), id))
	if errors.Is(err, fs.ErrNotExist) {
		err = hint.Wrap(fmt.Errorf("cannot join the %s namespace of container %s: %w", kind, id[:min(12, len(id))], ErrNotFound), "it was removed since: remove this container, too, and run another")
	}
	if err != nil {
		return nil, err
	}
	if r.PID == 0 || r.Status != StatusRunning && r.Status != StatusPaused {
		return nil, hint.Wrap(fmt.Errorf("cannot join the %s namespace of a non running container: %s is %s", kind, r.Name, r.Status), "start it first: minipod start "+r.Name)
	}
	b, err := LoadBundle(dirs, id)
	if err != nil {
		return nil, err
	}
	if next, ok := b.Share[kind]; ok && kind == specs.PIDNamespace { // its sandbox is outside of that namespace: see package stage
		return findDonor(dirs, kind, next)
	}
	return &donor{r, b}, nil
}

// refuseTracers sees to it that nobody comes into a pid namespace with more power over its PID 1 than that one was prepared for: see
// confine.go in package stage. Who can trace PID 1 can have it execute something, with every capability and no filter.
func refuseTracers(spec *specs.Spec, d *donor) error {
	if d == nil {
		return nil
	}
	ours, err := boundingOf(spec)
	if err != nil {
		return err
	}
	theirs, err := boundingOf(d.bundle.Spec)
	if err != nil {
		return err
	}
	var more caps.Set
	for _, c := range []int{capSysPtrace, capSysAdmin, capBlockSuspend} {
		more |= 1 << c
	}
	if more &= ours &^ theirs; more == 0 {
		return nil
	}
	names := strings.Join(more.Names(), ", ")
	return hint.Wrap(fmt.Errorf("cannot join the processes of container %s with %s, which it does not have itself", d.Name, names),
		"run that one with it, too (--cap-add), so that its PID 1 is prepared for being traced")
}

// withPaths is s with the namespaces of others: what an OCI runtime is told in namespaces[].path, and the /dev/shm that goes with an ipc
// namespace, unless a lesson leaves it out.
func withPaths(s *specs.Spec, owner *donor, donors map[specs.LinuxNamespaceType]*donor, shareShm bool) *specs.Spec {
	joined, kernel := *s, *s.Linux
	joined.Linux = &kernel
	kernel.Namespaces = slices.Clone(kernel.Namespaces)
	for i := range kernel.Namespaces {
		ns := &kernel.Namespaces[i]
		if ns.Type == specs.UserNamespace {
			ns.Path = namespacePath(owner.PID, "user")
		}
		for _, known := range joinable {
			if d := donors[known.kind]; d != nil && ns.Type == known.kind {
				ns.Path = namespacePath(d.PID, known.file)
			}
		}
	}
	joined.Mounts = slices.Clone(s.Mounts)
	for i := range joined.Mounts {
		if d := donors[specs.IPCNamespace]; d != nil && shareShm && isOurShm(&joined.Mounts[i]) { // LAB: shm
			joined.Mounts[i] = specs.Mount{Destination: shm, Type: "bind", Source: fmt.Sprintf("/proc/%d/root%s", d.PID, shm), Options: []string{"bind"}}
		}
	}
	return &joined
}

const shm = "/dev/shm"

// isOurShm tells our own /dev/shm from what a user has mounted there.
func isOurShm(m *specs.Mount) bool {
	return m.Destination == shm && m.Type == "tmpfs" && m.Source == "shm"
}

func namespacePath(pid int, file string) string {
	return "/proc/" + strconv.Itoa(pid) + "/ns/" + file
}

// open opens the namespaces that have a path, the user namespace first. That a donor's PID 1 has the same start time afterwards proves that they
// are its, and not those of another process with its number.
func (j *joins) open(list []specs.LinuxNamespace) error {
	for _, kind := range []specs.LinuxNamespaceType{
		specs.UserNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.PIDNamespace,
	} {
		for _, ns := range list {
			if ns.Type != kind || ns.Path == "" {
				continue
			}
			f, err := os.Open(ns.Path)
			if err != nil {
				return fmt.Errorf("join the %s namespace: %w", ns.Type, err)
			}
			j.namespaces = append(j.namespaces, stage.Namespace{Flag: namespaceFlag(kind), File: f})
		}
	}
	owner, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d", j.namespaces[0].File.Fd()))
	if err != nil {
		return err
	}
	for _, ns := range joinable {
		d := j.donors[ns.kind]
		if d == nil {
			continue
		}
		user, err := os.Stat(namespacePath(d.PID, "user"))
		birth, gone := linux.StartTime(d.PID)
		switch {
		case gone != nil || birth != d.Birth:
			return hint.Wrap(fmt.Errorf("cannot join the %s namespace of container %s: it has just ended", ns.kind, d.Name), "start it first: minipod start "+d.Name)
		case err != nil:
			return fmt.Errorf("join the %s namespace of container %s: %w", ns.kind, d.Name, err)
		case !os.SameFile(owner, user):
			return hint.Wrap(fmt.Errorf("cannot join the %s namespace of container %s: it has another user namespace than the others that are joined", ns.kind, d.Name),
				"join one container only, or have the second join the first")
		}
	}
	return nil
}

// share adds to plan what can't be made in the new mount namespace: mounts that others have, and the file of the pid namespace.
func (j *joins) share(plan *stage.Plan, borrowed []string) error {
	born := func(f *os.File) int {
		j.files = append(j.files, f)
		return stage.FirstFile + len(j.files) - 1
	}
	if j.donors[specs.PIDNamespace] != nil {
		if !plan.Reaper {
			return hint.Wrap(errors.New("the command can't be PID 1 where it joins another container's processes"), "leave --init=false out")
		}
		user, pids := j.namespaces[0].File, j.namespaces[len(j.namespaces)-1].File
		for i := range plan.Rootfs.Mounts {
			m := &plan.Rootfs.Mounts[i]
			if m.Type != "proc" {
				continue
			}
			proc, err := stage.ShareProc(user, pids, m.Attr)
			if err != nil {
				return endedMeanwhile(err)
			}
			m.FD = born(proc)
		}
		fd, err := linux.DupHigh(pids)
		if err != nil {
			return err
		}
		plan.PIDNamespace = born(os.NewFile(uintptr(fd), pids.Name()))
	}
	if d := j.donors[specs.IPCNamespace]; d != nil {
		if err := j.shareShm(plan, d, born); err != nil {
			return err
		}
	}
	if d := j.donors[specs.UTSNamespace]; d != nil { // which all of a pod share, whatever of it is the host's
		return j.borrow(plan, borrowed, d, born)
	}
	return nil
}

// borrow takes mounts of a pod's sandbox: the volumes that are in memory, and that all of its containers share.
func (j *joins) borrow(plan *stage.Plan, targets []string, d *donor, born func(*os.File) int) error {
	if len(targets) == 0 {
		return nil
	}
	mounts, err := os.Open(namespacePath(d.PID, "mnt"))
	if err != nil {
		return endedMeanwhile(err)
	}
	defer mounts.Close()
	for i := range plan.Rootfs.Mounts {
		m := &plan.Rootfs.Mounts[i]
		if m.Type != "bind" || !slices.Contains(targets, m.Target) {
			continue
		}
		f, err := stage.ShareMount(j.namespaces[0].File, mounts, m.Source, m.Beneath)
		if err != nil {
			return endedMeanwhile(err)
		}
		m.FD = born(f)
	}
	return nil
}

// shareShm shares /dev/shm, which goes with the ipc namespace: POSIX shared memory is files there.
func (j *joins) shareShm(plan *stage.Plan, d *donor, born func(*os.File) int) error {
	i := slices.IndexFunc(plan.Rootfs.Mounts, func(m rootfs.Mount) bool { return m.Target == shm })
	if i < 0 || plan.Rootfs.Mounts[i].Source != fmt.Sprintf("/proc/%d/root%s", d.PID, shm) {
		return nil // the user wants something else there
	}
	mounts, err := os.Open(namespacePath(d.PID, "mnt"))
	if err != nil {
		return endedMeanwhile(err)
	}
	defer mounts.Close()
	if birth, err := linux.StartTime(d.PID); err != nil || birth != d.Birth {
		return endedMeanwhile(syscall.ESRCH)
	}
	f, err := stage.ShareMount(j.namespaces[0].File, mounts, shm, "")
	if err != nil {
		return endedMeanwhile(err)
	}
	plan.Rootfs.Mounts[i].FD = born(f)
	if kernels, err := linux.IsKernelTree(int(f.Fd())); err != nil || kernels { // who may mount there may have mounted anything; a proc without our covers is too much
		return errors.Join(fmt.Errorf("container %s has no shared memory at %s", d.Name, shm), err)
	}
	return nil
}

// endedMeanwhile says it where that is what an error means: no process is born in a pid namespace whose PID 1 has ended (ENOMEM).
func endedMeanwhile(err error) error {
	for _, sign := range []error{syscall.ENOMEM, syscall.ESRCH, fs.ErrNotExist} {
		if errors.Is(err, sign) {
			return fmt.Errorf("the container whose namespaces it joins has just ended: %w", err)
		}
	}
	return err
}

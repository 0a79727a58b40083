package labs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

// InhabitantsOf are the processes of a world, below the machine's root: those that have it in their environment as $MINIPOD_ROOT and are minipod's own
// or live in a namespace that self does not: what unshare(1) made in a lab belongs to that lab, the editor beside it does not. bound are those that the learner named.
// A zombie is none: whoever has to wait for it may be the learner's shell.
func InhabitantsOf(files fs.FS, world string, self int, bound []Process) ([]Process, error) {
	k := kernel{files}
	entries, err := fs.ReadDir(files, "proc")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	variable := []byte("MINIPOD_ROOT=" + world)
	var list []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == self {
			continue
		}
		p, err := k.process(pid)
		if err != nil || !k.alive(p) {
			continue
		}
		inhabits := false
		for _, b := range bound {
			inhabits = inhabits || b == p && k.elsewhere(p, self)
		}
		if environ, err := k.read(p.file("environ")); err == nil && !inhabits {
			for part := range bytes.SplitSeq([]byte(environ), []byte{0}) {
				inhabits = inhabits || bytes.Equal(part, variable)
			}
			inhabits = inhabits && (k.keeps(p) || k.elsewhere(p, self))
		}
		if inhabits {
			list = append(list, p)
		}
	}
	return list, nil
}

// keeps tells whether a process keeps a container: a minipod that outlives the command line.
func (k kernel) keeps(p Process) bool {
	text, err := k.read(p.file("cmdline"))
	f := strings.Split(text, "\x00")
	return err == nil && len(f) > 2 && filepath.Base(f[0]) == "minipod" && slices.Contains([]string{"supervisor", "sandbox", "run", "node"}, f[1])
}

// elsewhere tells whether a process has a namespace that pid does not have.
func (k kernel) elsewhere(p Process, pid int) bool {
	for _, kind := range namespaceKinds {
		ours, err := k.namespace(Process{PID: pid}, kind)
		if err != nil {
			return false
		}
		if its, err := k.namespace(p, kind); err == nil && its != ours {
			return true
		}
	}
	return false
}

// End kills processes, and waits until none of them lives. A process is killed by a descriptor that is proven to be its: never another with its number.
func End(files fs.FS, processes []Process) error {
	k := kernel{files}
	var networks, others []Process
	for _, p := range processes {
		if text, err := k.read(p.file("cmdline")); err == nil && strings.HasPrefix(text, "minipod\x00node\x00") {
			networks = append(networks, p)
		} else {
			others = append(others, p)
		}
	}
	err := k.kill(others, syscall.SIGKILL, 5*time.Second)
	// Who keeps the network takes its group and its namespaces along, where it is asked, and nobody needs it any more.
	if asked := k.kill(networks, syscall.SIGTERM, 2*time.Second); asked != nil {
		err = errors.Join(err, k.kill(networks, syscall.SIGKILL, 5*time.Second))
	}
	return err
}

// kill sends sig to processes, and waits until they are gone.
func (k kernel) kill(processes []Process, sig syscall.Signal, patience time.Duration) error {
	var errs []error
	for _, p := range processes {
		if err := linux.KillProcess(p.PID, p.Birth, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("end process %d: %w", p.PID, err))
		}
	}
	deadline := time.Now().Add(patience)
	for _, p := range processes {
		for k.alive(p) {
			if time.Now().After(deadline) {
				errs = append(errs, fmt.Errorf("process %d does not end", p.PID))
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return errors.Join(errs...)
}

// Remains lists what is left of a world: processes, mounts in our own namespace, control groups (by the folders in groups, below /sys/fs/cgroup), and the folder itself.
func Remains(files fs.FS, world string, self int, groups []string) ([]string, error) {
	processes, err := InhabitantsOf(files, world, self, nil)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, p := range processes {
		left = append(left, fmt.Sprintf("process %d", p.PID))
	}
	k := kernel{files}
	mounts, err := k.mounts(Process{PID: self})
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if m.at == world || strings.HasPrefix(m.at, world+"/") {
			left = append(left, "mount at "+m.at)
		}
	}
	for _, g := range groups {
		if _, err := k.lstat(filepath.Join(cgroupTree, g)); err == nil {
			left = append(left, "control group "+g)
		}
	}
	if _, err := os.Lstat(world); err == nil {
		left = append(left, "folder "+world)
	}
	return left, nil
}

// GroupsOf are the control groups that these processes have and self has not.
func GroupsOf(files fs.FS, processes []Process, self int) []string {
	k := kernel{files}
	ours, err := k.cgroup(Process{PID: self})
	if err != nil {
		return nil
	}
	var groups []string
	for _, p := range processes {
		if g, err := k.cgroup(p); err == nil && g != ours {
			groups = append(groups, g)
		}
	}
	return groups
}

// RemoveAnswers removes the files outside of the world whose names the learner was asked for, and returns those that are left. It removes nothing
// but plain files of the learner's own with a name as the lab has it (`removes`): whoever answers with another keeps it.
func RemoveAnswers(lab *Lab, record *LabRecord, uid int) (left []string, err error) {
	if record == nil {
		return nil, nil
	}
	for _, s := range lab.Steps {
		if s.Ask == nil || s.Ask.Removes == "" {
			continue
		}
		name := record.Answers[s.Ask.Name].Text
		if fits, _ := path.Match(s.Ask.Removes, name); !fits {
			continue
		}
		info, missing := os.Lstat(name)
		if missing != nil || !info.Mode().IsRegular() {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != uid {
			continue
		}
		if failed := os.Remove(name); failed != nil {
			left, err = append(left, "file "+name), errors.Join(err, failed)
		}
	}
	return left, err
}

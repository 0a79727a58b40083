package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// Among the host's processes (--pid host, hostPID) a container sees our own, too, and they are the same user's. What keeps them apart:
//
//   - A supervisor, the node and whatever else the user runs are in the host's user namespace. The kernel lets nobody trace them, or look into
//     their /proc/PID/{exe,fd,mem,root,…}, who has no power there, and no container has; so it takes no filter of ours.
//   - A sandbox is in the container's user namespace, and while it builds a container it sees the host's files. Who may trace has power over
//     all of that namespace, and may be another container of the same pod. So nobody has it who sees a sandbox: see hostTracers.
//
// What is left is what every process of a user may do to the user's others: signal them, and change their limits and priorities.

// hostTracers are the powers that nobody has who lives among the host's processes. The second is what sets a PID 1 of ours apart from who may
// not look into it: see confine.go in package stage.
const hostTracers caps.Set = 1<<capSysPtrace | 1<<capBlockSuspend

const (
	capSysPtrace    = 19
	capBlockSuspend = 36
)

// WithoutTracers is the set of a container that lives among the host's processes. Who names such a power gets an error; ALL means all others.
func WithoutTracers(set caps.Set, named []string) (caps.Set, error) {
	for _, name := range named {
		if strings.EqualFold(name, "ALL") {
			continue
		}
		one, err := caps.ParseAll([]string{name})
		if err != nil {
			return 0, err
		}
		if one&hostTracers != 0 {
			return 0, hint.Wrap(fmt.Errorf("%s among the host's processes: it would be power over the sandboxes of others in the same user namespace", strings.Join((one&hostTracers).Names(), ", ")),
				"leave it out: a process of one's own may be traced without it, and the host's may not with it")
		}
	}
	return set &^ hostTracers, nil // LAB: host-pids
}

// checkHostPIDs is the last to look: whatever made the plan, it must hold.
func checkHostPIDs(plan *stage.Plan, list []specs.LinuxNamespace) error {
	if !plan.HostPIDs {
		return nil
	}
	p := &plan.Process
	if more := caps.Set(p.Bounding|p.Capabilities) & hostTracers; more != 0 {
		return fmt.Errorf("a container among the host's processes must not have %s", strings.Join(more.Names(), ", "))
	}
	for _, kind := range []specs.LinuxNamespaceType{specs.MountNamespace, specs.CgroupNamespace} {
		if !slices.ContainsFunc(list, func(ns specs.LinuxNamespace) bool { return ns.Type == kind }) { // by which its processes are found in the end
			return fmt.Errorf("a container among the host's processes needs a %s namespace of its own", kind)
		}
	}
	if len(plan.Without) > 0 { // the others of one user are no lesson's to harm
		return hint.Wrap(errors.New("no step of the start can be left out of a container among the host's processes"), "leave --pid host out")
	}
	if !plan.Reaper {
		return hint.Wrap(errors.New("the command can't be PID 1 where it lives among the host's processes"), "leave --init=false out")
	}
	return nil
}

func sharesHostPIDs(s *specs.Spec) bool {
	return !slices.ContainsFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.PIDNamespace })
}

// SharesPIDs tells whether the container lives among others' processes, a container's or the host's: then there is no PID 1 with which all of
// its own end.
func (b *Bundle) SharesPIDs() bool {
	return b.Share[specs.PIDNamespace] != "" || b.Spec.Linux != nil && len(b.Spec.Linux.Namespaces) > 0 && sharesHostPIDs(b.Spec)
}

package stage

import "slices"

// Names of steps that stand for more than a line of the table.
const (
	pivotRoot = "pivot-root" // without it comes chrootStep
	Reaping   = "reaper"     // what PID 1 does afterwards: without it orphans stay zombies
	Shm       = "shm"        // that /dev/shm goes with an ipc namespace: see package runtime
)

// Optional are the steps that a lesson may leave out (--without), to show what each is for: a container without one still starts, and no wall
// between it and the host is lower than the user namespace and the user's own rights make it. Steps that are not here are needed for what follows.
func Optional() []string {
	return []string{ // LAB: optional-steps
		"private-mounts", pivotRoot, "mask", "hostname", "loopback", "limits", "bound-capabilities", "capabilities", "no-new-privs", "seccomp", Reaping, Shm,
	}
}

// chrootStep is what comes in place of pivot-root.
var chrootStep = step{"chroot", (*sandbox).chroot, "the root of this process alone: its mount namespace keeps the host's"}

func (s *sandbox) chroot() error { return s.root.Chroot() }

// Steps are the names of all steps that --explain tells of.
func Steps() []string {
	names := []string{"clone", "join", "id-map", chrootStep.name}
	for _, s := range sandboxSteps {
		names = append(names, s.name)
	}
	for _, s := range payloadSteps {
		names = append(names, s.name)
	}
	return names
}

func (s *sandbox) without(step string) bool { return slices.Contains(s.plan.Without, step) }

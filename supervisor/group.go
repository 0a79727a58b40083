package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/cgroup"
)

// makeGroup makes the container's cgroup for another start, and opens it; nil is none. That there is none is an error only where a limit
// needs one.
func (s *Supervisor) makeGroup() (*os.File, error) {
	s.mu.Lock()
	b, group, name := s.Bundle, s.group, s.Container.Name
	s.mu.Unlock()
	var err error
	if group != nil { // the kernel's counts begin again
		if err = emptyGroup(b, group); err == nil {
			err = group.Renew(b.Spec.Linux.Resources)
		}
	} else {
		makeGroup := s.MakeGroup
		if makeGroup == nil {
			makeGroup = cgroup.New
		}
		group, err = makeGroup(cgroup.Options{
			ID: s.Container.ID, Description: "minipod container " + name, Parent: b.Parent, Resources: b.Spec.Linux.Resources,
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, cgroup.ErrUnavailable) {
		s.why = err
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.group, s.Container.Cgroup = group, group.Path
	return group.Open()
}

func (s *Supervisor) removeGroup() error {
	if s.group == nil {
		return nil
	}
	return errors.Join(emptyGroup(s.Bundle, s.group), s.group.Remove())
}

// emptyGroup kills what is left in the group of a container that shares a pid namespace: there was no PID 1 to end with.
func emptyGroup(b *runtime.Bundle, group *cgroup.Group) error {
	if !b.SharesPIDs() {
		return nil
	}
	return group.Kill()
}

// oomKilled tells whether the kernel killed a process of the container for want of memory.
func (s *Supervisor) oomKilled() bool {
	if s.group == nil {
		return false
	}
	n, err := s.group.OOMKills()
	return err == nil && n > 0
}

// needGroup is the error of what takes a cgroup where there is none.
func (s *Supervisor) needGroup(what string) error {
	if s.group != nil {
		return nil
	}
	err := s.why
	if err == nil {
		return hint.Wrap(fmt.Errorf("%s: the container runs in the foreground with --rm and without a limit, and has no cgroup of its own", what),
			"run it with -d, or with a limit such as --memory")
	}
	return hint.Wrap(fmt.Errorf("%s: %w", what, err), "run `minipod doctor`, which tells how to get a cgroup of your own")
}

// freeze pauses the container or lets it go on.
func (s *Supervisor) freeze(pause bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	paused := s.Container.Status == runtime.StatusPaused
	switch {
	case s.sandbox == nil:
		return errNotRunning
	case pause == paused && pause:
		return fmt.Errorf("container %s is already paused", s.Container.Name)
	case pause == paused:
		return fmt.Errorf("container %s is not paused", s.Container.Name)
	}
	if err := s.needGroup("pause"); err != nil {
		return err
	}
	do, status := s.group.Thaw, runtime.StatusRunning
	if pause {
		do, status = s.group.Freeze, runtime.StatusPaused
	}
	if err := do(); err != nil {
		return err
	}
	s.Container.Status = status
	return s.Container.Save()
}

// thaw lets a paused container go on, to be ended.
func (s *Supervisor) thaw() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Container.Status != runtime.StatusPaused {
		return nil
	}
	s.Container.Status = runtime.StatusRunning
	return s.group.Thaw()
}

// update changes limits and the restart policy, now and for later starts.
func (s *Supervisor) update(r *request) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	b := *s.Bundle
	if r.Resources != nil {
		if err := s.needGroup("change a limit"); err != nil {
			return err
		}
		linux := *b.Spec.Linux
		linux.Resources = merged(linux.Resources, r.Resources)
		if err := s.group.Set(linux.Resources); err != nil {
			return err
		}
		spec := *b.Spec
		spec.Linux = &linux
		b.Spec = &spec
	}
	if r.Restart != nil {
		b.Restart = *r.Restart
	}
	if err := s.Container.SaveBundle(&b); err != nil {
		return err
	}
	s.Bundle = &b
	return nil
}

// merged is old with what change names. Memory and swap, quota and period are one limit each.
func merged(old, change *specs.LinuxResources) *specs.LinuxResources {
	if old == nil {
		return change
	}
	r := *old
	if m := change.Memory; m != nil {
		memory := *m
		if memory.Reservation == nil && r.Memory != nil {
			memory.Reservation = r.Memory.Reservation
		}
		if memory.Limit == nil && r.Memory != nil {
			memory.Limit, memory.Swap = r.Memory.Limit, r.Memory.Swap
		}
		r.Memory = &memory
	}
	if c := change.CPU; c != nil {
		cpu := *c
		if r.CPU != nil {
			if cpu.Quota == nil && cpu.Period == nil {
				cpu.Quota, cpu.Period = r.CPU.Quota, r.CPU.Period
			}
			if cpu.Shares == nil {
				cpu.Shares = r.CPU.Shares
			}
			cpu.Cpus, cpu.Mems = cmp.Or(cpu.Cpus, r.CPU.Cpus), cmp.Or(cpu.Mems, r.CPU.Mems)
		}
		r.CPU = &cpu
	}
	if change.Pids != nil {
		r.Pids = change.Pids
	}
	if change.BlockIO != nil {
		r.BlockIO = change.BlockIO
	}
	return &r
}

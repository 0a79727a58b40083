package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/state"
)

// Adopt takes over a container that nobody supervises. ErrRunning says that somebody does. The container's record is what the disk has
// by then, which may be newer than r.
//
// Many hold the lock for a moment: ps, which finds out whether somebody is there; rename; a supervisor on its last steps. Adopt waits
// for them.
func Adopt(dirs state.Dirs, r Record) (*Container, error) {
	if r.Version > 1 {
		return nil, hint.Wrap(fmt.Errorf("container %s was made by a newer minipod (record version %d)", r.Name, r.Version), "use that version to remove it")
	}
	c := &Container{Record: r, Dir: filepath.Join(dirs.Containers(), r.ID), dirs: dirs}
	var err error
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		c.lock, err = state.TryLockThere(filepath.Join(c.Dir, "lock"))
		if !errors.Is(err, state.ErrLocked) || c.supervised() || time.Now().After(deadline) {
			break
		}
	}
	switch {
	case errors.Is(err, state.ErrLocked):
		return nil, hint.Wrap(fmt.Errorf("%w: %s", ErrRunning, r.Name), "end it first, or force: minipod rm -f "+r.Name)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s", ErrNotFound, r.Name)
	case err != nil:
		return nil, err
	}
	if now, err := readRecord(c.Dir); err == nil { // a damaged one can still be removed
		c.Record = now
	}
	return c, nil
}

// patience is how long Adopt waits for those who hold a container that does not run.
const patience = 10 * time.Second

// supervised tells whether the lock that somebody holds is a supervisor's.
func (c *Container) supervised() bool {
	now, err := readRecord(c.Dir)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return (now.Live() || now.Status == StatusCreated && !now.Ready) && linux.Alive(now.Supervisor, now.SupervisorBirth)
}

// Kill ends a container by force, whatever state its supervisor is in: it kills the supervisor, and with it the kernel kills PID 1. It
// returns when the supervisor is gone, and where there is no PID 1 with which the container's processes end, when these are.
func Kill(r Record) error {
	sandbox, err := stage.HoldForlorn(r.PID, r.Birth)
	if err != nil {
		return fmt.Errorf("kill container %s: %w", r.Name, err)
	}
	err = linux.KillProcess(r.Supervisor, r.SupervisorBirth, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		err = nil
	} else {
		err = errors.Join(err, AwaitSupervisor(r))
	}
	if sandbox != nil {
		err = errors.Join(err, sandbox.End())
	}
	return err
}

// AwaitRelease waits until nobody supervises the container any more, or it is gone.
func AwaitRelease(dirs state.Dirs, id string) error {
	lock, err := state.RLockThere(filepath.Join(dirs.Containers(), id, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return lock.Unlock()
}

// AwaitSupervisor waits for the end of the process that r names as the supervisor.
func AwaitSupervisor(r Record) error { return linux.AwaitEnd(r.Supervisor, r.SupervisorBirth) }

// Reread returns the record of the container as the disk has it now.
func Reread(dirs state.Dirs, id string) (Record, error) {
	return readRecord(filepath.Join(dirs.Containers(), id))
}

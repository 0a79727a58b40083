package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/state"
)

// A keeper is the process that supervises a pod: its PID and start time name one process for ever.
type keeper struct {
	PID   int    `json:"pid"`
	Birth uint64 `json:"birth"`
}

func readKeeper(dirs state.Dirs, uid string) (k keeper, err error) {
	return k, state.ReadJSON(path.Join(podDir(dirs, uid), supervisorFile), &k)
}

// Supervised tells whether somebody supervises the pod: holds its lock.
func Supervised(dirs state.Dirs, uid string) (bool, error) {
	lock, err := state.TryRLockThere(path.Join(podDir(dirs, uid), lockFile))
	switch {
	case errors.Is(err, state.ErrLocked):
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	return false, lock.Unlock()
}

// pokeSignal has the supervisor read the pod's file again. It needs no message: the file says it all.
const pokeSignal = syscall.SIGUSR1

// Poke tells the pod's supervisor to look at what is wanted. Where there is none there is nobody to tell, which is no error: see Revive.
func Poke(dirs state.Dirs, uid string) error {
	k, err := readKeeper(dirs, uid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = linux.KillProcess(k.PID, k.Birth, pokeSignal)
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("tell the supervisor of pod %s: %w", uid, err)
	}
	return nil
}

// Delete asks for the pod's end: its containers get grace seconds, or what the pod says where that is nil; a pod that is being deleted can
// only be deleted faster. What remains of it is removed by its supervisor, which is started where there is none: until then the pod is
// there, with a deletionTimestamp. See Wait.
func Delete(dirs state.Dirs, uid string, grace *int64) error {
	generation, err := condemn(dirs, uid, grace)
	if err != nil {
		return fmt.Errorf("delete pod %s: %w", uid, err)
	}
	err = hand(dirs, uid, generation)
	if errors.Is(err, ErrNotFound) { // it is gone already
		return nil
	}
	return err
}

// condemn writes down that a pod is to be deleted, and returns as which change of it.
func condemn(dirs state.Dirs, uid string, grace *int64) (generation int64, err error) {
	now := time.Now().UTC()
	var deletion Metadata
	err = change(dirs, uid, nil, func(p *Pod) error {
		generation = p.Metadata.Generation + 1
		seconds := p.grace()
		if grace != nil {
			seconds = max(*grace, 0)
		}
		at := now.Add(time.Duration(seconds) * time.Second)
		if p.Metadata.Deleted == nil || at.Before(*p.Metadata.Deleted) {
			p.Metadata.Deleted, p.Metadata.Grace = &at, &seconds
		}
		deletion = p.Metadata
		return nil
	})
	if isFull(err) {
		err = mark(dirs, uid, deletion)
	}
	return generation, err
}

// hand sees to it that somebody looks after what was changed: the supervisor says so in the status, or another one is started. One that was
// killed a moment ago may hold the lock still, and will say nothing.
func hand(dirs state.Dirs, uid string, generation int64) error {
	if err := Poke(dirs, uid); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		s, err := readStatus(dirs, uid)
		if err != nil || s.ObservedGeneration >= generation || time.Now().After(deadline) {
			return err
		}
		there, err := Supervised(dirs, uid)
		if err != nil {
			return err
		}
		if !there {
			return Start(dirs, uid)
		}
	}
}

// grace is how many seconds the containers have to end.
func (p *Pod) grace() int64 {
	const usual = 30
	if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
		return *s
	}
	return usual
}

// finished tells whether nothing of the pod is to run any more.
func (s *Status) finished() bool { return s.Phase == Succeeded || s.Phase == Failed }

// ReadStatus returns what there is of the pod. One whose supervisor is gone, and that has not come to its end, is Unknown: its containers
// were killed with the supervisor, and nobody saw how they ended. Revive starts it again.
func ReadStatus(dirs state.Dirs, uid string) (*Status, error) {
	s, err := readStatus(dirs, uid)
	if err != nil || s.finished() {
		return s, err
	}
	there, err := Supervised(dirs, uid)
	if err != nil || there {
		return s, err
	}
	if s, err = readStatus(dirs, uid); err != nil || s.finished() || s.Reason == ReasonStopped { // it came to its end between our two looks
		return s, err
	}
	if s.Phase != Pending || !s.StartTime.IsZero() {
		s.lost()
	}
	return s, nil
}

func readStatus(dirs state.Dirs, uid string) (*Status, error) {
	var s Status
	err := state.ReadJSON(path.Join(podDir(dirs, path.Base(uid)), statusFile), &s)
	if errors.Is(err, fs.ErrNotExist) {
		p, err := Get(dirs, uid)
		if err != nil {
			return nil, err
		}
		s = Decide(&p.Pod, &World{}).Status // what there is to say before anybody has looked after it
		s.StartTime, s.Phase, s.ObservedGeneration = time.Time{}, Pending, 0
		return &s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the status of pod %s: %w", uid, err)
	}
	return &s, nil
}

// lost says what became of a pod whose supervisor was killed.
func (s *Status) lost() {
	s.Phase, s.Reason, s.Message = Unknown, "SupervisorLost", "its supervisor was killed, and the kernel killed its processes"
	s.PodIP, s.PodIPs = "", nil
	for _, list := range [][]ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range list {
			list[i].lose(time.Time{})
		}
	}
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if c.Type == Ready || c.Type == ContainersReady || c.Type == ReadyToStartContainers {
			c.Status, c.Reason, c.Message = ConditionFalse, ContainerStatusUnknown, ""
		}
	}
}

// lose ends a container whose end nobody saw.
func (c *ContainerStatus) lose(at time.Time) {
	c.Ready = false
	if c.State.Running == nil {
		return
	}
	started := false
	c.Started = &started
	c.State = ContainerState{Terminated: &Terminated{
		ExitCode: 137, Reason: ContainerStatusUnknown, Message: "The container could not be located when the pod was terminated",
		StartedAt: c.State.Running.StartedAt, FinishedAt: at, ContainerID: c.ContainerID,
	}}
}

// Wait waits until enough answers true of the pod and its status, or an error. A pod that is gone is ErrNotFound.
func Wait(ctx context.Context, dirs state.Dirs, uid string, enough func(*Stored, *Status) (bool, error)) error {
	if done, err := waitShortly(ctx, dirs, uid, enough); done || err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("pod %s %w", uid, ErrNotFound)
		}
		return err
	}
	for {
		watch, err := linux.WatchDir(podDir(dirs, path.Base(uid)))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("pod %s %w", uid, ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("wait for pod %s: %w", uid, err)
		}
		err = wait(ctx, watch, dirs, uid, enough)
		watch.Close()
		if !errors.Is(err, fs.ErrNotExist) { // else the folder is gone: the next round says so
			return err
		}
	}
}

// A watch costs 10 ms at its end, when the kernel waits for everybody who may be reading its lists (fsnotify_destroy_group). Most pods start
// and end sooner than that matters, so at first we just look again.
const (
	shortly  = 150 * time.Millisecond
	interval = 3 * time.Millisecond
)

// What is looked at is decoded only when it has changed: who waits takes its time from those that it waits for.
func waitShortly(ctx context.Context, dirs state.Dirs, uid string, enough func(*Stored, *Status) (bool, error)) (done bool, err error) {
	var seen []byte
	for begun := time.Now(); time.Since(begun) < shortly; {
		now, err := written(dirs, uid)
		if err != nil {
			return false, err
		}
		if seen == nil || !bytes.Equal(now, seen) {
			if done, err = look(dirs, uid, enough); done || err != nil {
				return done, err
			}
			seen = now
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(interval):
		}
	}
	return false, nil
}

// written is all that is written of a pod that changes.
func written(dirs state.Dirs, uid string) (all []byte, err error) {
	for _, name := range []string{podFile, statusFile} {
		data, err := os.ReadFile(path.Join(podDir(dirs, path.Base(uid)), name))
		if err != nil && (name == podFile || !errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
		all = append(all, data...)
	}
	return all, nil
}

func look(dirs state.Dirs, uid string, enough func(*Stored, *Status) (bool, error)) (bool, error) {
	p, err := Get(dirs, uid)
	if err != nil {
		return false, err
	}
	s, err := ReadStatus(dirs, uid)
	if err != nil {
		return false, err
	}
	return enough(p, s)
}

// lookAgain is how often wait looks whether there is a supervisor: its death changes nothing in the folder.
const lookAgain = time.Second

func wait(ctx context.Context, watch *linux.Watch, dirs state.Dirs, uid string, enough func(*Stored, *Status) (bool, error)) error {
	defer context.AfterFunc(ctx, watch.Wake)()
	for {
		if done, err := look(dirs, uid, enough); done || err != nil {
			return err
		}
		watch.Until(time.Now().Add(lookAgain))
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := watch.Wait(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// Revive starts supervisors for the pods that should have one: those that a dead supervisor left before their end, and those that are to be
// deleted. Every command that is about pods begins with it.
func Revive(dirs state.Dirs) error {
	if err := Sweep(dirs); err != nil {
		return err
	}
	list, err := List(dirs, "")
	if err != nil {
		return err
	}
	for _, p := range list {
		uid := p.Metadata.UID
		s, e := readStatus(dirs, uid)
		if e == nil && (s.finished() || p.Stopped()) && p.Metadata.Deleted == nil {
			continue
		}
		there, e := Supervised(dirs, uid)
		if e == nil && !there {
			e = Start(dirs, uid)
		}
		if e != nil && !errors.Is(e, ErrNotFound) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Sweep removes what is left of pods that were being created or removed by a process that died: folders that no name leads to. A pod that is
// being created at this moment puts it off.
func Sweep(dirs state.Dirs) error {
	entries, err := os.ReadDir(podsDir(dirs))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep pods: %w", err)
	}
	named := map[string]bool{}
	names := path.Join(podsDir(dirs), ".names")
	links, err := os.ReadDir(names)
	if err != nil {
		return fmt.Errorf("sweep pods: %w", err)
	}
	for _, l := range links {
		if uid, err := os.Readlink(path.Join(names, l.Name())); err == nil {
			named[uid] = true
		}
	}
	var lock *state.Lock
	for _, e := range entries {
		if e.Name()[0] == '.' || named[e.Name()] {
			continue
		}
		if lock == nil {
			if lock, err = state.TryLock(path.Join(podsDir(dirs), ".lock")); errors.Is(err, state.ErrLocked) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("sweep pods: %w", err)
			}
			defer lock.Unlock()
		}
		if err := sweep(dirs, e.Name()); err != nil {
			return fmt.Errorf("sweep pods: %w", err)
		}
	}
	return nil
}

// sweep removes a pod that had no name when the caller looked, unless it has one by now or somebody supervises it: its last steps are its
// supervisor's.
func sweep(dirs state.Dirs, uid string) error {
	if s, err := Get(dirs, uid); err == nil {
		if owner, err := os.Readlink(nameLink(dirs, s.Metadata)); err == nil && owner == uid {
			return nil
		}
	}
	there, err := Supervised(dirs, uid)
	if err != nil || there {
		return err
	}
	return os.RemoveAll(podDir(dirs, uid))
}

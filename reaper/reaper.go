// Package reaper is PID 1 of a pod.
//
// The kernel gives PID 1 of a pid namespace two duties. Every orphan becomes its child, and stays a zombie until it is
// waited for. And when it ends, the kernel kills whoever is left: so PID 1 is the pod's life. A third follows from a
// protection: signals that PID 1 has no handler for are not delivered to it, so a program that is PID 1 itself ignores
// SIGTERM unless it was written for that. Under the reaper it is an ordinary process, and dies as its author expects.
//
// What it will not do: start anything, restart anything, read a configuration, poll. A supervisor outside does that.
package reaper

import (
	"errors"
	"runtime"
	"sync"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
)

// Signals are those that somebody may send to PID 1 and mean the command, and SIGCHLD. Who executes us must have blocked them (see the
// package stage): none is lost that comes early, and of SIGTSTP and SIGCONT the kernel keeps the later one (man 7 signal).
func Signals() linux.SignalSet {
	return linux.ForwardableSet() | linux.Signals(syscall.SIGCHLD, syscall.SIGPIPE)
}

// A Reaper is PID 1 over a command.
type Reaper struct {
	// Deadly, when it comes, has the command killed. It is for a parent that must do something after the command's end, whatever ends it.
	Deadly syscall.Signal
	// LeaveOrphans has it neglect the first of its duties: for lessons about what becomes of a machine whose PID 1 does.
	LeaveOrphans bool
}

// Listen has this thread take the signals, in Run. It is called before the command is forked, so that none of them is anybody else's. The
// calling goroutine is locked to its thread.
func Listen() error { return linux.TakeSignals(Signals()) }

// IgnoreFaults lets nobody inside end us by sending what the kernel sends for a fault of ours. A real fault ends us all the same: there the
// kernel does not ask. It is called when the command is forked, who would inherit it.
func IgnoreFaults() error {
	return linux.IgnoreSignals(syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGSTKFLT)
}

// Pause is the life of a PID 1 without a command: a pod's, which is there for others to live in. It reaps what they leave behind, until SIGTERM
// or SIGINT.
func Pause() error {
	if err := errors.Join(Listen(), IgnoreFaults()); err != nil {
		return err
	}
	for {
		number, err := linux.WaitSignal(Signals())
		switch {
		case err != nil:
			return err
		case number == syscall.SIGTERM, number == syscall.SIGINT:
			return nil
		case number == syscall.SIGCHLD:
			reap(everybody, 0)
		}
	}
}

// Run reaps everything and forwards signals until the process child ends, and returns its exit status: its own, or 128 and
// the number of the signal that ended it.
func (r Reaper) Run(child int) (status int) {
	who := everybody
	if r.LeaveOrphans {
		who = child
	}
	for {
		number, err := linux.WaitSignal(Signals())
		if err != nil {
			return 255
		}
		switch number {
		case syscall.SIGCHLD:
			if status, ended := reap(who, child); ended {
				return status
			}
			continue
		case r.Deadly:
			number = syscall.SIGKILL
		case syscall.SIGTSTP: // the child leads a session, so its process group is orphaned: there it stops nobody
			number = syscall.SIGSTOP
		}
		_ = syscall.Kill(child, number) // ESRCH: it has just ended, and so do we
	}
}

const everybody = -1 // man 2 waitpid

// reap waits for those who have ended: one SIGCHLD may stand for many. ended tells whether child is among them, or that nobody can tell.
func reap(who, child int) (status int, ended bool) {
	for {
		var how syscall.WaitStatus
		pid, err := syscall.Wait4(who, &how, syscall.WNOHANG, nil) // LAB: reap
		switch {
		case errors.Is(err, syscall.EINTR):
		case pid <= 0: // nobody has ended, or nobody is left
			return 0, false
		case pid == child && how.Signaled():
			return 128 + int(how.Signal()), true
		case pid == child && how.Exited():
			return how.ExitStatus(), true
		}
	}
}

// threads is how many Go may want in Run beside those that it has for itself: for the goroutine that is in the kernel, and one to run others.
// Each counts for the group's pids.max, so there are no more.
const threads = 2

// MakeThreads has Go make its threads now, before there is a child, for a PID 1 in a group with a pids.max. Go keeps them, and makes another when it wants one more: whoever
// has used up the limit by then, a fork bomb, would crash us, and so end the container that it is there to save. Each takes some 20 kB.
func MakeThreads() {
	var there, ready sync.WaitGroup
	there.Add(threads)
	ready.Add(1)
	for range threads {
		go func() {
			runtime.LockOSThread() // a thread of its own, until it is unlocked again
			there.Done()
			ready.Wait()
			runtime.UnlockOSThread()
		}()
	}
	there.Wait()
	ready.Done()
}

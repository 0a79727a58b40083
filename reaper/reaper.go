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
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
)

// JobControl are the signals that must be blocked in every thread of ours, which only who executes us can see to: see the package stage.
// os/signal may hand out a SIGCONT before the SIGTSTP that came earlier, and the command would stay stopped for ever. The kernel keeps
// the later one alone (man 7 signal), where the earlier was not taken yet; so these two are taken from the kernel.
func JobControl() linux.SignalSet { return linux.Signals(syscall.SIGTSTP, syscall.SIGCONT) }

// A Reaper is made (by Listen) before anybody is told of its main child, so that no signal falls in between.
type Reaper struct {
	signals chan os.Signal
	deadly  syscall.Signal
	orphans bool // they stay zombies
}

// Listen takes over the signals that somebody may send to PID 1 and mean the child; the real-time ones follow in Run.
func Listen() *Reaper {
	r := &Reaper{signals: make(chan os.Signal, 64)}
	usual, _ := linux.Forwardable()
	usual = slices.DeleteFunc(usual, func(s os.Signal) bool { return s == syscall.SIGTSTP || s == syscall.SIGCONT })
	signal.Notify(r.signals, usual...)
	return r
}

// KillOn has the child killed when sig comes. It is for a parent that must do something after the child's end, whatever ends it.
func (r *Reaper) KillOn(sig syscall.Signal) {
	r.deadly = sig
	signal.Notify(r.signals, sig)
}

// LeaveOrphans makes it neglect the first of its duties: for lessons about what becomes of a machine whose PID 1 does.
func (r *Reaper) LeaveOrphans() { r.orphans = true }

// Pause is the life of a PID 1 without a command: a pod's, which is there for others to live in. It reaps what they leave behind, until SIGTERM
// or SIGINT.
func Pause() {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	// What somebody inside may send in a fault's name: see Run.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP,
		syscall.SIGSYS, syscall.SIGSTKFLT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGABRT)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if pid <= 0 || err != nil { // nobody is left, or nobody has ended
				break
			}
		}
	}
}

// Run reaps everything and forwards signals until the process child ends, and returns its exit status: its own, or 128 and
// the number of the signal that ended it.
func (r *Reaper) Run(child int) (status int) {
	go func() {
		_, realTime := linux.Forwardable()
		signal.Notify(r.signals, realTime...)
		// Somebody inside may send what the kernel sends for a fault of ours. It says nothing: without this Go would
		// believe it, and crash. To a channel that nobody reads: a real fault ends us all the same.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP,
			syscall.SIGSYS, syscall.SIGSTKFLT)
		for s := range r.signals {
			if number, ok := s.(syscall.Signal); ok {
				if number == r.deadly {
					number = syscall.SIGKILL
				}
				_ = syscall.Kill(child, number) // ESRCH: it has just ended, and so do we
			}
		}
	}()
	go func() {
		for {
			number := linux.WaitSignal(JobControl())
			if number == syscall.SIGTSTP { // the child leads a session, so its process group is orphaned: there SIGTSTP stops nobody
				number = syscall.SIGSTOP
			}
			_ = syscall.Kill(child, number)
		}
	}()
	waited := -1 // LAB: reap
	if r.orphans {
		waited = child
	}
	for {
		var ended syscall.WaitStatus
		pid, err := syscall.Wait4(waited, &ended, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil: // ECHILD: somebody reaped it for us, which nobody can
			return 255
		case pid == child && ended.Signaled():
			return 128 + int(ended.Signal())
		case pid == child && ended.Exited():
			return ended.ExitStatus()
		}
	}
}

// threads is how many Go may want in Run beside those that it has for itself: the goroutines that are in the kernel, and one to run others.
// Each counts for the group's pids.max, so there are no more.
const threads = 5

// MakeThreads has Go make its threads now, before there is a child, for a PID 1 in a group with a pids.max. Go keeps them, and makes another when it wants one more: whoever
// has used up the limit by then, a fork bomb, would crash us, and so end the container that it is there to save. They take 200 kB.
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

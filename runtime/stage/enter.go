package stage

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// A Held is a sandbox that runs, held so that what is done with it reaches that one and no other, whenever it ends. The caller closes it.
type Held struct {
	root       linux.File
	pidfd      int
	namespaces uintptr  // those that the sandbox does not share with us, CLONE_NEW*
	pids       *os.File // the pid namespace, where the sandbox is not in it; nil: the sandbox's, if it is not the host's
}

// Hold takes hold of a sandbox that nobody has waited for yet: until then its number means it and nobody else.
func (p *Sandbox) Hold() (*Held, error) {
	pidfd, err := linux.OpenProcess(p.PID)
	if err != nil {
		return nil, err
	}
	root, err := linux.OpenDir("/proc/" + strconv.Itoa(p.PID) + "/root")
	if err != nil {
		linux.Close(pidfd)
		return nil, fmt.Errorf("look into the container: %w", err)
	}
	h := &Held{root: root, pidfd: pidfd, namespaces: p.Namespaces}
	if p.pidNamespace != nil { // which is closed as soon as somebody has waited for the sandbox
		fd, err := linux.DupHigh(p.pidNamespace)
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		h.pids = os.NewFile(uintptr(fd), p.pidNamespace.Name())
	}
	return h, nil
}

// Close lets go of it.
func (h *Held) Close() error {
	linux.Close(h.pidfd)
	h.root.Close()
	if h.pids != nil {
		return h.pids.Close()
	}
	return nil
}

// An Entry says what to run in a sandbox that runs already: exec.
type Entry struct {
	Sandbox  *Held
	Cgroup   *os.File // the group that it is born in; nil: ours
	Process  Process
	Stdio    [3]*os.File // where Terminal is false
	Terminal bool
	Sealed   bool // a sealed copy of our binary, as in Options
}

// Enter runs e.Process in the sandbox's namespaces, and returns when it executes; with e.Terminal also the terminal's master, which the
// caller closes. The process is the caller's child, and dies with the sandbox. The error is a *Failure's with docker's exit status.
//
// Nothing of Go runs inside: one list of calls joins the namespaces, clones (a pid namespace is the one of children only) and
// becomes the program, in the same steps as the container's own command. An envoy forks that, see envoy.go.
//
// Trust: from the clone to the execve the process is seen in the container's pid namespace, and its /proc/PID/exe is our binary.
// It is not dumpable meanwhile, and its memory belongs to our user namespace: no power of the container's reaches it. The container's
// files are looked at from outside, through its root, by openat2 with RESOLVE_IN_ROOT.
func Enter(e Entry) (child *linux.Child, console *os.File, err error) { return sendEnvoy(&e) }

// enter is Enter by our own fork, on our parent's behalf.
func enter(e *Entry) (forked entered, console *os.File, err error) {
	root := e.Sandbox.root
	s := &sandbox{plan: &Plan{Process: e.Process, Reaper: true, Terminal: e.Terminal}}
	err = s.identify(func(name string) (*os.File, error) {
		f, err := root.OpenFileInRoot(name, os.O_RDONLY)
		if err != nil {
			return nil, err
		}
		return f.OSFile(), nil
	})
	if err != nil {
		return forked, nil, hint.Exit(err, hint.ExitNotExecutable)
	}
	if e.Terminal {
		if console, s.terminal, _, err = linux.OpenTerminalIn(root); err != nil {
			return forked, nil, err
		}
		defer s.terminal.Close()
	}
	forked, err = s.enter(e)
	return forked, console, err
}

func (s *sandbox) enter(e *Entry) (forked entered, err error) {
	s.search = candidates(e.Process.Args[0], lookup(e.Process.Env, "PATH"))
	p := &payload{program: &linux.Program{}}
	cleanup, err := s.addEntry(e, p.program)
	if err != nil {
		return forked, err
	}
	defer cleanup()
	p.parts = append(p.parts, payloadPart{step{name: "enter", why: "the container's namespaces become ours"}, p.program.Len()})
	s.addPayload(p)
	child, err := linux.ForkInto(e.Cgroup, linux.CloneParent, p.program)
	if err != nil {
		return forked, err
	}
	forked.Forked = child.PID
	if forked.PID, err = child.StartedForParent(); err == nil {
		return forked, nil
	}
	step, err := s.blame(p, err)
	if step != "exec" {
		err = hint.Exit(fmt.Errorf("%s: %w", step, err), hint.ExitNotExecutable)
	}
	return forked, err
}

// addEntry adds what comes before the steps of a payload.
func (s *sandbox) addEntry(e *Entry, p *linux.Program) (cleanup func(), err error) {
	var high []int
	cleanup = func() {
		for _, fd := range high {
			linux.Close(fd)
		}
	}
	if adj := e.Process.OOMScoreAdj; adj != nil {
		p.OOMScoreAdj(*adj)
	}
	p.NotDumpable()
	p.DefaultSignals()
	if !e.Terminal { // the terminal comes with the session
		for i, f := range e.Stdio {
			fd, err := linux.DupHigh(f)
			if err != nil {
				cleanup()
				return nil, err
			}
			high = append(high, fd)
			p.Dup(fd, i)
		}
	}
	h := e.Sandbox
	if h.pids == nil {
		p.SetnsAll(h.pidfd, h.namespaces)
	} else {
		p.SetnsAll(h.pidfd, h.namespaces&^linux.NewPID)
		p.Setns(int(h.pids.Fd()), "pid")
	}
	p.Clone(0)
	if s.terminal != nil {
		p.Fchown(int(s.terminal.Fd()), s.uid, s.gid)
	}
	p.Chdir(path.Clean("/" + e.Process.Cwd))
	return cleanup, nil
}

// notFound is the error of a command that is nowhere in the PATH, or not where its name says.
func notFound(name string) error {
	var err error = &os.PathError{Op: "execute", Path: name, Err: syscall.ENOENT}
	if path.Base(name) == name {
		err = fmt.Errorf("%q: executable file not found in $PATH: %w", name, syscall.ENOENT)
	}
	return hint.Wrap(hint.Exit(err, hint.ExitNotFound), "look around in the image: minipod run -it --entrypoint sh IMAGE")
}

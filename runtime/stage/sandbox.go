package stage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/internal/wire"
	"codeberg.org/minipod/minipod/reaper"
	"codeberg.org/minipod/minipod/rootfs"
)

// controlFD is the child's one descriptor beside standard input, output and error, and Options.Files.
const controlFD = 3

// FirstFile is the descriptor of the first of Options.Files.
const FirstFile = controlFD + 1

// Role is argv[1] of a sandbox.
const Role = "sandbox"

// IsSandbox tells whether this process was forked by Start. A person who types the role's name has no control socket.
func IsSandbox(args []string) bool {
	return len(args) == 3 && args[0] == "minipod" && args[1] == Role && linux.IsSeqpacket(controlFD)
}

// A sandbox is the child's end.
type sandbox struct {
	plan     *Plan
	root     *rootfs.Builder
	calls    []CallResult // of the step at hand, with --explain
	terminal *os.File     // the slave, with -t
	command  string       // the file to execute
	search   []string     // instead of command, from outside: the files to try
	uid, gid uint32
	groups   []uint32
	rest     []string // its restKinds of namespaces, by the texts of their links in /proc, where it shares a pid namespace

	gateIn, gateOut *os.File // see confine.go
}

// Main is the sandbox's life. It never returns.
func Main() {
	if err := linux.SetCloseOnExec(controlFD); err != nil {
		os.Exit(hint.ExitRuntime)
	}
	s := &sandbox{}
	name, err := s.build()
	if err == nil {
		name, err = s.run()
	}
	s.fail(name, err)
	os.Exit(hint.ExitRuntime)
}

// build carries out the table.
func (s *sandbox) build() (name string, err error) {
	if err := s.readPlan(); err != nil {
		return "plan", err
	}
	s.await("mapped")
	for _, step := range sandboxSteps {
		if s.without(step.name) {
			if step.name != pivotRoot {
				continue
			}
			step = chrootStep
		}
		if err := s.announce(step); err != nil {
			return step.name, err
		}
		started := time.Now()
		err := step.do(s)
		if told := s.tell(step.name, step.why, time.Since(started), err); told != nil && err == nil {
			err = told
		}
		if err != nil {
			return step.name, err
		}
	}
	return "", nil
}

func (s *sandbox) readPlan() error {
	f := os.NewFile(uintptr(s.await("plan")), "plan")
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	s.plan = &Plan{}
	if err := wire.Decode(data, s.plan.fields); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	s.root = &rootfs.Builder{Plan: &s.plan.Rootfs}
	if s.plan.Explain {
		s.root.Trace = s.trace
	}
	return nil
}

// run is the last step: the program. From "exec" on only the program's own success or failure is left to tell.
func (s *sandbox) run() (name string, err error) {
	if s.plan.Pause {
		return "pause", s.pause()
	}
	if err := s.openGate(); err != nil {
		return "exec", err
	}
	payload, err := s.payload()
	if err != nil {
		return "exec", err
	}
	if err := s.announce(step{name: "exec", why: whyExec}); err != nil {
		return "exec", err
	}
	if err := s.send(message{Kind: "exec"}); err != nil {
		return "exec", err
	}
	if !s.plan.Reaper {
		s.tellPayload(payload, nil)
		return s.blame(payload, payload.program.Run()) // returns only where execve failed
	}
	if err := reaper.Listen(); err != nil {
		return "exec", err
	}
	init := reaper.Reaper{LeaveOrphans: s.without(Reaping)}
	if s.plan.sharesPIDs() { // the supervisor's death is to be heard: see endRest
		init.Deadly = orphaned
		if err := linux.SetParentDeathSignal(orphaned); err != nil {
			return "exec", err
		}
	}
	hostPIDs := s.plan.HostPIDs
	if hostPIDs { // whom the command leaves behind is ours to end, and to reap
		if err := linux.AdoptOrphans(); err != nil {
			return "exec", err
		}
	}
	if s.plan.Bounded {
		reaper.MakeThreads() // while nobody can have used up the limit: the command, let go, may be a fork bomb at once
	}
	child, err := linux.Fork(0, payload.program) // LAB: fork-command
	if err != nil {
		return "exec", err
	}
	if err := reaper.IgnoreFaults(); err != nil {
		return "exec", err
	}
	if err := s.passGate(); err != nil {
		return "exec", fmt.Errorf("limit PID 1: %w", err)
	}
	err = child.Started()
	s.tellPayload(payload, err)
	if err != nil {
		return s.blame(payload, err)
	}
	rest := s.rest
	if err := s.settle(); err != nil {
		return "exec", err
	}
	status := init.Run(child.PID)
	if len(rest) > 0 {
		endRest(rest)
	}
	if hostPIDs {
		linux.EndChildren()
	}
	os.Exit(status)
	return "", nil
}

// pause is the last step where there is no command. It returns only where it failed.
func (s *sandbox) pause() error {
	if err := s.announce(step{name: "pause", why: "PID 1 stays for those who will live here, and reaps"}); err != nil {
		return err
	}
	if err := s.send(message{Kind: "exec"}); err != nil {
		return err
	}
	p := &s.plan.Process
	if s.exposed() {
		if err := linux.LimitAllThreads(p.Setgroups, capsOfPID1, p.Bounding, p.NoNewPrivileges, p.Seccomp); err != nil {
			return err
		}
	}
	if err := s.settle(); err != nil {
		return err
	}
	if err := reaper.Pause(); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}

// settle makes PID 1 as small as it can be: no descriptor, hardly a capability, no memory that it does not need.
func (s *sandbox) settle() error {
	if s.gateIn == nil { // else it is done
		set := uint64(capsOfPID1)
		if s.plan.sharesPIDs() {
			set = capsOutside
		}
		if s.plan.joinsPIDs() {
			linux.Close(s.plan.PIDNamespace)
		}
		if err := linux.SetCapabilities(set); err != nil {
			return err
		}
	}
	if err := linux.NullStdio(); err != nil {
		return err
	}
	if s.terminal != nil {
		s.terminal.Close()
	}
	*s = sandbox{}
	linux.Close(controlFD) // EOF: the parent knows that the program runs
	return nil
}

// announce waits for the parent's word, with --step.
func (s *sandbox) announce(next step) error {
	if !s.plan.Step {
		return nil
	}
	if err := s.send(message{Kind: "step", Event: &Event{Step: next.name, Why: next.why, Who: Role, Before: true}}); err != nil {
		return err
	}
	s.await("go")
	return nil
}

// tell sends what a step did, with --explain.
func (s *sandbox) tell(name, why string, took time.Duration, err error) error {
	if !s.plan.Explain || len(s.calls) == 0 && err == nil {
		return nil
	}
	event := &Event{Step: name, Why: why, Who: Role, Calls: s.calls, Micros: took.Microseconds()}
	if err != nil {
		event.Error = clip(err.Error())
	}
	s.calls = nil
	return s.send(message{Kind: "step", Event: event})
}

// did notes a system call for --explain, and returns its error.
func (s *sandbox) did(err error, format string, args ...any) error {
	if s.plan.Explain {
		s.trace(fmt.Sprintf(format, args...), err)
	}
	return err
}

func (s *sandbox) trace(call string, err error) {
	result := "ok"
	if err != nil {
		result = err.Error()
		if errno := syscall.Errno(0); errors.As(err, &errno) {
			result = errno.Error()
		}
	}
	s.calls = append(s.calls, CallResult{clip(call), clip(result)})
}

// clip keeps a record shorter than what the parent receives at once: a command's arguments may be megabytes.
func clip(text string) string {
	const most = 2000
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

func (s *sandbox) send(m message) error { return s.sendFD(m, -1) }

func (s *sandbox) sendFD(m message, fd int) error {
	return linux.Send(controlFD, wire.Encode(m.fields), fd)
}

// await waits for the parent's word, and returns the descriptor that came with it, or -1. Without a parent there is
// nobody to tell, and nothing to do.
func (s *sandbox) await(word string) (fd int) {
	var record [16]byte
	linux.WaitReadable(controlFD)
	n, fd, err := linux.Receive(controlFD, record[:])
	if err != nil || string(record[:n]) != word {
		os.Exit(hint.ExitRuntime)
	}
	return fd
}

func (s *sandbox) fail(name string, err error) {
	_ = s.send(message{Kind: "failed", Fail: failureOf(name, err)}) // nobody there: nothing to tell
}

func failureOf(step string, err error) *Failure {
	f := &Failure{Step: step, Text: clip(err.Error()), Hint: clip(hint.Of(err)), Exit: hint.ExitStatus(err, hint.ExitRuntime)}
	errors.As(err, &f.Errno)
	return f
}

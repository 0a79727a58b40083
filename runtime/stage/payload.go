package stage

import (
	"errors"
	"fmt"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

const whyExec = "from here on we are the program"

// A payload is the program of raw calls that turns a forked child (or PID 1 itself) into the command.
type payload struct {
	program *linux.Program
	parts   []payloadPart // which step each call belongs to
}

type payloadPart struct {
	step step
	last int // index after its last call
}

// payloadSteps are the steps after the fork. They only write calls down; so they are a table like the other, told and
// blamed in the same way. Where no_new_privs is off, seccomp must come before the capabilities go: installing a filter
// takes one or the other (man 2 seccomp). early-seccomp is for that case.
var payloadSteps = []struct {
	name string
	add  func(*sandbox, *linux.Program)
	why  string
}{
	{"join-pids", (*sandbox).addJoinPIDs, "whose processes it is to live among: a pid namespace is that of children"},
	{"gate", (*sandbox).addGate, "a program that may trace PID 1 starts when PID 1 can do no more than itself"},
	{"session", (*sandbox).addSession, "a session of its own: the user's terminal is not its to control"},
	{"limits", (*sandbox).addLimits, "resource limits, the file mode mask, huge pages as the machine gives them"},
	{"early-seccomp", (*sandbox).addEarlySeccomp, "without no_new_privs only a capable process may install the filter"},
	{"bound-capabilities", (*sandbox).addBounding, "what is not in the bounding set can never come back"},
	{"credentials", (*sandbox).addCredentials, "groups first, then gid, then uid: afterwards it is too late"},
	{"capabilities", (*sandbox).addCapabilities, "root in the container, with Docker's few of its powers"},
	{"no-new-privs", (*sandbox).addNoNewPrivileges, "no set-uid program in the image can raise them again"},
	{"descriptors", (*sandbox).addDescriptors, "nothing that we or our caller left open goes along"},
	{"among", (*sandbox).addAmong, "seen by the others from here on: by now it can do no more than the command"},
	{"signals", (*sandbox).addSignals, "those that wait in PID 1 are not to wait in the command"},
	{"seccomp", (*sandbox).addSeccomp, "last: everything above needed calls that it forbids"},
	{"exec", (*sandbox).addExec, whyExec},
}

// usualCalls are about as many as a payload's program has.
const usualCalls = 48

func (s *sandbox) payload() (*payload, error) {
	p := &payload{program: linux.NewProgram(usualCalls)}
	s.addPayload(p)
	return p, nil
}

func (s *sandbox) addPayload(p *payload) {
	for _, part := range payloadSteps {
		if s.without(part.name) {
			continue
		}
		before := p.program.Len()
		part.add(s, p.program)
		if p.program.Len() > before {
			p.parts = append(p.parts, payloadPart{step{name: part.name, why: part.why}, p.program.Len()})
		}
	}
}

func (s *sandbox) addSession(p *linux.Program) {
	if !s.plan.joinsPIDs() { // else it is not the process yet that will lead it
		s.addSessionNow(p)
	}
}

func (s *sandbox) addSessionNow(p *linux.Program) {
	if s.plan.Reaper { // else it is PID 1, which leads a session already
		p.Setsid()
	}
	if s.terminal == nil {
		return
	}
	for fd := range 3 {
		p.Dup(int(s.terminal.Fd()), fd)
	}
	p.ControllingTerminal(0)
}

func (s *sandbox) addLimits(p *linux.Program) {
	for _, limit := range s.plan.Process.Rlimits {
		p.Rlimit(limit.Resource, limit.Name, limit.Soft, limit.Hard)
	}
	p.Umask(s.plan.Process.Umask)
	p.HugePages(true) // PID 1 has none, and the supervisor neither
}

func (s *sandbox) addEarlySeccomp(p *linux.Program) {
	if !s.plan.Process.NoNewPrivileges && s.plan.Process.Seccomp != nil {
		p.Seccomp(s.plan.Process.Seccomp)
	}
}

func (s *sandbox) addBounding(p *linux.Program) {
	p.BoundCapabilities(s.plan.Process.Bounding, linux.LastCapability())
}

func (s *sandbox) addCredentials(p *linux.Program) {
	p.Credentials(s.uid, s.gid, s.groups, s.plan.Process.Setgroups)
	if !s.plan.Reaper || s.plan.HostPIDs { // the kernel forgot it as the uid changed (man 2 PR_SET_PDEATHSIG)
		p.ParentDeathSignal(syscall.SIGKILL)
	}
}

func (s *sandbox) addCapabilities(p *linux.Program) {
	p.ClearAmbient()
	set := s.plan.Process.Capabilities
	if s.uid != 0 { // as Docker: another user has none, whatever the list says
		set = 0
	}
	p.Capabilities(set, set, 0) // LAB: capabilities
}

func (s *sandbox) addNoNewPrivileges(p *linux.Program) {
	if s.plan.Process.NoNewPrivileges {
		p.NoNewPrivileges()
	}
}

func (s *sandbox) addDescriptors(p *linux.Program) { p.CloseFrom(3) }

// addJoinPIDs and addAmong put the command into another container's pid namespace. Trust boundary: who may trace there sees the process
// from its birth on, while its memory still is ours. So it is born late, with the command's own powers, and by a sandbox whose binary
// is a sealed copy.
func (s *sandbox) addJoinPIDs(p *linux.Program) {
	if s.plan.joinsPIDs() {
		p.Setns(s.plan.PIDNamespace, "pid")
	}
}

func (s *sandbox) addAmong(p *linux.Program) {
	if s.plan.joinsPIDs() {
		p.Clone(0)
		s.addSessionNow(p)
		p.ParentDeathSignal(syscall.SIGKILL) // the sandbox is not the PID 1 with which it would die
	}
}

func (s *sandbox) addSignals(p *linux.Program) { p.BlockSignals(0) }

func (s *sandbox) addSeccomp(p *linux.Program) {
	if s.plan.Process.NoNewPrivileges && s.plan.Process.Seccomp != nil {
		p.Seccomp(s.plan.Process.Seccomp)
	}
}

func (s *sandbox) addExec(p *linux.Program) {
	if s.search != nil {
		p.ExecveFirst(s.search, s.plan.Process.Args, s.plan.Process.Env)
		return
	}
	p.Execve(s.command, s.plan.Process.Args, s.plan.Process.Env)
}

// tellPayload tells of the calls up to and including the one that failed.
func (s *sandbox) tellPayload(p *payload, err error) {
	if !s.plan.Explain {
		return
	}
	failed := len(p.program.Calls())
	var call *linux.CallError
	if errors.As(err, &call) {
		failed = call.Index
	}
	first := 0
	for _, part := range p.parts {
		for i := first; i < part.last && i <= failed; i++ {
			s.trace(p.program.Calls()[i], map[bool]error{true: err}[i == failed])
		}
		if first <= failed {
			_ = s.tell(part.step.name, part.step.why, 0, nil)
		}
		first = part.last
	}
}

// blame says which step the failed call belongs to, and what to do about it.
func (s *sandbox) blame(p *payload, err error) (name string, _ error) {
	var call *linux.CallError
	if !errors.As(err, &call) {
		return "exec", err
	}
	for _, part := range p.parts {
		if call.Index < part.last {
			name = part.step.name
			break
		}
	}
	switch {
	case name == "among" && call.Err == syscall.ENOMEM: // the kernel's answer where that namespace's PID 1 has ended
		return name, fmt.Errorf("the container whose processes it joins has ended: %w", err)
	case name != "exec":
		return name, err
	case s.search != nil && call.Err == syscall.ENOENT:
		return name, notFound(s.plan.Process.Args[0])
	case s.search != nil:
		s.command = s.plan.Process.Args[0]
	}
	err = fmt.Errorf("execute %s: %w", s.command, call.Err)
	switch call.Err {
	case syscall.ENOENT:
		return name, hint.Wrap(hint.Exit(err, hint.ExitNotFound), "the file is there but its interpreter (the #! line, or the dynamic loader) is not in the image")
	case syscall.EPERM, syscall.ENOSYS:
		if s.plan.Process.Seccomp != nil {
			return name, hint.Wrap(hint.Exit(err, hint.ExitNotExecutable), "the seccomp profile may forbid execve(2): it has to allow all that a program begins with")
		}
	case syscall.ENOEXEC:
		return name, hint.Wrap(hint.Exit(err, hint.ExitNotExecutable), "not a program of this machine's architecture, or a script without #!")
	}
	return name, hint.Exit(err, hint.ExitNotExecutable)
}

package stage

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/internal/wire"
	"codeberg.org/minipod/minipod/reaper"
)

// Options say how to fork a sandbox, and how to start it then.
type Options struct {
	Name       string      // of the container, as ps shows it
	Namespaces uintptr     // CLONE_NEW*: those that it does not share with the host
	Join       []Namespace // those of them that are not new but another's, the user namespace first
	Parent     *os.File    // the user namespace of which its own is a child; nil: the host's
	UIDMap     []byte      // with Parent, in place of MapIDs: as /proc/PID/uid_map takes it
	GIDMap     []byte
	Files      []*os.File          // what else it is born with, as descriptors from FirstFile on
	Stdio      [3]*os.File         // of the command; the sandbox itself keeps none of them
	Cgroup     *os.File            // the group that it is born in; nil: ours
	Sealed     bool                // execute a sealed copy of our binary: the payload may change mounts
	MapIDs     func(pid int) error // writes the id map of a new user namespace; called on a goroutine of its own
	Narrate    func(Event)         // told each step, when the plan says so

	Plan    *Plan               // from here on: what Start needs
	Prepare func(pid int) error // the last thing before the child goes on; may be nil
	Pause   func(Event) error   // returns when the step may go on; an error ends the start
}

// A Sandbox is the parent's hold on the child: PID 1 of its namespaces. Its owner calls Wait or Abandon once.
type Sandbox struct {
	PID     int
	Console *os.File // the terminal's master, with -t; the caller closes it

	Namespaces uintptr // as it was forked

	pidNamespace *os.File // another's, which the command is in and the sandbox is not; nil: its own
	hostPIDs     bool     // the sandbox and the command are in the host's
	rest         rest     // what its processes are found by, in both of these cases

	child    *linux.Child
	executes bool // it is known to execute us: it was forked into namespaces that there were
	descends bool // its user namespace is a child of another than the host's: its ids are mapped
	control  *os.File
	mapped   chan error // the id map's result
	began    time.Time
}

// Fork forks a sandbox, which executes this binary again, and has its ids mapped. Both take milliseconds, and go on while the
// caller finds out what the sandbox is to do; then it calls Start, or Abandon.
//
// The calling goroutine must be locked to its thread until Wait returns: the sandbox is killed when that thread dies.
func Fork(o Options) (*Sandbox, error) {
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	p := &Sandbox{control: ours, Namespaces: o.Namespaces, mapped: make(chan error, 1), began: time.Now()}
	program, cleanup, err := o.program(theirs)
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	flags := o.Namespaces
	switch {
	case len(o.Join) > 0, o.Parent != nil: // a namespace can be joined only from within its user namespace: the program clones after that
		flags = 0
	case o.Cgroup != nil: // the namespace's root is the group of who makes it: so the child does, in its own
		flags &^= linux.NewCgroup
	}
	p.child, err = linux.ForkInto(o.Cgroup, flags, program) // LAB: clone
	cleanup()                                               // a copy of the child's socket here would keep its EOF from us
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	p.PID = p.child.PID
	switch {
	case len(o.Join) > 0:
		return p.joined(&o, program.Calls())
	case o.Parent != nil:
		return p.descended(&o, program.Calls())
	}
	o.tell("clone", "one call makes the process and all of its namespaces", p.began, append([]string{"clone(" + linux.NamespaceNames(o.Namespaces) + ")"}, program.Calls()...), nil)
	p.began = time.Now()
	go func() { p.mapped <- o.MapIDs(p.PID) }()
	return p, nil
}

// Start has the sandbox carry out o.Plan, and returns when the program runs. Where that fails the sandbox is gone, and with it
// everything that it had mounted; the error is a *Failure or wraps an errno.
func (p *Sandbox) Start(o Options) error {
	defer p.control.Close()
	if err := p.start(&o); err != nil {
		return errors.Join(err, p.Abandon())
	}
	return nil
}

// Start is Fork and Start in one.
func Start(o Options) (*Sandbox, error) {
	p, err := Fork(o)
	if err != nil {
		return nil, err
	}
	return p, p.Start(o)
}

// program is what the child does before it is us again.
func (o *Options) program(control *os.File) (*linux.Program, func(), error) {
	files := append([]*os.File{o.Stdio[0], o.Stdio[1], o.Stdio[2], control}, o.Files...)
	prog := &linux.Program{}
	switch {
	case len(o.Join) > 0:
		o.join(prog)
	case o.Parent != nil:
		prog.Setns(int(o.Parent.Fd()), "user")
		prog.CloneMapped(o.Namespaces, o.UIDMap, o.GIDMap)
	case o.Cgroup != nil:
		prog.Unshare(o.Namespaces & linux.NewCgroup)
	}
	prog.Setsid() // PID 1 has no use for our terminal; and a key's signal comes once, through us
	var high []int
	cleanup := func() {
		for _, fd := range high {
			linux.Close(fd)
		}
	}
	for i, f := range files { // first out of the way, then into place: nothing is run over
		fd, err := linux.DupHigh(f)
		if err != nil {
			cleanup()
			return nil, nil, err
		}
		high = append(high, fd)
		prog.Dup(fd, i)
	}
	prog.CloseFrom(len(files)) // what our caller left open is not for PID 1 either
	prog.HugePages(false)      // PID 1 touches a few pages here and there: each would be of 2 MB
	prog.DefaultSignals()
	prog.BlockSignals(reaper.Signals())
	prog.AmbientCapabilities(1<<(linux.LastCapability()+1) - 1)
	argv := []string{"minipod", Role, o.Name}
	if self, ok := selfPath(); ok && !o.Sealed {
		prog.ExecveReadOnly(self, argv, Environment())
		return prog, cleanup, nil
	}
	sealed, err := sealedSelf()
	if err != nil {
		cleanup()
		return nil, nil, err
	}
	high = append(high, sealed)
	prog.ExecveFD(sealed, "minipod, sealed", argv, Environment())
	return prog, cleanup, nil
}

// Environment is what a role of ours that is small, and waits, is executed with. It has nothing of the user's.
func Environment() []string {
	return []string{
		"GOMAXPROCS=1", "GOTRACEBACK=none",
		"GODEBUG=containermaxprocs=0," + // or Go keeps files of the host's cgroup open
			"profstackdepth=0," + // no room in each thread for the stacks of a profile
			"cpu.sse42=off", // or a package of the CLI makes tables for a checksum that no sandbox wants: a tenth of its start
	}
}

// selfPath returns the path of our binary, if it still is our binary. /proc/self/exe itself does not do: it leads to a mount of
// the host's namespace, which a child in another one may not clone.
func selfPath() (string, bool) {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return "", false
	}
	there, err := os.Stat(path)
	if err != nil { // replaced by an upgrade: " (deleted)"
		return "", false
	}
	self, err := os.Stat("/proc/self/exe")
	return path, err == nil && os.SameFile(there, self)
}

// sealedSelf copies our binary to memory that nobody can write to: for a payload that may change mounts a read-only
// mount would be no obstacle. It takes milliseconds, so only such payloads pay for it.
func sealedSelf() (int, error) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return -1, fmt.Errorf("copy our binary: %w", err)
	}
	f, err := linux.SealedFile("minipod", self)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return linux.DupHigh(f)
}

func (p *Sandbox) start(o *Options) error {
	plan, err := linux.SealedFile("plan", wire.Encode(o.Plan.fields))
	if err != nil {
		return err
	}
	defer plan.Close()
	said, mapping := p.say("plan", int(plan.Fd())), p.ids()
	// Did the child even reach execve? Where the kernel refused open_tree, say, the rest failed only as a consequence.
	if !p.executes {
		if err := p.child.Started(); err != nil {
			return fmt.Errorf("start the sandbox: %w", err)
		}
	}
	if said != nil {
		return said
	}
	if o.Plan.HostPIDs { // by now all of its namespaces are there
		if err := p.holdRest(); err != nil {
			return fmt.Errorf("start the sandbox: %w", err)
		}
		p.hostPIDs = true
	}
	if mapping != nil {
		return mapping
	}
	if !p.executes && !p.descends {
		o.tell("id-map", "root inside is you outside; the other ids are your subordinate range", p.began, []string{fmt.Sprintf("newuidmap %d …, newgidmap %d …", p.PID, p.PID)}, nil)
	}
	if o.Prepare != nil {
		if err := o.Prepare(p.PID); err != nil {
			return err
		}
	}
	if err := p.say("mapped", -1); err != nil {
		return err
	}
	return p.follow(o)
}

// ids waits for the id map. It may be called again.
func (p *Sandbox) ids() error {
	err := <-p.mapped
	p.mapped <- err
	return err
}

// follow reads the child's records until it runs or failed.
func (p *Sandbox) follow(o *Options) error {
	reached, executes := "its first step", false
	for {
		m, fd, err := p.next()
		if err != nil {
			return err
		}
		switch m.Kind {
		case "alive":
			reached = "root"
		case "console":
			if err := linux.SetNonblock(fd); err != nil {
				return err
			}
			p.Console = os.NewFile(uintptr(fd), "console")
		case "step":
			reached = m.Event.Step
			if err := p.hear(o, *m.Event); err != nil {
				return err
			}
		case "exec":
			executes = true
		case "failed":
			return hint.Exit(hint.Wrap(m.Fail, m.Fail.Hint), m.Fail.Exit)
		case "":
			if executes {
				return nil
			}
			return fmt.Errorf("the sandbox died after %s", reached)
		default:
			return fmt.Errorf("the sandbox sent %q, which nobody knows", m.Kind)
		}
	}
}

func (p *Sandbox) hear(o *Options, e Event) error {
	if !e.Before {
		if o.Narrate != nil {
			o.Narrate(e)
		}
		return nil
	}
	if o.Pause != nil {
		if err := o.Pause(e); err != nil {
			return err
		}
	}
	return p.say("go", -1)
}

// next returns the next record; the zero message is the end.
func (p *Sandbox) next() (message, int, error) {
	buf := make([]byte, 64<<10)
	n, fd, err := linux.Receive(int(p.control.Fd()), buf)
	if err != nil || n == 0 {
		return message{}, -1, err
	}
	return decode(buf[:n], fd)
}

func decode(record []byte, fd int) (message, int, error) {
	var m message
	err := wire.Decode(record, m.fields)
	switch {
	case err != nil:
		err = fmt.Errorf("decode the sandbox's record: %w", err)
	case m.Kind == "":
		err = errors.New("decode the sandbox's record: it has no kind")
	case m.Kind == "step" && m.Event == nil, m.Kind == "failed" && (m.Fail == nil || m.Fail.Text == ""), (m.Kind == "console") != (fd >= 0):
		err = fmt.Errorf("decode the sandbox's record: %q is not complete", m.Kind)
	}
	if err != nil && fd >= 0 {
		linux.Close(fd)
		fd = -1
	}
	return m, fd, err
}

func (p *Sandbox) say(word string, fd int) error {
	err := linux.Send(int(p.control.Fd()), []byte(word), fd)
	if errors.Is(err, syscall.EPIPE) {
		return p.follow(&Options{}) // it is gone; perhaps it said why
	}
	return err
}

// Abandon kills the sandbox and waits for its end. Once it is gone Abandon does nothing.
func (p *Sandbox) Abandon() error {
	if p.child == nil {
		return nil
	}
	defer func() { p.child = nil }()
	p.control.Close()
	if p.Console != nil {
		p.Console.Close()
	}
	if err := p.child.Kill(syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	_, err := p.child.Wait()
	err = errors.Join(err, p.endRest())
	_ = p.ids() // newuidmap and newgidmap have ended, too; a process that is gone they could not map
	return err
}

// Signal sends sig to PID 1, which forwards it to the command. SIGKILL ends them both.
func (p *Sandbox) Signal(sig syscall.Signal) error {
	if sig == syscall.SIGKILL && (p.pidNamespace != nil || p.hostPIDs) {
		// Killed itself, it would leave the command to the host's PID 1; and the container whose processes are shared can't end
		// until that one has reaped it. With the host's it would leave others whom the command began.
		sig = orphaned
	}
	return p.child.Kill(sig)
}

// Wait waits for the sandbox's end and returns the command's exit status, 128+n for a signal.
func (p *Sandbox) Wait() (int, error) {
	status, err := p.child.Wait()
	err = errors.Join(err, p.endRest())
	switch {
	case err != nil:
		return hint.ExitRuntime, err
	case status.Signaled():
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

func (o *Options) tell(name, why string, began time.Time, calls []string, err error) {
	if o.Narrate == nil {
		return
	}
	e := Event{Step: name, Why: why, Who: "minipod", Micros: time.Since(began).Microseconds()}
	for _, call := range calls {
		e.Calls = append(e.Calls, CallResult{call, "ok"})
	}
	if err != nil {
		e.Error = err.Error()
	}
	o.Narrate(e)
}

package stage

import (
	"errors"
	"fmt"
	"io"
	"os"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/internal/wire"
)

// EnvoyRole is argv[1] of an envoy: it enters a container on its parent's behalf.
//
// Trust: what becomes a program by execve(2) names the file that it executed before, /proc/self/exe, and a container can have it execute
// just that: by a link, or by a script that begins with #!/proc/self/exe. Forked by a supervisor this would be our binary on the
// host's disk, and root in the container is its owner (CVE-2019-5736). A supervisor's own executable can't be changed any more; so it
// executes us once more, through a read-only mount or as a sealed copy, and it is that process which forks.
//
//	supervisor                      envoy                        command
//	  fork, execveat ─────────────►
//	  entry, on descriptors  ─────►  fork with CLONE_PARENT ────►  setns, clone, …, execve
//	       ◄──── entered {pids or failure} + the terminal's master
//	                                 exits
//
// The command is the supervisor's child.
const EnvoyRole = "enter"

// The descriptors of an envoy: 0 to 2 are the command's, controlFD is the socket. The last two may be missing.
const (
	entryFD = controlFD + 1 + iota
	rootFD
	pidfdFD
	firstOptionalFD
)

// An entry is an Entry in a sealed file.
type entry struct {
	Process    Process
	Terminal   bool
	Namespaces uintptr
	PIDs       int // descriptors; 0: none
	Cgroup     int
}

// entered is what an envoy answers.
type entered struct {
	Fail   *Failure
	Forked int // the process that it forked, 0: none
	PID    int // the one that this made, the command; 0: none
}

// sendEnvoy has an envoy enter, and takes over what it leaves.
func sendEnvoy(e *Entry) (child *linux.Child, console *os.File, err error) {
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		return nil, nil, err
	}
	defer ours.Close()
	prog, cleanup, err := e.envoy(theirs)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	envoy, err := linux.Fork(0, prog)
	cleanup()
	theirs.Close() // a copy here would keep its EOF from us
	if err != nil {
		return nil, nil, err
	}
	started := envoy.Started()
	answer, console, err := hearEnvoy(int(ours.Fd()))
	if _, e := envoy.Wait(); started != nil || e != nil {
		err = errors.Join(started, e)
	}
	if answer.Forked != 0 {
		var e error
		child, e = linux.TakeOver(answer.Forked, answer.PID, answer.Fail == nil)
		err = errors.Join(err, e)
	}
	if f := answer.Fail; f != nil {
		err = errors.Join(hint.Exit(hint.Wrap(f, f.Hint), f.Exit), err)
	}
	if err != nil && console != nil {
		console.Close()
		console = nil
	}
	return child, console, err
}

func hearEnvoy(control int) (answer entered, console *os.File, err error) {
	buf := make([]byte, 64<<10)
	linux.WaitReadable(control)
	n, fd, err := linux.Receive(control, buf)
	if fd >= 0 {
		console = os.NewFile(uintptr(fd), "console")
	}
	if err == nil && n == 0 {
		err = errors.New("enter the container: the process that was to do it died")
	}
	if err == nil {
		if err = wire.Decode(buf[:n], answer.fields); err != nil {
			err = fmt.Errorf("decode the envoy's answer: %w", err)
		}
	}
	return answer, console, err
}

// envoy is what the fork does before it is us again.
func (e *Entry) envoy(control *os.File) (_ *linux.Program, cleanup func(), err error) {
	var high []int
	cleanup = func() {
		for _, fd := range high {
			linux.Close(fd)
		}
	}
	prog := &linux.Program{}
	add := func(fd int, name string) {
		if err == nil { // first out of the way, then into place: nothing is run over
			var copied int
			if copied, err = linux.DupHighFD(fd, name); err == nil {
				prog.Dup(copied, len(high))
				high = append(high, copied)
			}
		}
	}
	h := e.Sandbox
	data := entry{Process: e.Process, Terminal: e.Terminal, Namespaces: h.namespaces}
	optional := firstOptionalFD
	if h.pids != nil {
		data.PIDs, optional = optional, optional+1
	}
	if e.Cgroup != nil {
		data.Cgroup = optional
	}
	text := wire.Encode(data.fields)
	sealed, err := linux.SealedFile("entry", text)
	if err != nil {
		return nil, nil, err
	}
	defer sealed.Close()
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	for _, f := range e.Stdio {
		if e.Terminal {
			f = null
		}
		add(int(f.Fd()), f.Name())
	}
	add(int(control.Fd()), "the control socket")
	add(int(sealed.Fd()), "the entry")
	add(h.root.FD, "the container's root")
	add(h.pidfd, "the container's PID 1")
	for _, f := range []*os.File{h.pids, e.Cgroup} {
		if f != nil {
			add(int(f.Fd()), f.Name())
		}
	}
	prog.CloseFrom(len(high))
	prog.DefaultSignals()
	if err == nil {
		var self int
		if self, err = protectedSelf(e.Sealed || h.pids != nil); err == nil {
			high = append(high, self)
			prog.ExecveFD(self, "minipod, read-only", []string{"minipod", EnvoyRole}, Environment())
		}
	}
	if err != nil {
		cleanup()
		return nil, nil, err
	}
	return prog, cleanup, nil
}

// protectedSelf opens our binary so that who executes it can't be used to change it: by a read-only mount that nobody else can see, or
// where that is not possible, or not enough, as a sealed copy.
func protectedSelf(sealed bool) (int, error) {
	if path, ok := selfPath(); ok && !sealed {
		p := &linux.Program{}
		p.OpenReadOnly(path)
		if f, err := receiveMount(linux.Namespaces[0].Flag|linux.Namespaces[1].Flag, p, path); err == nil {
			defer f.Close()
			return linux.DupHigh(f)
		}
	}
	return sealedSelf()
}

// IsEnvoy tells whether this process is an envoy. A person who types the role's name has no control socket.
func IsEnvoy(args []string) bool {
	return len(args) == 2 && args[0] == "minipod" && args[1] == EnvoyRole && linux.IsSeqpacket(controlFD)
}

// envoyMain is an envoy's life. It never returns.
func envoyMain() {
	answer, console, err := visit()
	if err != nil {
		answer.Fail = failureOf("", err)
	}
	master := -1
	if console != nil && err == nil {
		master = int(console.Fd())
	}
	if err := linux.Send(controlFD, wire.Encode(answer.fields), master); err != nil {
		os.Exit(hint.ExitRuntime)
	}
	os.Exit(0)
}

func visit() (answer entered, console *os.File, err error) {
	if err := linux.SetCloseOnExec(controlFD); err != nil {
		return answer, nil, err
	}
	text, err := io.ReadAll(os.NewFile(entryFD, "entry"))
	if err != nil {
		return answer, nil, fmt.Errorf("read the entry: %w", err)
	}
	var e entry
	if err := wire.Decode(text, e.fields); err != nil {
		return answer, nil, fmt.Errorf("decode the entry: %w", err)
	}
	optional := func(fd int, name string) *os.File {
		if fd == 0 {
			return nil
		}
		return os.NewFile(uintptr(fd), name)
	}
	return enter(&Entry{
		Sandbox: &Held{linux.File{FD: rootFD, Name: "/"}, pidfdFD, e.Namespaces, optional(e.PIDs, "the pid namespace")},
		Cgroup:  optional(e.Cgroup, "the cgroup"), Process: e.Process, Terminal: e.Terminal,
		Stdio: [3]*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
}

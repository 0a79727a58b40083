package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/stage"
)

var errNotRunning = errors.New("the container is not running")

// serve answers requests until the listener is closed.
func (s *Supervisor) serve() {
	for {
		caller, err := s.listener.Accept()
		switch {
		case err != nil && s.isOver():
			return
		case err != nil: // no descriptor is left, say: they come back, and nobody could end a container that does not listen
			time.Sleep(10 * time.Millisecond)
		default:
			s.calls.Go(func() { s.answer(caller) })
		}
	}
}

// answer hears one caller. What takes until the container's end is told by then, or not at all: the caller sees us gone.
func (s *Supervisor) answer(caller *linux.Socket) {
	defer caller.Close()
	if uid, err := caller.Peer(); err != nil || int(uid) != os.Geteuid() && uid != 0 {
		return
	}
	r, files, err := s.hear(caller)
	if err != nil {
		return
	}
	defer closeAll(files)
	switch r.Op {
	case opAttach:
		s.attach(caller, r.Stdin)
	case opExec:
		s.exec(caller, files)
	case opWait:
		s.wait(caller)
	default:
		answer := reply{}
		if err := s.do(r); err != nil {
			answer = failed(err)
		}
		_ = sendJSON(caller, answer) // who does not wait for it does not get it
	}
}

// tongueTied is how long a caller may take to say what it wants.
const tongueTied = 10 * time.Second

// hear receives a caller's request. Neither a caller that says nothing, nor many of them, keep us from our own end.
func (s *Supervisor) hear(caller *linux.Socket) (*request, []*os.File, error) {
	s.mu.Lock()
	s.silent[caller] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.silent, caller)
		s.mu.Unlock()
	}()
	if s.isOver() {
		return nil, nil, errGone
	}
	var r request
	err := caller.SetReadDeadline(time.Now().Add(tongueTied))
	if err != nil {
		return nil, nil, err
	}
	files, err := receiveJSON(caller, &r)
	if err == nil {
		err = caller.SetReadDeadline(time.Time{})
	}
	return &r, files, err
}

func (s *Supervisor) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// do does what needs no more than an answer.
func (s *Supervisor) do(r *request) error {
	switch r.Op {
	case opSignal:
		err := s.Signal(syscall.Signal(r.Signal))
		if err == nil {
			s.tell("kill", map[string]string{"signal": strconv.Itoa(r.Signal)})
		}
		return err
	case opStop:
		err := s.stop(r)
		if err == nil {
			s.tell("stop", nil)
		}
		return err
	case opPause, opUnpause:
		err := s.freeze(r.Op == opPause)
		if err == nil {
			s.tell(r.Op, nil)
		}
		return err
	case opUpdate:
		err := s.update(r)
		if err == nil {
			s.tell(r.Op, nil)
		}
		return err
	case opRename:
		return s.rename(r.Name)
	}
	return fmt.Errorf("the supervisor does not know how to %q: it was started by another version of minipod", r.Op)
}

// stop asks the command to end, and kills it where it does not. It returns when the command has ended, and its end is written down.
func (s *Supervisor) stop(r *request) error {
	s.ask(r.Keep)
	if err := s.thaw(); err != nil {
		return err
	}
	b := s.bundle()
	sig := syscall.Signal(b.StopSignal)
	if r.Signal != 0 {
		sig = syscall.Signal(r.Signal)
	}
	timeout := b.StopTimeout
	if r.Timeout != nil {
		timeout = *r.Timeout
	}
	if timeout == 0 {
		sig = syscall.SIGKILL
	}
	life, err := s.deliver(sig)
	if err != nil || life == nil {
		return err
	}
	var late <-chan time.Time
	if timeout >= 0 {
		timer := time.NewTimer(time.Duration(timeout) * time.Second)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-life.ended:
	case <-late:
		if _, err := s.deliver(syscall.SIGKILL); err != nil {
			return err
		}
		<-life.ended
	}
	return nil
}

// Stop ends the container as a request does that names nothing, and returns when the command has ended.
func (s *Supervisor) Stop() error { return s.stop(&request{}) }

// wait tells the exit status of the command that runs now.
func (s *Supervisor) wait(caller *linux.Socket) {
	s.mu.Lock()
	life := s.life
	s.mu.Unlock()
	left := make(chan struct{})
	go func() { // a caller that was interrupted waits for nothing
		_, files, _ := caller.Receive(make([]byte, 1))
		closeAll(files)
		close(left)
	}()
	var answer reply
	select {
	case <-life.ended:
		answer.Status = &life.status
	case <-left:
		return
	case <-s.over: // it waited for a start that did not come
		answer = failed(errNotRunning)
	}
	_ = sendJSON(caller, answer)
}

// attach connects a caller with the command's stdin, stdout and stderr, until one of them ends.
func (s *Supervisor) attach(caller *linux.Socket, stdin bool) {
	if s.clients == nil {
		_ = sendJSON(caller, failed(hint.Wrap(errors.New("it runs in the foreground with --rm: its output is its caller's alone"), "run it with -d, or without --rm")))
		return
	}
	if !s.clients.attach(caller) {
		return
	}
	defer s.clients.detach(caller)
	buf := make([]byte, linux.MaxRecord)
	for {
		n, files, err := caller.Receive(buf)
		closeAll(files)
		if err != nil || n == 0 {
			return
		}
		if stdin || buf[0] == frameWindow {
			s.clients.input(buf[0], buf[1:n])
		}
	}
}

// exec runs a command in the container; the caller's files are the request itself and, without a terminal, stdin, stdout and stderr.
func (s *Supervisor) exec(caller *linux.Socket, files []*os.File) {
	e, err := readExec(files)
	if err != nil {
		_ = sendJSON(caller, failed(err))
		return
	}
	child, console, err := s.execute(e, files)
	if err != nil {
		_ = sendJSON(caller, failed(err))
		return
	}
	s.tell("exec_start", nil)
	closeAll(files) // the command has them: who reads its output must see its end
	switch {
	case console == nil:
		err = sendJSON(caller, reply{})
	case e.Detach: // nobody looks at the terminal, which must be there all the same, and never be full
		go func() { // until its last process: that may be a stranger's, so nobody waits for it
			defer console.Close()
			_, _ = io.Copy(io.Discard, console)
		}()
		err = sendJSON(caller, reply{})
	default:
		err = sendJSON(caller, reply{}, console)
		console.Close()
	}
	if err != nil {
		_ = child.Kill(syscall.SIGHUP) // the caller left before it knew: as a terminal that is closed
	}
	status, err := s.await(child, nil)
	answer := reply{}
	if err != nil {
		answer = failed(err)
	}
	code := status.ExitStatus()
	if status.Signaled() {
		code = 128 + int(status.Signal())
	}
	s.tell("exec_die", map[string]string{"exitCode": strconv.Itoa(code)})
	answer.Status = &code
	_ = sendJSON(caller, answer)
}

// await waits for the end of a command that exec began. It does not outlive the container: where that shares its pid namespace with
// others, no PID 1 takes the command along. Nor does it outlive late.
func (s *Supervisor) await(child *linux.Child, late <-chan struct{}) (syscall.WaitStatus, error) {
	ended := make(chan struct{})
	var killing sync.WaitGroup
	killing.Go(func() {
		select {
		case <-ended:
		case <-late:
			_ = child.Kill(syscall.SIGKILL)
		case <-s.over:
			_ = child.Kill(syscall.SIGKILL)
		}
	})
	err := linux.AwaitExit(child.PID)
	close(ended)
	killing.Wait() // before the child's number is anybody's
	status, waiting := child.Wait()
	return status, errors.Join(err, waiting)
}

func (s *Supervisor) execute(e *ExecRequest, files []*os.File) (*linux.Child, *os.File, error) {
	o := runtime.ExecOptions{
		Args: e.Args, Env: e.Env, Workdir: e.Workdir, User: e.User, Terminal: e.Terminal, Privileged: e.Privileged,
	}
	if !e.Terminal {
		o.Stdio = [3]*os.File(files[1:])
	}
	inside, b, err := s.enterable(&o)
	if err != nil {
		return nil, nil, err
	}
	defer inside.Close()
	if o.Cgroup != nil {
		defer o.Cgroup.Close()
	}
	return runtime.Exec(inside, b, o)
}

// readExec reads what is to be run, in the first of the files.
func readExec(files []*os.File) (*ExecRequest, error) {
	if len(files) == 0 {
		return nil, errNotComplete
	}
	info, err := files[0].Stat()
	if err == nil && !info.Mode().IsRegular() { // whose reader could wait for ever
		err = errNotComplete
	}
	if err != nil {
		return nil, err
	}
	var e ExecRequest
	data, err := io.ReadAll(io.LimitReader(files[0], 16<<20))
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the request: %w", err)
	case len(e.Args) == 0, !e.Terminal && len(files) != 4:
		return nil, errNotComplete
	}
	return &e, nil
}

var errNotComplete = errors.New("the request is not complete")

// enterable takes hold of the container that runs now. What comes after may take as long as the container likes (its programs lie on its
// own file systems), and so is done without our lock, which its end needs.
func (s *Supervisor) enterable(o *runtime.ExecOptions) (*stage.Held, *runtime.Bundle, error) {
	s.mu.Lock() // as long as PID 1 is not reaped its number is its own
	defer s.mu.Unlock()
	switch {
	case s.sandbox == nil:
		return nil, nil, errNotRunning
	case s.Container.Status == runtime.StatusPaused:
		return nil, nil, hint.Wrap(errors.New("the container is paused"), "let it go on: minipod unpause "+s.Container.Name)
	}
	inside, err := s.sandbox.Hold()
	if err != nil {
		return nil, nil, err
	}
	if s.group != nil {
		if o.Cgroup, err = s.group.Open(); err != nil {
			return nil, nil, errors.Join(err, inside.Close())
		}
	}
	return inside, s.Bundle, nil
}

func (s *Supervisor) rename(name string) error {
	s.mu.Lock()
	old := s.Container.Name
	err := s.Container.Rename(name)
	s.mu.Unlock()
	if err == nil {
		s.tell("rename", map[string]string{"oldName": "/" + old})
	}
	return err
}

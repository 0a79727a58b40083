package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
)

var errNotRunning = errors.New("the container is not running")

// serve answers requests until the listener is closed.
func (s *Supervisor) serve() {
	for {
		caller, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.calls.Go(func() { s.answer(caller) })
	}
}

// answer hears one caller. What takes until the container's end is told by then, or not at all: the caller sees us gone.
func (s *Supervisor) answer(caller *linux.Socket) {
	defer caller.Close()
	if uid, err := caller.Peer(); err != nil || int(uid) != os.Geteuid() && uid != 0 {
		return
	}
	var r request
	files, err := receiveJSON(caller, &r)
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
		if err := s.do(&r); err != nil {
			answer = failed(err)
		}
		_ = sendJSON(caller, answer) // who does not wait for it does not get it
	}
}

// do does what needs no more than an answer.
func (s *Supervisor) do(r *request) error {
	switch r.Op {
	case opSignal:
		sig := syscall.Signal(r.Signal)
		if sig == syscall.SIGKILL || r.Signal == s.Bundle.StopSignal {
			s.ask(false)
		}
		err := s.Signal(sig)
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

// stop asks the command to end, and kills it where it does not. It returns when the command has ended.
func (s *Supervisor) stop(r *request) error {
	s.ask(r.Keep)
	if err := s.thaw(); err != nil {
		return err
	}
	s.mu.Lock()
	exited := s.exited
	s.mu.Unlock()
	sig := syscall.Signal(s.Bundle.StopSignal)
	if r.Signal != 0 {
		sig = syscall.Signal(r.Signal)
	}
	timeout := s.Bundle.StopTimeout
	if r.Timeout != nil {
		timeout = *r.Timeout
	}
	if timeout == 0 {
		sig = syscall.SIGKILL
	}
	if err := s.Signal(sig); errors.Is(err, errNotRunning) || errors.Is(err, syscall.ESRCH) { // between two starts, or just over
		<-s.over
		return nil
	} else if err != nil {
		return err
	}
	var late <-chan time.Time
	if timeout >= 0 {
		timer := time.NewTimer(time.Duration(timeout) * time.Second)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-exited:
	case <-late:
		if err := s.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, errNotRunning) && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		<-exited
	}
	return nil
}

// wait tells the exit status of the command that runs now.
func (s *Supervisor) wait(caller *linux.Socket) {
	s.mu.Lock()
	exited := s.exited
	s.mu.Unlock()
	left := make(chan struct{})
	go func() { // a caller that was interrupted waits for nothing
		_, _, _ = caller.Receive(make([]byte, 1))
		close(left)
	}()
	select {
	case <-exited:
	case <-s.over:
	case <-left:
		return
	}
	s.mu.Lock()
	status := s.status
	s.mu.Unlock()
	_ = sendJSON(caller, reply{Status: &status})
}

// attach connects a caller with the command's stdin, stdout and stderr, until one of them ends.
func (s *Supervisor) attach(caller *linux.Socket, stdin bool) {
	if s.clients == nil {
		_ = sendJSON(caller, failed(hint.Wrap(errors.New("it runs in the foreground with --rm: its output is its caller's alone"), "run it with -d, or without --rm")))
		return
	}
	if sendJSON(caller, reply{}) != nil {
		return
	}
	if !s.clients.attach(caller) {
		_ = sendJSON(caller, failed(errNotRunning))
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
	child, console, err := s.execute(files)
	if err != nil {
		_ = sendJSON(caller, failed(err))
		return
	}
	s.tell("exec_start", nil)
	closeAll(files) // the command has them: who reads its output must see its end
	if console != nil {
		err = sendJSON(caller, reply{}, console)
		console.Close()
	} else {
		err = sendJSON(caller, reply{})
	}
	if err != nil {
		_ = child.Kill(syscall.SIGHUP) // the caller left before it knew: as a terminal that is closed
	}
	status, err := child.Wait()
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

func (s *Supervisor) execute(files []*os.File) (*linux.Child, *os.File, error) {
	if len(files) == 0 {
		return nil, nil, errors.New("the request is not complete")
	}
	var e ExecRequest
	data, err := io.ReadAll(io.LimitReader(files[0], 16<<20))
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the request: %w", err)
	}
	o := runtime.ExecOptions{
		Args: e.Args, Env: e.Env, Workdir: e.Workdir, User: e.User, Terminal: e.Terminal, Privileged: e.Privileged,
	}
	if !e.Terminal {
		if len(files) != 4 {
			return nil, nil, errors.New("the request is not complete")
		}
		o.Stdio = [3]*os.File(files[1:])
	}
	s.mu.Lock() // as long as PID 1 is not reaped its number is its own
	defer s.mu.Unlock()
	switch {
	case s.sandbox == nil:
		return nil, nil, errNotRunning
	case s.Container.Status == runtime.StatusPaused:
		return nil, nil, hint.Wrap(errors.New("the container is paused"), "let it go on: minipod unpause "+s.Container.Name)
	}
	if s.group != nil {
		if o.Cgroup, err = s.group.Open(); err != nil {
			return nil, nil, err
		}
		defer o.Cgroup.Close()
	}
	return runtime.Exec(s.sandbox, s.Bundle, o)
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

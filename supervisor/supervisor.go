package supervisor

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/logs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/cgroup"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// A Supervisor looks after one container, whose lock its process holds. Its fields are set before anything is called.
type Supervisor struct {
	Container  *runtime.Container
	Bundle     *runtime.Bundle
	Events     *events.Log // nil: nobody is told
	Foreground bool        // `minipod run` itself: our stdin, stdout and stderr are the command's, too
	Flatten    func(dst string, lowers []string) error
	Narrate    func(stage.Event)
	Pause      func(stage.Event) error
	Started    func() // called once, when the command first runs; may be nil

	log      *logs.Writer
	happened chan events.Event
	recorded chan struct{} // closed when all that happened is recorded
	group    *cgroup.Group // nil: it has none of its own
	why      error         // why not
	clients  *clients
	listener *linux.Socket
	calls    sync.WaitGroup // requests that are being answered

	mu      sync.Mutex // of what follows, and of Container.Record
	sandbox *stage.Sandbox
	stdio   *Stdio
	asked   chan struct{} // closed when somebody asked for the end
	keep    bool          // that was for a restart: --rm does not count
	exited  chan struct{} // closed when the command that runs now has ended
	over    chan struct{} // closed when all is over
	status  int           // of the last command that ended
}

// Listen makes the container ready to be asked. A container in the foreground that is removed at its end has no log, and nobody can
// attach: what it writes goes to its caller, through no hands but the kernel's.
func (s *Supervisor) Listen() (err error) {
	s.asked, s.over, s.exited = make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.happened, s.recorded = make(chan events.Event, 16), make(chan struct{})
	go s.record()
	if !s.Foreground || !s.Container.Remove {
		s.clients = &clients{}
		if !s.Bundle.Log.None {
			options := logs.Options{MaxSize: s.Bundle.Log.MaxSize, MaxFile: s.Bundle.Log.MaxFile}
			if s.log, err = logs.OpenWriter(s.Container.Dir+"/"+logs.FileName, options); err != nil {
				return err
			}
		}
	}
	if s.listener, err = listen(s.Container.Dir); err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	go s.serve()
	return nil
}

func listen(dir string) (*linux.Socket, error) {
	folder, err := linux.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	l, err := linux.Listen(folder, socketName)
	if errors.Is(err, linux.ErrTaken) { // of a supervisor that is gone: we hold the lock
		if err := os.Remove(dir + "/" + socketName); err != nil {
			return nil, err
		}
		l, err = linux.Listen(folder, socketName)
	}
	return l, err
}

// OpenStdio makes the ends of the next start's command.
func (s *Supervisor) OpenStdio() (*Stdio, error) {
	return OpenStdio(StdioOptions{
		TTY: s.Bundle.Spec.Process.Terminal, Input: s.Bundle.Stdin, Foreground: s.Foreground, Log: s.log, Clients: s.clients,
	})
}

// Run starts the container and stays until its end: that of its last command, where it starts again. It returns that one's exit status;
// ran is false where none ever ran, and err says why. sandbox and stdio may come prepared. The container's record is up to date, and
// removing or keeping the container is the caller's. The calling goroutine must be locked to its thread.
func (s *Supervisor) Run(sandbox *stage.Sandbox, stdio *Stdio) (status int, ran bool, err error) {
	var e ending
	for {
		began := time.Now()
		e.status, err = s.once(sandbox, stdio, &ran)
		if !ran {
			return e.status, false, err
		}
		sandbox, stdio = nil, nil
		if err != nil { // it did not start again
			e.status = hint.ExitStatus(err, hint.ExitRuntime)
		}
		e.ran, e.asked = time.Since(began), s.isAsked()
		pause, yes := again(s.Bundle.Restart, e)
		s.note(e.status, err, yes)
		if yes && !s.sleep(pause) {
			yes = false
			_ = s.save(func(r *runtime.Record) { r.Status = runtime.StatusExited })
		}
		if !yes {
			return e.status, true, err
		}
		e.pause = pause
		e.restarts++
	}
}

// once starts the container and waits for the end of its command.
func (s *Supervisor) once(sandbox *stage.Sandbox, stdio *Stdio, ran *bool) (int, error) {
	var err error
	if stdio == nil {
		if stdio, err = s.OpenStdio(); err != nil {
			return 0, err
		}
	}
	config := &runtime.Config{
		Bundle: *s.Bundle, Flatten: s.Flatten, Stdio: stdio.Command, Sandbox: sandbox, Narrate: s.Narrate, Pause: s.Pause,
	}
	if sandbox == nil {
		config.Cgroup, err = s.makeGroup()
	}
	if err == nil {
		sandbox, err = s.Container.Start(config)
	}
	if config.Cgroup != nil {
		config.Cgroup.Close()
	}
	stdio.Started(err)
	if err != nil {
		return hint.ExitStatus(err, hint.ExitRuntime), errors.Join(err, stdio.Finish())
	}
	*ran = true
	if err := stdio.Attach(sandbox.Console); err != nil {
		_ = sandbox.Signal(syscall.SIGKILL)
		_, waiting := sandbox.Wait()
		return hint.ExitRuntime, errors.Join(err, waiting, stdio.Finish())
	}
	s.running(sandbox, stdio)
	status, err := s.watch(sandbox)
	return status, errors.Join(err, stdio.Finish())
}

// running lets requests reach the command, and the world know.
func (s *Supervisor) running(sandbox *stage.Sandbox, stdio *Stdio) {
	s.mu.Lock()
	s.sandbox, s.stdio = sandbox, stdio
	s.mu.Unlock()
	if err := s.save(func(*runtime.Record) {}); err != nil && s.Foreground {
		fmt.Fprintf(os.Stderr, "minipod: warning: the container runs, and ps does not know: %v\n", err)
	}
	s.tell("start", nil)
	if s.Started != nil {
		s.Started()
		s.Started = nil
	}
}

// watch waits for the end. The sandbox is reaped only when nobody can reach for it any more: its number is then anybody's.
func (s *Supervisor) watch(sandbox *stage.Sandbox) (int, error) {
	if err := linux.AwaitExit(sandbox.PID); err != nil {
		return hint.ExitRuntime, err
	}
	s.mu.Lock()
	s.sandbox, s.stdio = nil, nil
	s.mu.Unlock()
	return sandbox.Wait()
}

// note writes down how the command ended.
func (s *Supervisor) note(status int, err error, again bool) {
	s.mu.Lock()
	close(s.exited)
	s.exited = make(chan struct{})
	s.status = status
	s.mu.Unlock()
	killed := s.oomKilled()
	change := func(r *runtime.Record) {
		r.Status, r.PID, r.Birth, r.ExitCode, r.Finished, r.OOMKilled = runtime.StatusExited, 0, 0, status, time.Now(), killed
		if err != nil {
			r.Error = err.Error()
		}
		if again {
			r.Status = runtime.StatusRestarting
			r.Restarts++
		}
	}
	if s.Container.Remove && !s.Kept() { // it is removed next
		s.mu.Lock()
		change(&s.Container.Record)
		s.mu.Unlock()
	} else {
		_ = s.save(change)
	}
	if killed {
		s.tell("oom", nil)
	}
	s.tell("die", map[string]string{"exitCode": strconv.Itoa(status)})
}

// Tell appends to the events what its caller has done with the container.
func (s *Supervisor) Tell(action string) { s.tell(action, nil) }

// tell appends to the events of this user's minipod. It is no reason to stop where that fails: events are for those who look.
func (s *Supervisor) tell(action string, more map[string]string) {
	if s.Events == nil {
		return
	}
	s.mu.Lock()
	r := s.Container.Record
	s.mu.Unlock()
	e := events.Container(action, r.ID, r.Name, r.Image, r.Labels, more)
	e.TimeNano = time.Now().UnixNano()
	s.happened <- e
}

// record appends events in their order, beside whatever else there is to do.
func (s *Supervisor) record() {
	defer close(s.recorded)
	for e := range s.happened {
		if err := s.Events.Append(e); err != nil && s.Foreground {
			fmt.Fprintf(os.Stderr, "minipod: warning: %v\n", err)
		}
	}
}

// save changes the record and writes it.
func (s *Supervisor) save(change func(*runtime.Record)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.Container.Record)
	return s.Container.Save()
}

// sleep waits before another start; it answers false where somebody asked for the end meanwhile.
func (s *Supervisor) sleep(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return !s.isAsked()
	case <-s.asked:
		return false
	}
}

func (s *Supervisor) isAsked() bool {
	select {
	case <-s.asked:
		return true
	default:
		return false
	}
}

// ask notes that somebody wants the container to end, and not to start again.
func (s *Supervisor) ask(keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = s.keep || keep
	if !s.isAsked() {
		close(s.asked)
	}
}

// Kept tells whether the container stays although it was run with --rm: it was stopped to be started again.
func (s *Supervisor) Kept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keep
}

// Signal sends sig to the command that runs now, if there is one.
func (s *Supervisor) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sandbox == nil {
		return errNotRunning
	}
	return s.sandbox.Signal(sig)
}

// Resize gives the command's terminal the size of ours.
func (s *Supervisor) Resize() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdio != nil {
		s.stdio.Resize()
	}
}

// Close ends the supervision: everybody who waits or is attached is told. The container is the caller's to remove or to close after; by
// Recorded, all that happened to it has been recorded.
func (s *Supervisor) Close() error {
	close(s.over)
	s.listener.Close()
	err := os.Remove(s.Container.Dir + "/" + socketName)
	if s.clients != nil {
		s.clients.end(reply{Status: &s.status})
	}
	s.calls.Wait()
	close(s.happened)
	err = errors.Join(err, s.removeGroup())
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	return err
}

// Recorded waits until all that happened up to Close has been recorded.
func (s *Supervisor) Recorded() { <-s.recorded }

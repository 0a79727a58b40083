package supervisor

import (
	"encoding/json"
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
	"codeberg.org/minipod/minipod/node"
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
	Node       *node.Node      // for the first start, of a container in the pods' network; nil: the start opens it
	Started    func()          // called once, when the command first runs; may be nil
	Lost       func(why error) // called when the container has lost its place in the pods' network; may be nil

	// MakeGroup makes the container's cgroup; nil: cgroup.New, which moves this process, too. One that several containers share makes theirs
	// below its own.
	MakeGroup func(cgroup.Options) (*cgroup.Group, error)

	log      *logs.Writer
	happened chan events.Event
	recorded chan struct{} // closed when all that happened is recorded
	group    *cgroup.Group // nil: it has none of its own
	why      error         // why not
	clients  *clients
	listener *linux.Socket
	calls    sync.WaitGroup // requests that are being answered
	asked    chan struct{}  // closed when somebody asked for the end
	over     chan struct{}  // closed when all is over

	saving sync.Mutex // of the bundle on disk

	mu      sync.Mutex             // of what follows, of Bundle, and of Container.Record
	silent  map[*linux.Socket]bool // callers who have not said yet what they want
	sandbox *stage.Sandbox
	stdio   *Stdio
	began   chan struct{} // closed when sandbox is set
	life    *life         // of the command that runs now, or is about to
	keep    bool          // the end was asked for to start again: --rm does not count
	status  int           // of the last command that ended
}

// A life is one start of the command.
type life struct {
	ended  chan struct{} // closed then
	status int           // how
}

func newLife() *life { return &life{ended: make(chan struct{})} }

// Listen makes the container ready to be asked. A container in the foreground that is removed at its end has no log, and nobody can
// attach: what it writes goes to its caller, through no hands but the kernel's.
func (s *Supervisor) Listen() (err error) {
	s.asked, s.over, s.began = make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.life, s.silent = newLife(), map[*linux.Socket]bool{}
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
	s.calls.Go(s.serve)
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
	b := s.bundle()
	return OpenStdio(StdioOptions{
		TTY: b.Spec.Process.Terminal, Input: b.Stdin, Foreground: s.Foreground, Log: s.log, Clients: s.clients,
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
		pause, yes := again(s.bundle().Restart, e)
		s.note(e.status, err, yes)
		if yes && !s.sleep(pause) {
			yes = false
			_ = s.save(func(r *runtime.Record) { r.Status = runtime.StatusExited; r.Restarts-- })
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
		Bundle: *s.bundle(), Flatten: s.Flatten, Stdio: stdio.Command, Sandbox: sandbox, Node: s.Node, Record: &s.mu, Narrate: s.Narrate, Pause: s.Pause,
	}
	if sandbox == nil {
		config.Cgroup, err = s.makeGroup()
	}
	if err == nil {
		sandbox, err = s.Container.Start(config)
	}
	if s.Node != nil { // who holds it keeps the network from leaving
		s.Node.Close()
		s.Node = nil
	}
	if config.Cgroup != nil {
		config.Cgroup.Close()
	}
	stdio.Started(err)
	if err != nil {
		return hint.ExitStatus(err, hint.ExitRuntime), errors.Join(err, stdio.Finish(s.asked))
	}
	*ran = true
	if err := stdio.Attach(sandbox.Console); err != nil {
		_ = sandbox.Signal(syscall.SIGKILL)
		_, waiting := sandbox.Wait()
		return hint.ExitRuntime, errors.Join(err, waiting, stdio.Finish(s.asked))
	}
	s.running(sandbox, stdio)
	end := s.keepNetwork(sandbox)
	status, err := s.watch(sandbox)
	end()
	return status, errors.Join(err, stdio.Finish(s.asked))
}

// running lets requests reach the command, and the world know.
func (s *Supervisor) running(sandbox *stage.Sandbox, stdio *Stdio) {
	s.mu.Lock()
	s.sandbox, s.stdio = sandbox, stdio
	close(s.began)
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
	s.sandbox, s.stdio, s.began = nil, nil, make(chan struct{})
	s.mu.Unlock()
	return sandbox.Wait()
}

// note writes down how the command ended, and then tells those who wait for it.
func (s *Supervisor) note(status int, err error, again bool) {
	killed := s.oomKilled()
	change := func(r *runtime.Record) {
		r.Status, r.PID, r.Birth, r.ExitCode, r.Finished, r.OOMKilled = runtime.StatusExited, 0, 0, status, time.Now(), killed
		r.Network = nil
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.life.status = status, status
	close(s.life.ended)
	s.life = newLife()
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

// bundle is how the container is to be started, by now.
func (s *Supervisor) bundle() *runtime.Bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Bundle
}

// SaveBundle writes down how the container is to be started, and by which command line it was made.
func (s *Supervisor) SaveBundle(flags json.RawMessage) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	b := *s.bundle()
	b.Flags = flags
	s.mu.Lock()
	s.Bundle = &b
	s.mu.Unlock()
	return s.Container.SaveBundle(&b)
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
	s.askFor(keep)
}

// askFor is ask for who has the lock.
func (s *Supervisor) askFor(keep bool) {
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

// Signal sends sig to the command that runs now. One that is meant to end it ends a pause before another start, too.
func (s *Supervisor) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	final := sig == syscall.SIGKILL || int(sig) == s.Bundle.StopSignal
	if s.sandbox != nil {
		if final {
			s.askFor(false)
		}
		return s.send(sig)
	}
	final = final || sig == syscall.SIGINT || sig == syscall.SIGTERM || sig == syscall.SIGHUP || sig == syscall.SIGQUIT
	if s.Container.Status != runtime.StatusRestarting || !final {
		return errNotRunning
	}
	s.askFor(false)
	s.calls.Go(func() { _, _ = s.deliver(sig) }) // where the pause was over just now, the command will run
	return nil
}

// send is Signal where a command runs, for who has the lock.
func (s *Supervisor) send(sig syscall.Signal) error {
	if sig == syscall.SIGKILL && s.Container.Status == runtime.StatusPaused && s.Bundle.SharesPIDs() {
		// Where the command is not PID 1's to take along, its sandbox kills it, and a frozen one kills nobody.
		if err := s.group.Thaw(); err != nil {
			return err
		}
		s.Container.Status = runtime.StatusRunning
	}
	return s.sandbox.Signal(sig)
}

// deliver sends sig to the command, and returns its life, whose end is to be expected. Between two starts it waits for the next, if one
// comes: nil says that none did. Somebody has asked for the end, or it would wait for long.
func (s *Supervisor) deliver(sig syscall.Signal) (*life, error) {
	for {
		s.mu.Lock()
		life, began := s.life, s.began
		if s.sandbox != nil {
			err := s.send(sig)
			s.mu.Unlock()
			if errors.Is(err, syscall.ESRCH) { // it has just ended
				err = nil
			}
			return life, err
		}
		s.mu.Unlock()
		select {
		case <-s.over:
			return nil, nil
		case <-began:
		}
	}
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
	s.mu.Lock()
	for caller := range s.silent {
		caller.Close()
	}
	s.mu.Unlock()
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

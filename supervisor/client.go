package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
)

// ErrNotRunning says that a container has no supervisor that could be asked.
var ErrNotRunning = errors.New("the container is not running")

// A Peer is the supervisor of a container, as others ask it. Each call is a connection of its own.
type Peer struct {
	dirs   state.Dirs
	record runtime.Record
}

// Of returns the supervisor of the container with that record. Whether there is one the calls tell: ErrNotRunning.
func Of(dirs state.Dirs, r runtime.Record) *Peer { return &Peer{dirs, r} }

func (p *Peer) connect() (*linux.Socket, error) {
	dir, err := linux.OpenDir(p.dirs.Containers() + "/" + p.record.ID)
	if err != nil {
		return nil, p.refused(err)
	}
	defer dir.Close()
	s, err := linux.Connect(dir, socketName)
	if err != nil {
		return nil, p.refused(err)
	}
	return s, nil
}

func (p *Peer) refused(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return p.notRunning()
	}
	return err
}

func (p *Peer) notRunning() error {
	return hint.Wrap(fmt.Errorf("%w: %s", ErrNotRunning, p.record.Name), "start it: minipod start "+p.record.Name)
}

// ask sends one request, and returns the connection once the answer was good. The caller closes both.
func (p *Peer) ask(r any, files ...*os.File) (*linux.Socket, []*os.File, error) {
	s, err := p.connect()
	if err != nil {
		return nil, nil, err
	}
	passed, err := p.hear(s, r, files...)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, passed, nil
}

func (p *Peer) hear(s *linux.Socket, r any, files ...*os.File) ([]*os.File, error) {
	var answer reply
	var passed []*os.File
	err := sendJSON(s, r, files...)
	if err == nil || errors.Is(err, syscall.EPIPE) {
		passed, err = receiveJSON(s, &answer)
	}
	if err == nil {
		err = answer.err()
	}
	if errors.Is(err, errGone) || answer.NotRunning {
		err = p.notRunning()
	}
	if err != nil {
		closeAll(passed)
		return nil, err
	}
	return passed, nil
}

func (p *Peer) do(r request) error {
	s, err := p.connect()
	if err != nil {
		return err
	}
	return p.over(s, r)
}

// over does what needs no more than an answer over a connection, and closes it.
func (p *Peer) over(s *linux.Socket, r request) error {
	passed, err := p.hear(s, r)
	closeAll(passed)
	return errors.Join(err, s.Close())
}

// Signal sends a signal to the container's command.
func (p *Peer) Signal(sig syscall.Signal) error { return p.do(request{Op: opSignal, Signal: int(sig)}) }

// StopOptions say how to stop a container.
type StopOptions struct {
	Signal  syscall.Signal // 0: the container's own
	Timeout *int           // seconds until it is killed; -1: never; nil: the container's own
	Keep    bool           // keep it, though it has --rm: it is started again
}

// Stop ends the container, and returns when its supervisor is gone. One that does not run is no error.
func (p *Peer) Stop(o StopOptions) error {
	s, err := p.connect()
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	// Whoever listens wrote itself down before; and somebody may start the container again as soon as it has ended.
	now, unknown := runtime.Reread(p.dirs, p.record.ID)
	err = p.over(s, request{Op: opStop, Signal: int(o.Signal), Timeout: o.Timeout, Keep: o.Keep})
	if err != nil && !errors.Is(err, ErrNotRunning) || unknown != nil {
		return err
	}
	if now.Hosted {
		return runtime.AwaitRelease(p.dirs, now.ID)
	}
	return runtime.AwaitSupervisor(now)
}

// Kill ends a container by force: see runtime.Kill. Whom a damaged record does not name, the socket does.
func Kill(dirs state.Dirs, r runtime.Record) error {
	if r.Hosted && linux.Alive(r.Supervisor, r.SupervisorBirth) { // who supervises others, too, is not to be killed for the sake of one
		err := Of(dirs, r).Signal(syscall.SIGKILL)
		if err != nil && !errors.Is(err, ErrNotRunning) && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return runtime.AwaitRelease(dirs, r.ID)
	}
	if r.Supervisor == 0 {
		s, err := Of(dirs, r).connect()
		if errors.Is(err, ErrNotRunning) {
			return nil
		}
		if err != nil {
			return err
		}
		defer s.Close()
		if r.Supervisor, err = s.Listener(); err != nil {
			return err
		}
		if r.SupervisorBirth, err = linux.StartTime(r.Supervisor); err != nil {
			return err
		}
	}
	return runtime.Kill(r)
}

// Pause freezes all of the container's processes, and Unpause lets them go on.
func (p *Peer) Pause() error   { return p.do(request{Op: opPause}) }
func (p *Peer) Unpause() error { return p.do(request{Op: opUnpause}) }

// Update changes a container's limits and its restart policy, whether it runs or not; what is nil stays. A running one has them at once,
// and all keep them for later starts.
func Update(dirs state.Dirs, r runtime.Record, resources *specs.LinuxResources, restart *runtime.RestartPolicy) error {
	return Of(dirs, r).change(request{Op: opUpdate, Resources: resources, Restart: restart}, func(c *runtime.Container) error {
		b, err := runtime.LoadBundle(dirs, r.ID)
		if err != nil {
			return err
		}
		if resources != nil {
			b.Spec.Linux.Resources = merged(b.Spec.Linux.Resources, resources)
		}
		if restart != nil {
			b.Restart = *restart
		}
		return c.SaveBundle(b)
	})
}

// Rename gives a container another name, whether it runs or not.
func Rename(dirs state.Dirs, r runtime.Record, name string) error {
	return Of(dirs, r).change(request{Op: opRename, Name: name}, func(c *runtime.Container) error { return c.Rename(name) })
}

// change has the container's supervisor do something, or does it itself where there is none.
func (p *Peer) change(r request, do func(c *runtime.Container) error) error {
	for tries := 0; ; tries++ {
		err := p.do(r)
		if !errors.Is(err, ErrNotRunning) {
			return err
		}
		c, err := runtime.Adopt(p.dirs, p.record)
		if errors.Is(err, runtime.ErrRunning) && tries < 100 { // somebody has started it in between
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		return errors.Join(do(c), c.Close())
	}
}

// Wait waits until the container's command ends, and returns its exit status.
func (p *Peer) Wait() (int, error) {
	s, err := p.connect()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := sendJSON(s, request{Op: opWait}); err != nil && !errors.Is(err, syscall.EPIPE) {
		return 0, err
	}
	return p.status(s)
}

// status waits for how it ended.
func (p *Peer) status(s *linux.Socket) (int, error) {
	var r reply
	if _, err := receiveJSON(s, &r); errors.Is(err, errGone) {
		return 0, p.notRunning()
	} else if err != nil {
		return 0, err
	}
	if r.NotRunning {
		return 0, p.notRunning()
	}
	if err := r.err(); err != nil {
		return hint.ExitStatus(err, hint.ExitRuntime), err
	}
	if r.Status == nil {
		return 0, errors.New("the supervisor did not say how it ended")
	}
	return *r.Status, nil
}

// A Running is a command that Exec began. The caller calls Wait.
type Running struct {
	Console *os.File // the terminal's master, with a terminal; the caller closes it

	peer *Peer
	conn *linux.Socket
}

// Exec runs a command in the container; stdio is for one without a terminal.
func (p *Peer) Exec(r ExecRequest, stdio [3]*os.File) (*Running, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	sealed, err := linux.SealedFile("request", data)
	if err != nil {
		return nil, err
	}
	defer sealed.Close()
	files := []*os.File{sealed}
	if !r.Terminal {
		files = append(files, stdio[:]...)
	}
	conn, passed, err := p.ask(request{Op: opExec}, files...)
	if err != nil {
		return nil, err
	}
	running := &Running{peer: p, conn: conn}
	if len(passed) > 0 {
		running.Console = passed[0]
		closeAll(passed[1:])
	}
	return running, nil
}

// Wait waits for the command's end, and returns its exit status.
func (r *Running) Wait() (int, error) {
	defer r.conn.Close()
	return r.peer.status(r.conn)
}

// Leave lets the command run on.
func (r *Running) Leave() error { return r.conn.Close() }

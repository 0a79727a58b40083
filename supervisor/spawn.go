package supervisor

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
)

// Role is argv[1] of a supervisor that was left behind.
const Role = "supervisor"

// The descriptors that it is born with.
const (
	birthFD = 3
	lockFD  = 4
)

// hello is what it is told first.
type hello struct {
	Dirs state.Dirs
	ID   string
}

// A Spawned is a supervisor that listens, and waits for the word to start its container. The caller calls Go, or Abandon.
type Spawned struct {
	control *linux.Socket
}

// Spawn leaves a supervisor behind for c, whose bundle is written. The container's lock goes over to it: c is not the caller's any more,
// whatever happens.
func Spawn(dirs state.Dirs, c *runtime.Container) (*Spawned, error) {
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	err = linux.SpawnSession("/proc/self/exe", []string{"minipod", Role, c.Name}, theirs, c.Lock().File())
	theirs.Close()
	if err = errors.Join(err, c.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("start a supervisor: %w", err), ours.Close())
	}
	control, err := linux.AsSocket(ours)
	if err != nil {
		return nil, err
	}
	s := &Spawned{control}
	if err = sendJSON(control, hello{dirs, c.ID}); err == nil {
		err = s.hear()
	}
	if err != nil {
		return nil, errors.Join(err, control.Close())
	}
	return s, nil
}

// Go has it start the container, and returns when the command runs. The error says why it does not; the supervisor is gone by then,
// and the container nobody's.
func (s *Spawned) Go() error {
	err := sendJSON(s.control, "go")
	if err == nil {
		err = s.hear()
	}
	if err != nil { // its lock is free when it is gone
		_, _, _ = s.control.Receive(make([]byte, 1))
	}
	return errors.Join(err, s.control.Close())
}

// Abandon has it leave without having done anything.
func (s *Spawned) Abandon() error { return s.control.Close() }

func (s *Spawned) hear() error {
	var r reply
	if _, err := receiveJSON(s.control, &r); err != nil {
		return err
	}
	return r.err()
}

// Born tells whether this process is a supervisor that Spawn left behind. A person who types the role's name has no control socket.
func Born(args []string) bool {
	return len(args) == 3 && args[0] == "minipod" && args[1] == Role && linux.IsSeqpacket(birthFD)
}

// A Birth is the other end of a Spawned.
type Birth struct {
	control *linux.Socket

	Dirs      state.Dirs
	Container *runtime.Container
}

// Take takes over what this process was born with.
func Take() (*Birth, error) {
	syscall.CloseOnExec(birthFD)
	control, err := linux.AsSocket(os.NewFile(birthFD, "birth"))
	if err != nil {
		return nil, err
	}
	var h hello
	if _, err := receiveJSON(control, &h); err != nil {
		return nil, err
	}
	b := &Birth{control: control, Dirs: h.Dirs}
	b.Container, err = runtime.Inherit(h.Dirs, h.ID, lockFD)
	return b, err
}

// Ready says that requests are answered from now on, and waits for the word to start.
func (b *Birth) Ready() error {
	if err := sendJSON(b.control, reply{}); err != nil {
		return err
	}
	var word string
	_, err := receiveJSON(b.control, &word)
	if err == nil && word != "go" {
		err = fmt.Errorf("told to %q", word)
	}
	return err
}

// Started says that the command runs.
func (b *Birth) Started() {
	_ = sendJSON(b.control, reply{}) // nobody there: nothing to tell
	b.control.Close()
}

// Failed says why it does not. It is the last thing that a supervisor does.
func (b *Birth) Failed(err error) { _ = sendJSON(b.control, failed(err)) }

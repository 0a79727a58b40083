package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// keepNetwork keeps a node at work for the container's place in the network, where it has one, until end is called: without a node nobody answers at its
// ports, nor for its names. end does not wait for a node that is being started.
func (s *Supervisor) keepNetwork(sandbox *stage.Sandbox) (end func()) {
	s.mu.Lock()
	lease := s.Container.Network
	s.mu.Unlock()
	if lease == nil { // also where it is in another container's network: that one keeps it
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		if err := lease.Keep(ctx); errors.Is(err, node.ErrLost) {
			s.lost(sandbox, err)
		}
	}()
	return cancel
}

// lost deals with the network's end. Who is in the user namespace of a network that is gone can't be given a place in another: that takes power over
// both, and neither owner has it. So what starts again anyway is ended, and starts in the next network; of what does not, the rest is worth more
// than the network, and it is told.
func (s *Supervisor) lost(sandbox *stage.Sandbox, why error) {
	s.mu.Lock()
	if s.sandbox != sandbox { // it has just ended
		s.mu.Unlock()
		return
	}
	s.calls.Add(1) // Close, which comes after the sandbox's end, waits for us
	defer s.calls.Done()
	r := &s.Container.Record
	lease := r.Network
	_, starts := again(s.Bundle.Restart, ending{status: 128 + int(syscall.SIGKILL), restarts: r.Restarts})
	ends := s.Bundle.Pause || starts && !s.isAsked()
	r.Network = nil
	_ = s.Container.Save()
	e := events.Network("disconnect", networkName, r.ID)
	s.mu.Unlock()
	if s.Events != nil {
		e.TimeNano = time.Now().UnixNano()
		s.happened <- e
	}
	if s.Lost != nil {
		s.Lost(why)
	}
	if ends {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.sandbox == sandbox {
			_ = s.send(syscall.SIGKILL) // ESRCH: it has just ended
		}
		return
	}
	if s.Foreground && !s.Bundle.Spec.Process.Terminal {
		fmt.Fprintf(os.Stderr, "minipod: warning: the container has lost its address %s: %v\nhint: start it again: minipod restart %s\n", lease.IP, why, r.Name)
	}
}

const networkName = "pod" // in `minipod network ls`

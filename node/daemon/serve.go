package daemon

import (
	"errors"
	"fmt"
	"os"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network"
	"codeberg.org/minipod/minipod/node"
)

func (d *daemon) listen() error {
	folder, err := linux.OpenDir(d.path())
	if err != nil {
		return err
	}
	defer folder.Close()
	d.listener, err = linux.Listen(folder, node.SocketName)
	if errors.Is(err, linux.ErrTaken) { // of a node that crashed: whoever starts us has the lock, and found nobody
		if err := os.Remove(d.path(node.SocketName)); err != nil {
			return err
		}
		d.listener, err = linux.Listen(folder, node.SocketName)
	}
	if err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	return nil
}

// serve answers until we leave.
func (d *daemon) serve() {
	for {
		caller, err := d.listener.Accept()
		if err == nil {
			go d.answer(caller)
			continue
		}
		d.mu.Lock()
		leaving := d.leaving
		d.mu.Unlock()
		if leaving {
			return
		}
		d.log(err)
		time.Sleep(10 * time.Millisecond) // no descriptor is left, say
	}
}

// answer hears one caller until it has no more questions.
func (d *daemon) answer(caller *linux.Socket) {
	defer caller.Close()
	if uid, err := caller.Peer(); err != nil || int(uid) != os.Geteuid() {
		return
	}
	d.count(1)
	defer d.count(-1)
	for {
		var r node.Request
		files, err := node.Receive(caller, &r)
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			return
		}
		answer, passed, err := d.do(&r)
		if err != nil {
			answer = node.Failed(err)
		}
		if passed != nil {
			err = node.Send(caller, answer, passed)
			if passed != d.users {
				passed.Close()
			}
		} else {
			err = node.Send(caller, answer)
		}
		if err != nil {
			return
		}
	}
}

func (d *daemon) count(more int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.callers += more
	d.settle()
}

// do does what a request asks for. A file that it returns is passed on, and closed if it is not U.
func (d *daemon) do(r *node.Request) (answer node.Reply, passed *os.File, err error) {
	switch {
	case r.Op == node.OpHello:
		return node.Reply{Self: &d.self, Notices: d.untold()}, d.users, nil
	case r.Op == node.OpAttach && r.Attachment != nil:
		lease, err := d.attach(*r.Attachment)
		return node.Reply{Lease: lease}, nil, err
	case r.Op == node.OpDetach:
		return answer, nil, d.detach(r.ID)
	case r.Op == node.OpProbe && r.Probe != nil:
		result := d.probe(r.Probe)
		return node.Reply{Result: &result}, nil, nil
	case r.Op == node.OpDial:
		f, err := d.dialFile(r.ID, r.Network, r.Address)
		return answer, f, err
	case r.Op == node.OpInspect:
		s := d.inspect()
		return node.Reply{State: &s}, nil, nil
	}
	return answer, nil, fmt.Errorf("the node does not know how to %q: it was started by another version of minipod", r.Op)
}

func (d *daemon) inspect() node.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := node.State{
		PID: os.Getpid(), Anchor: d.anchor.PID, Version: d.version, Started: d.started, Subnet: d.subnet.String(),
		Gateway: network.Gateway(d.subnet).String(), MTU: network.MTU, Bridge: network.Bridge, Uplink: d.uplink, Guarded: d.guarded, Notices: d.notices,
		Attachments: []node.Attached{},
	}
	for _, a := range d.attached {
		if a.there {
			s.Attachments = append(s.Attachments, a.Attached)
		}
	}
	return s
}

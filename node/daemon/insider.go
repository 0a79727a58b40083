package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network"
)

// An insider is a thread that is in a sandbox's network namespace for as long as its ports are published, and makes sockets there. A
// thread for each connection would do, too, and take longer than all else about a connection.
type insider struct {
	calls chan func()
	leave chan struct{} // closed to end it
	ended chan struct{}
}

// goInside starts an insider. The caller ends it.
func goInside(ns *os.File) (*insider, error) {
	i := &insider{make(chan func()), make(chan struct{}), make(chan struct{})}
	began := make(chan error, 1)
	go func() {
		defer close(i.ended)
		began <- network.In(ns, func() error {
			began <- nil
			for {
				select {
				case call := <-i.calls:
					call()
				case <-i.leave:
					return nil
				}
			}
		})
	}()
	return i, <-began
}

// end ends it, and returns when it is gone.
func (i *insider) end() {
	close(i.leave)
	<-i.ended
}

// dial connects from inside. Only the socket is made there: where it is made is where it is, whoever connects it.
func (i *insider) dial(ctx context.Context, protocol string, to netip.AddrPort) (net.Conn, error) {
	type made struct {
		socket *os.File
		err    error
	}
	result := make(chan made, 1)
	select {
	case i.calls <- func() { s, err := linux.NewSocket(protocol == "udp"); result <- made{s, err} }:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-i.leave:
		return nil, net.ErrClosed
	}
	m := <-result
	if m.err != nil {
		return nil, m.err
	}
	defer m.socket.Close() // net's is a copy
	if deadline, ok := ctx.Deadline(); ok {
		if err := m.socket.SetWriteDeadline(deadline); err != nil {
			return nil, err
		}
	}
	defer context.AfterFunc(ctx, func() { m.socket.Close() })()
	if err := linux.ConnectSocket(m.socket, to.Addr().As4(), to.Port()); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to, errors.Join(err, ctx.Err()))
	}
	conn, err := net.FileConn(m.socket)
	runtime.KeepAlive(m.socket)
	return conn, err
}

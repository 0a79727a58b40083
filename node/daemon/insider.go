package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network"
)

// An insider is a thread that is in a sandbox's network namespace for as long as its ports are published, and makes sockets there. A
// thread for each connection would do, too, and take longer than all else about a connection.
type insider struct {
	calls chan func()
	leave chan struct{} // closed to end it
	ended chan struct{}
	keeps bool // clients' addresses
}

// goInside starts an insider. The caller ends it. complain is told why clients' addresses are not kept.
func goInside(ns *os.File, complain func(error)) (*insider, error) {
	i := &insider{calls: make(chan func()), leave: make(chan struct{}), ended: make(chan struct{})}
	began := make(chan error, 1)
	go func() {
		defer close(i.ended)
		began <- network.In(ns, func() error {
			if err := network.KeepClients(); err != nil {
				complain(err)
			} else {
				i.keeps = true
			}
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

// dial connects from inside: over TCP in the name of the client, where the program can be told of it.
func (i *insider) dial(ctx context.Context, protocol string, to, client netip.AddrPort) (net.Conn, error) {
	plain := func() (*os.File, error) { return linux.NewSocket(protocol == "udp") }
	if protocol == "udp" || !i.keeps || !nameable(client.Addr()) {
		return i.connect(ctx, to, plain)
	}
	// Two ports of the host may lead to one of the program's, and a client's port may have gone to each; and the last connection from there
	// may not be forgotten yet.
	for _, port := range []uint16{client.Port(), 0} {
		conn, err := i.connect(ctx, to, func() (*os.File, error) { return linux.NewClientSocket(client.Addr().As4(), port, network.ClientMark) })
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return conn, err
		}
	}
	return i.connect(ctx, to, plain)
}

// nameable tells whether a program in a pod may be told that a is who calls: an address of IPv4, and none that means something else in there. Programs
// trust who calls from the loopback interface.
func nameable(a netip.Addr) bool {
	return a.Is4() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// connect connects a socket. Only its making is done inside: where it is made is where it is, whoever connects it.
func (i *insider) connect(ctx context.Context, to netip.AddrPort, socket func() (*os.File, error)) (net.Conn, error) {
	type made struct {
		socket *os.File
		err    error
	}
	result := make(chan made, 1)
	select {
	case i.calls <- func() { s, err := socket(); result <- made{s, err} }:
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

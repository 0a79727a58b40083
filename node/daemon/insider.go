package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network"
)

// An insider is a thread that is in a sandbox's network namespace for as long as its ports are published, and makes sockets there. A
// thread for each connection would do, too, and take longer than all else about a connection. So would waking this one for each: it makes a stock.
type insider struct {
	stock chan *linux.InetSocket // for TCP
	empty chan struct{}          // asks for more of them
	calls chan func()
	leave chan struct{} // closed to end it
	ended chan struct{}
	keeps bool // clients' addresses
}

// stocked is how many sockets are made at once, the first time that one is wanted. They are this many descriptors.
const stocked = 8

// goInside starts an insider. The caller ends it. complain is told why clients' addresses are not kept.
func goInside(ns *os.File, complain func(error)) (*insider, error) {
	i := newInsider()
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
			i.work()
			return nil
		})
	}()
	return i, <-began
}

func newInsider() *insider {
	return &insider{
		stock: make(chan *linux.InetSocket, stocked), empty: make(chan struct{}, 1),
		calls: make(chan func()), leave: make(chan struct{}), ended: make(chan struct{}),
	}
}

// work makes sockets until end is called.
func (i *insider) work() {
	for {
		select {
		case call := <-i.calls:
			call()
		case <-i.empty:
			for len(i.stock) < stocked { // nobody else puts any in
				s, err := linux.NewInetSocket(false)
				if err != nil {
					break // who finds none has one made, and is told
				}
				i.stock <- s
			}
		case <-i.leave:
			for {
				select {
				case s := <-i.stock:
					s.Close()
				default:
					return
				}
			}
		}
	}
}

// end ends it, and returns when it is gone.
func (i *insider) end() {
	close(i.leave)
	<-i.ended
}

// dial connects from inside: over TCP in the name of the client, where the program can be told of it.
func (i *insider) dial(ctx context.Context, protocol string, to, client netip.AddrPort) (*os.File, error) {
	if protocol == "udp" {
		s, err := i.make(ctx, true)
		if err != nil {
			return nil, err
		}
		return connect(ctx, s, to)
	}
	if i.keeps && nameable(client.Addr()) {
		// Two ports of the host may lead to one of the program's, and a client's port may have gone to each; and the last connection from there
		// may not be forgotten yet.
		for _, port := range []uint16{client.Port(), 0} {
			conn, err := i.connect(ctx, to, netip.AddrPortFrom(client.Addr(), port))
			if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
				return conn, err
			}
		}
	}
	return i.connect(ctx, to, netip.AddrPort{})
}

// nameable tells whether a program in a pod may be told that a is who calls: an address of IPv4, and none that means something else in there. Programs
// trust who calls from the loopback interface.
func nameable(a netip.Addr) bool {
	return a.Is4() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// connect connects over TCP, in the name of client unless that is none.
func (i *insider) connect(ctx context.Context, to, client netip.AddrPort) (*os.File, error) {
	s, err := i.stream(ctx)
	if err != nil {
		return nil, err
	}
	if client.IsValid() {
		if err := s.Pose(client.Addr().As4(), client.Port(), network.ClientMark); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return connect(ctx, s, to)
}

// connect connects a socket. Only its making is done inside: where it is made is where it is, whoever connects it.
func connect(ctx context.Context, s *linux.InetSocket, to netip.AddrPort) (*os.File, error) {
	conn, err := s.Connect(ctx, to.Addr().As4(), to.Port())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	return conn, nil
}

// stream returns a socket for TCP, out of the stock if there is one.
func (i *insider) stream(ctx context.Context) (*linux.InetSocket, error) {
	if len(i.stock) <= stocked/2 {
		select {
		case i.empty <- struct{}{}:
		default: // it knows
		}
	}
	select {
	case s := <-i.stock:
		return s, nil
	default:
		return i.make(ctx, false)
	}
}

// make has a socket made.
func (i *insider) make(ctx context.Context, udp bool) (*linux.InetSocket, error) {
	type made struct {
		socket *linux.InetSocket
		err    error
	}
	result := make(chan made, 1)
	select {
	case i.calls <- func() { s, err := linux.NewInetSocket(udp); result <- made{s, err} }:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-i.leave:
		return nil, net.ErrClosed
	}
	m := <-result
	return m.socket, m.err
}

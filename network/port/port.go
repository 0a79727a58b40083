package port

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network/relay"
)

// Bounds that hold where Options names none.
const (
	// MaxConns is also a bound for descriptors: a connection takes two.
	MaxConns = 1024
	MaxFlows = 1024

	dialTimeout = 10 * time.Second
)

// A Socket is a connected one: an *os.File, a *net.TCPConn or a *net.UDPConn.
type Socket interface {
	relay.Socket
	io.Writer
}

// Options say what is published, and where it leads.
type Options struct {
	// One of them, or both. Publish closes them. The latter was made with linux.TellDestinations, where it
	// is to answer from the address that it was asked at.
	Listener   *net.TCPListener
	PacketConn *net.UDPConn

	// Dial connects to the program inside, over TCP for what Listener accepted and UDP else. client is who called. Dialling for a datagram holds up the
	// next one.
	Dial func(ctx context.Context, network string, client netip.AddrPort) (Socket, error)

	// Idle is the longest silence of a TCP connection, 0: for ever.
	Idle time.Duration
	// MaxConns and MaxFlows are how many TCP connections and UDP clients there may be at once. Further connections wait in the
	// listener's backlog; a further client takes the place of one that got no answer.
	MaxConns, MaxFlows int
	// Room is what this port shares with others, nil: nothing. A connection that finds none waits, and those behind it do; a datagram of a further
	// client is lost.
	Room *Room

	// Log is told what could not be passed on; may be nil.
	Log func(error)
}

// Publish passes on what arrives until ctx ends, then ends every connection. It returns when nothing of it is left: nil if
// that was because of ctx.
func Publish(ctx context.Context, o Options) error {
	if o.Listener == nil && o.PacketConn == nil {
		return errors.New("publish a port: no socket to listen at")
	}
	if o.MaxConns == 0 {
		o.MaxConns = MaxConns
	}
	if o.MaxFlows == 0 {
		o.MaxFlows = MaxFlows
	}
	if o.Log == nil {
		o.Log = func(error) {}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 2)
	running := 0
	if o.Listener != nil {
		running++
		go func() { failed <- o.streams(ctx) }()
	}
	if o.PacketConn != nil {
		running++
		go func() { failed <- o.datagrams(ctx) }()
	}
	var err error
	for range running {
		err = errors.Join(err, <-failed)
		cancel() // one without the other is no published port
	}
	return err
}

func (o *Options) streams(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { o.Listener.Close() })()
	defer o.Listener.Close()
	room := make(chan struct{}, o.MaxConns)
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := relay.Accept(ctx, o.Listener)
		if err != nil {
			return err
		}
		if c == nil {
			return nil
		}
		if err := o.Room.enter(ctx); err != nil {
			c.Close()
			return nil // it is the end of all of them
		}
		conns.Go(func() {
			defer func() { o.Room.leave(); <-room }()
			o.connect(ctx, c)
		})
	}
}

func (o *Options) connect(ctx context.Context, outside *net.TCPConn) {
	client := addrPort(outside.RemoteAddr())
	if raw, err := outside.SyscallConn(); err == nil && client.Addr().IsLoopback() {
		_ = linux.Local(raw) // it is slower without
	}
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	inside, err := o.Dial(dialling, "tcp", client)
	cancel()
	if err != nil {
		relay.Reset(outside) // accepted by us on the program's behalf: an orderly end would say that it had answered
		if ctx.Err() == nil {
			o.Log(fmt.Errorf("pass on a connection to %s: %w", outside.LocalAddr(), err))
		}
		return
	}
	// How it ended is the two peers' business: each has been told by its own socket.
	_ = relay.Join(ctx, outside, inside, o.Idle)
}

func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		return unmapped(a.AddrPort())
	case *net.UDPAddr:
		return unmapped(a.AddrPort())
	}
	return netip.AddrPort{}
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

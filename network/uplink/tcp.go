package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network/relay"
)

// A stream has a buffer for each direction, which a pod can fill: by sending to who does not read, or by not reading. The
// first streams get large ones, the many small ones, so that together they stay below some 300 MB.
const (
	minBuffer = 128 << 10 // two packets
	maxBuffer = 1 << 20
	buffers   = 16 << 20
)

// handleTCP sees what belongs to no connection. A SYN starts one, unless too many are being dialled: then it is lost, and
// comes again.
func (u *uplink) handleTCP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.TCP(pkt.TransportHeader().Slice())
	if len(h) < header.TCPMinimumSize || h.Flags()&(header.TCPFlagSyn|header.TCPFlagAck) != header.TCPFlagSyn {
		return false // gVisor answers with a reset
	}
	src := addrPort(id.RemoteAddress, id.RemotePort).Addr()
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.dialing[id]; ok || !u.dialBy.Take(src) {
		return true
	}
	if !u.streams.Take(src) {
		u.dialBy.Give(src)
		return true
	}
	if !u.begin() {
		return true
	}
	u.dialing[id] = h.SequenceNumber()
	if !u.forward.HandlePacket(id, pkt) { // a broken one: connect won't be called
		delete(u.dialing, id)
		u.dialBy.Give(src)
		u.streams.Give(src)
		u.running.Done()
		return false
	}
	return true
}

// connect dials for a SYN, and answers it accordingly.
func (u *uplink) connect(r *tcp.ForwarderRequest) {
	growStack(0)
	id := r.ID()
	src := addrPort(id.RemoteAddress, id.RemotePort)
	defer u.running.Done()
	defer u.streams.Give(src.Addr())

	outside, err := u.dial(pair{src, addrPort(id.LocalAddress, id.LocalPort)})
	u.mu.Lock()
	sequence := u.dialing[id]
	u.mu.Unlock()
	var queue waiter.Queue
	var inside tcpip.Endpoint
	switch {
	case err == nil:
		var failed tcpip.Error
		if inside, failed = r.CreateEndpoint(&queue); failed != nil { // it gave up meanwhile
			relay.Reset(outside)
		}
		r.Complete(false)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, errForbidden):
		r.Complete(true)
	default: // at a timeout we are silent, as whoever did not answer us
		if code, ok := unreachable(err); ok {
			u.sendUnreachable(id, tcp.ProtocolNumber, code, sequence)
		}
		r.Complete(false)
	}
	u.mu.Lock()
	delete(u.dialing, id)
	u.mu.Unlock()
	u.dialBy.Give(src.Addr())
	if inside == nil {
		return
	}
	size := min(max(buffers/u.streams.Held(), minBuffer), maxBuffer)
	inside.SocketOptions().SetReceiveBufferSize(int64(size), true)
	inside.SocketOptions().SetSendBufferSize(int64(size), true)
	inside.SocketOptions().SetKeepAlive(true) // of a program that was killed nobody may have told us, either
	join(u.ctx, inside, &queue, outside, u.MTU)
}

var errForbidden = errors.New("not an address for pods")

func (u *uplink) dial(p pair) (relay.Socket, error) {
	target, ok := u.target(p.dst)
	if !ok {
		return nil, errForbidden
	}
	ctx, cancel := context.WithTimeout(u.ctx, dialTimeout)
	defer cancel()
	return u.dialTCP(ctx, target)
}

func (o *Options) dialTCP(ctx context.Context, target netip.AddrPort) (relay.Socket, error) {
	if o.Dial != nil {
		c, err := o.Dial(ctx, "tcp4", target.String())
		if err != nil {
			return nil, err
		}
		return socket(c)
	}
	// Not net.Dialer: it has the poller wait for what need not wait, and the pod does meanwhile.
	s, err := linux.NewInetSocket(false)
	if err != nil {
		return nil, err
	}
	if err := s.KeepAlive(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	f, err := s.Connect(ctx, target.Addr().As4(), target.Port())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", target, err)
	}
	return f, nil
}

func socket(c net.Conn) (relay.Socket, error) {
	s, ok := c.(relay.Socket)
	if !ok {
		c.Close()
		return nil, errors.ErrUnsupported
	}
	return s, nil
}

package uplink

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network/relay"
)

// A flow is one conversation in datagrams: its place among the others, and its socket outside.
type flow struct {
	*relay.Flow
	raw syscall.RawConn
}

// handleUDP sees every datagram. It must not wait: all packets come through here.
func (u *uplink) handleUDP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.UDP(pkt.TransportHeader().Slice())
	data := pkt.Data().AsRange().ToSlice()
	if len(h) < header.UDPMinimumSize || int(h.Length()) < header.UDPMinimumSize || int(h.Length()) > header.UDPMinimumSize+len(data) {
		return true // broken, and lost
	}
	data = data[:h.Length()-header.UDPMinimumSize]
	p := pair{addrPort(id.RemoteAddress, id.RemotePort), addrPort(id.LocalAddress, id.LocalPort)}
	f, ok := u.existing(p)
	if !ok {
		var err error
		if f, err = u.newFlow(id, p); err != nil {
			if code, known := unreachable(err); known {
				u.sendUnreachable(id, udp.ProtocolNumber, code, 0)
			}
		}
		if f == nil {
			return true
		}
	}
	f.Touch()
	if errors.Is(tryWrite(f.raw, data), syscall.ECONNREFUSED) { // the answer to a datagram before; there may be somebody by now
		u.sendUnreachable(id, udp.ProtocolNumber, header.ICMPv4PortUnreachable, 0)
		_ = tryWrite(f.raw, data)
	}
	return true
}

// tryWrite sends a datagram, or loses it where the socket has no room.
func tryWrite(raw syscall.RawConn, data []byte) (err error) {
	failed := raw.Write(func(fd uintptr) bool {
		_, err = linux.TryWrite(fd, data)
		return true
	})
	return errors.Join(failed, err)
}

func (u *uplink) existing(p pair) (*flow, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f, ok := u.clients[p]
	return f, ok
}

func (u *uplink) newFlow(id stack.TransportEndpointID, p pair) (*flow, error) {
	target, ok := u.target(p.dst)
	if !ok {
		return nil, errForbidden
	}
	if !u.flows.Room(p) {
		return nil, nil // every place has an answered conversation
	}
	ctx, cancel := context.WithTimeout(u.ctx, time.Second)
	defer cancel()
	conn, err := u.dialler()(ctx, "udp4", target.String())
	if err != nil {
		return nil, err
	}
	socket, ok := conn.(*net.UDPConn)
	if !ok {
		conn.Close()
		return nil, errors.ErrUnsupported
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return track(u, u.flows, u.clients, p, socket, raw, func(f *flow) { u.answer(f, id) }), nil
}

// track keeps a flow in its tables until its socket is closed, which ends answers.
func track[K comparable](u *uplink, flows *relay.Flows[K], table map[K]*flow, key K, socket io.Closer, raw syscall.RawConn, answers func(*flow)) *flow {
	place, ok := flows.Add(key, socket)
	if !ok {
		return nil
	}
	f := &flow{place, raw}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.begin() {
		return nil // its table closes the socket
	}
	table[key] = f
	go func() {
		defer u.running.Done()
		answers(f)
		flows.Remove(key, place)
		u.mu.Lock()
		defer u.mu.Unlock()
		if table[key] == f {
			delete(table, key)
		}
	}()
	return f
}

// answer passes answers back until the flow is closed.
func (u *uplink) answer(f *flow, id stack.TransportEndpointID) {
	for {
		_, err := relay.Read(f.raw, relay.BufferSize, func(data []byte) {
			f.Answer()
			h := header.UDP(make([]byte, header.UDPMinimumSize))
			h.Encode(&header.UDPFields{SrcPort: id.LocalPort, DstPort: id.RemotePort, Length: uint16(len(h) + len(data))})
			u.send(id, udp.ProtocolNumber, h, data, func(pseudo uint16) {
				sum := ^h.CalculateChecksum(checksum.Combine(pseudo, checksum.Checksum(data, 0)))
				if sum == 0 {
					sum = 0xffff // 0 says that there is none (RFC 768)
				}
				h.SetChecksum(sum)
			})
		})
		var errno syscall.Errno
		switch {
		case err == nil:
		case errors.Is(err, syscall.ECONNREFUSED):
			u.sendUnreachable(id, udp.ProtocolNumber, header.ICMPv4PortUnreachable, 0)
		case errors.As(err, &errno) && errno.Temporary(), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
			// One datagram was lost on the way. Reading the error has cleared it.
		default:
			return
		}
	}
}

// send sends a packet to the pod of id, in the name of whom it talks to. sum, if any, puts the checksum into head.
func (u *uplink) send(id stack.TransportEndpointID, protocol tcpip.TransportProtocolNumber, head, data []byte, sum func(pseudo uint16)) {
	route, err := u.stack.FindRoute(nic, id.LocalAddress, id.RemoteAddress, header.IPv4ProtocolNumber, false)
	if err != nil {
		return
	}
	defer route.Release()
	if sum != nil {
		sum(header.PseudoHeaderChecksum(protocol, id.LocalAddress, id.RemoteAddress, uint16(len(head)+len(data))))
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: len(head) + int(route.MaxHeaderLength()), Payload: buffer.MakeWithData(data),
	})
	defer pkt.DecRef()
	copy(pkt.TransportHeader().Push(len(head)), head)
	pkt.TransportProtocolNumber = protocol
	_ = route.WritePacket(stack.NetworkHeaderParams{Protocol: protocol, TTL: 64}, pkt) // lost, if anything
}

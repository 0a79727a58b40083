package uplink

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network/relay"
)

// unreachable returns how a router would put err.
func unreachable(err error) (header.ICMPv4Code, bool) {
	switch {
	case errors.Is(err, syscall.ENETUNREACH):
		return header.ICMPv4NetUnreachable, true
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EHOSTDOWN):
		return header.ICMPv4HostUnreachable, true
	case errors.Is(err, syscall.ECONNREFUSED):
		return header.ICMPv4PortUnreachable, true
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM), errors.Is(err, errForbidden):
		return header.ICMPv4AdminProhibited, true
	}
	return 0, false
}

// sendUnreachable tells the pod of id that its packet got nowhere. Its kernel finds the socket by what the message quotes of
// the packet, for TCP by the sequence number, too.
func (u *uplink) sendUnreachable(id stack.TransportEndpointID, protocol tcpip.TransportProtocolNumber, code header.ICMPv4Code, sequence uint32) {
	quote := make([]byte, header.IPv4MinimumSize+8)
	header.IPv4(quote).Encode(&header.IPv4Fields{
		TotalLength: uint16(len(quote)), TTL: 64, Protocol: uint8(protocol), SrcAddr: id.RemoteAddress, DstAddr: id.LocalAddress,
	})
	header.IPv4(quote).SetChecksum(^header.IPv4(quote).CalculateChecksum())
	transport := quote[header.IPv4MinimumSize:]
	binary.BigEndian.PutUint16(transport, id.RemotePort)
	binary.BigEndian.PutUint16(transport[2:], id.LocalPort)
	binary.BigEndian.PutUint32(transport[4:], sequence)
	h := header.ICMPv4(make([]byte, header.ICMPv4MinimumSize))
	h.SetType(header.ICMPv4DstUnreachable)
	h.SetCode(code)
	h.SetChecksum(header.ICMPv4Checksum(h, checksum.Checksum(quote, 0)))
	u.send(id, header.ICMPv4ProtocolNumber, h, quote, nil)
}

// An echo is what a flow of pings is between: ping(8) chooses an identifier for itself.
type echo struct {
	src, dst netip.Addr
	ident    uint16
}

// handleICMP passes on echo requests, if the kernel lets us: see linux.PingSocket.
func (u *uplink) handleICMP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.ICMPv4(pkt.TransportHeader().Slice())
	if len(h) < header.ICMPv4MinimumSize || h.Type() != header.ICMPv4Echo {
		return true
	}
	id.LocalAddress, id.RemoteAddress = pkt.Network().DestinationAddress(), pkt.Network().SourceAddress()
	e := echo{addrPort(id.RemoteAddress, 0).Addr(), addrPort(id.LocalAddress, 0).Addr(), h.Ident()}
	message := append(append([]byte(nil), h...), pkt.Data().AsRange().ToSlice()...)
	u.mu.Lock()
	f := u.pings[e]
	u.mu.Unlock()
	if f == nil {
		if f = u.newEcho(id, e); f == nil {
			return true
		}
	}
	f.Touch()
	_ = tryWrite(f.raw, message)
	return true
}

func (u *uplink) newEcho(id stack.TransportEndpointID, e echo) *flow {
	target, ok := u.target(netip.AddrPortFrom(e.dst, 0))
	if !ok || !u.echoes.Room(e) {
		return nil
	}
	socket, err := linux.PingSocket(target.Addr().As4())
	if err != nil {
		if code, ok := unreachable(err); ok && code != header.ICMPv4AdminProhibited {
			u.sendUnreachable(id, icmp.ProtocolNumber4, code, 0)
		}
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		socket.Close()
		return nil
	}
	return track(u, u.echoes, u.pings, e, socket, raw, func(f *flow) {
		for {
			_, err := relay.Read(raw, relay.BufferSize, func(data []byte) {
				if len(data) < header.ICMPv4MinimumSize {
					return
				}
				f.Answer()
				h := header.ICMPv4(data[:header.ICMPv4MinimumSize])
				h.SetIdent(e.ident) // the kernel gave ours another
				h.SetChecksum(0)
				h.SetChecksum(header.ICMPv4Checksum(h, checksum.Checksum(data[header.ICMPv4MinimumSize:], 0)))
				u.send(id, header.ICMPv4ProtocolNumber, h, data[header.ICMPv4MinimumSize:], nil)
			})
			if err != nil && !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.ECONNREFUSED) {
				return
			}
		}
	})
}

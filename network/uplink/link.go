package uplink

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A link is the TUN device as gVisor sees a network card. gVisor's own (link/fdbased) reads in a thread of its own, queues
// without a bound, and leaks a descriptor into programs that we start.
type link struct {
	tun    *os.File
	raw    syscall.RawConn
	mtu    uint32
	header int        // bytes of a linux.VirtioHeader before each packet: of one, or none
	failed chan error // gets one, unless Close came first

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
	reading    sync.WaitGroup
}

func newLink(tun *os.File, mtu uint32) (*link, error) {
	polled, err := linux.Polled(tun)
	if err != nil {
		return nil, err
	}
	raw, err := polled.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, polled.Close())
	}
	l := &link{tun: polled, raw: raw, mtu: mtu, failed: make(chan error, 1)}
	err = raw.Control(func(fd uintptr) {
		if linux.HasVirtioHeader(fd) {
			l.header = len(linux.VirtioHeader{})
		}
	})
	if err != nil {
		return nil, errors.Join(err, polled.Close())
	}
	return l, nil
}

// Attach tells where packets go. Reading starts by start: before the card is set up it would lose them.
func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatcher = d
}

func (l *link) start() { l.reading.Go(l.read) }

// read passes packets to gVisor, one after the other: while it is busy the device's queue fills, and the kernel drops.
func (l *link) read() {
	view := buffer.NewViewSize(buffer.MaxChunkSize)
	for {
		n, err := l.tun.Read(view.AsSlice())
		if err != nil {
			view.Release()
			if !errors.Is(err, os.ErrClosed) {
				l.failed <- fmt.Errorf("read packets from %s: %w", l.tun.Name(), err)
			}
			return
		}
		if n < l.header { // the kernel writes no such thing
			continue
		}
		packet := view
		if n >= buffer.MaxChunkSize/2 {
			packet.CapLength(n)
			packet.TrimFront(l.header)
			view = buffer.NewViewSize(buffer.MaxChunkSize)
		} else { // what waits in a queue shall not need more than twice its size
			packet = buffer.NewViewWithData(view.AsSlice()[l.header:n])
		}
		l.deliver(packet)
	}
}

func (l *link) deliver(packet *buffer.View) {
	if header.IPVersion(packet.AsSlice()) != header.IPv4Version {
		packet.Release() // the kernel's own router solicitations, for one
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(packet)})
	defer pkt.DecRef()
	l.mu.RLock()
	d := l.dispatcher
	l.mu.RUnlock()
	if d != nil {
		d.DeliverNetworkPacket(ipv4.ProtocolNumber, pkt)
	}
}

// WritePackets hands packets to the kernel. What it has no room for is lost, as on any wire.
func (l *link) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	written := 0
	for _, pkt := range packets.AsSlice() {
		if answersSYN(pkt) {
			// The kernel takes it to the pod's program and back before a write returns, so that the answer comes while gVisor holds the
			// connection's lock, and gVisor would try it over and over. After this the lock is given back soon.
			pkt.IncRef()
			go func() {
				defer pkt.DecRef()
				_ = l.write(pkt) // it will be sent again
			}()
		} else if err := l.write(pkt); err != nil {
			return written, &tcpip.ErrNoBufferSpace{}
		}
		written++
	}
	return written, nil
}

func answersSYN(pkt *stack.PacketBuffer) bool {
	const synAck = header.TCPFlagSyn | header.TCPFlagAck
	segment := header.TCP(pkt.TransportHeader().Slice())
	return pkt.TransportProtocolNumber == tcp.ProtocolNumber && len(segment) >= header.TCPMinimumSize && segment.Flags()&synAck == synAck
}

func (l *link) write(pkt *stack.PacketBuffer) error {
	parts := pkt.AsSlices()
	if l.header > 0 {
		h := virtioHeader(pkt)
		parts = append([][]byte{h[:]}, parts...)
	}
	var failed error
	err := l.raw.Write(func(fd uintptr) bool {
		failed = linux.TryWritev(fd, parts)
		return true
	})
	return errors.Join(err, failed)
}

// virtioHeader has the kernel complete TCP's checksum, to which gVisor has added nothing, in case anybody ever looks at it. UDP's may
// be missing (RFC 768), and is; gVisor makes ICMP's.
func virtioHeader(pkt *stack.PacketBuffer) linux.VirtioHeader {
	ip, segment := header.IPv4(pkt.NetworkHeader().Slice()), header.TCP(pkt.TransportHeader().Slice())
	if len(ip) < header.IPv4MinimumSize || ip.TransportProtocol() != tcp.ProtocolNumber || len(segment) < header.TCPMinimumSize {
		return linux.VirtioHeader{}
	}
	pseudo := header.PseudoHeaderChecksum(tcp.ProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(pkt.Size()-len(ip)))
	segment.SetChecksum(pseudo)
	return linux.PartialChecksum(uint16(len(ip)), header.TCPChecksumOffset)
}

// Close stops reading. gVisor calls it when it removes the card.
func (l *link) Close() { l.tun.Close() }

// Wait waits until nothing reads any more.
func (l *link) Wait() { l.reading.Wait() }

func (l *link) IsAttached() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.dispatcher != nil
}

// Capabilities: what comes from the TUN device needs no check, since it never was on a wire; the same holds for what goes there, where
// its header can say so.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	if l.header > 0 {
		return stack.CapabilityRXChecksumOffload | stack.CapabilityTXChecksumOffload
	}
	return stack.CapabilityRXChecksumOffload
}
func (l *link) MTU() uint32                             { return l.mtu }
func (l *link) SetMTU(uint32)                           {}
func (l *link) MaxHeaderLength() uint16                 { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress          { return "" }
func (l *link) SetLinkAddress(tcpip.LinkAddress)        {}
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (l *link) AddHeader(*stack.PacketBuffer)           {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (l *link) SetOnCloseAction(func())                 {}

var _ stack.LinkEndpoint = (*link)(nil)

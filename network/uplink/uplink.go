package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"codeberg.org/minipod/minipod/network/relay"
)

// MTU is the one to give the TUN device: the larger the packets, the fewer of them go through user space. It decides the
// speed (65520 against 1500: three to four times).
const MTU = 65520

// Bounds of what there is at once, in all and from each source address. Each has one descriptor.
const (
	maxStreams, maxStreamsEach = 1024, 256
	maxDialing, maxDialingEach = 512, 128 // of the streams, those that don't stand yet
	maxFlows, maxFlowsEach     = 1024, 512
	maxEchoes, maxEchoesEach   = 128, 32

	dialTimeout = 60 * time.Second // the pod's own patience ends at some 130 s; it sends its SYN again until then

	nic tcpip.NICID = 1
)

// Options say what an uplink carries, and where to.
type Options struct {
	// MTU of the TUN device; 0: the constant MTU.
	MTU int
	// Alias are addresses that stand for others: 10.88.0.2 for 127.0.0.1, say, lets pods reach this host's loopback.
	Alias map[netip.Addr]netip.Addr
	// Refuse are addresses that are not dialled, beside loopback, multicast and broadcast ones.
	Refuse []netip.Prefix
	// Dial makes the sockets outside, network being tcp4 or udp4; nil: net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// dialler returns what makes the sockets outside.
func (o *Options) dialler() func(ctx context.Context, network, address string) (net.Conn, error) {
	if o.Dial != nil {
		return o.Dial
	}
	return new(net.Dialer).DialContext
}

// target returns what to dial for dst, or false where it is not for pods.
func (o *Options) target(dst netip.AddrPort) (netip.AddrPort, bool) {
	addr := dst.Addr()
	if alias, ok := o.Alias[addr]; ok {
		return netip.AddrPortFrom(alias, dst.Port()), true
	}
	// 0.0.0.0 is this host, too: connect(2) takes it for the loopback. 240.0.0.0/4 has the broadcast address.
	if addr.IsLoopback() || addr.IsMulticast() || addr.As4()[0] == 0 || addr.As4()[0] >= 240 ||
		slices.ContainsFunc(o.Refuse, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return netip.AddrPort{}, false
	}
	return dst, true
}

// An uplink is one TUN device, and what is under way through it.
type uplink struct {
	Options
	ctx     context.Context
	stack   *stack.Stack
	forward *tcp.Forwarder
	streams *relay.Limit
	flows   *relay.Flows[pair]
	echoes  *relay.Flows[echo]

	mu      sync.Mutex
	closed  bool
	dialing map[stack.TransportEndpointID]uint32 // sequence numbers of the SYNs
	dialBy  *relay.Limit
	clients map[pair]*flow
	pings   map[echo]*flow
	running sync.WaitGroup
}

// A pair is what a flow is between: a pod's address and one outside.
type pair struct{ src, dst netip.AddrPort }

// Serve carries what comes from tun, a TUN device with IFF_NO_PI, and best with IFF_VNET_HDR and TUN_F_CSUM (linux.OpenTUN), until
// ctx ends, then resets every connection and returns nil. It returns an error when the device fails. tun stays the caller's to close,
// and becomes non-blocking.
func Serve(ctx context.Context, tun *os.File, o Options) error {
	if o.MTU == 0 {
		o.MTU = MTU
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log.SetLevel(log.Warning) // else gVisor tells of odd packets, which any pod can send
	l, err := newLink(tun, uint32(o.MTU))
	if err != nil {
		return err
	}
	u := newUplink(ctx, o)
	if err := u.start(l); err != nil {
		l.Close()
		return fmt.Errorf("start the uplink's stack: %w", err)
	}
	select {
	case err = <-l.failed:
	case <-ctx.Done():
	}
	cancel()
	u.stop()
	return err
}

func newUplink(ctx context.Context, o Options) *uplink {
	return &uplink{
		Options: o, ctx: ctx,
		streams: relay.NewLimit(maxStreams, maxStreamsEach),
		dialing: map[stack.TransportEndpointID]uint32{}, dialBy: relay.NewLimit(maxDialing, maxDialingEach),
		flows:   relay.NewFlows(maxFlows, maxFlowsEach, func(p pair) netip.Addr { return p.src.Addr() }),
		clients: map[pair]*flow{},
		echoes:  relay.NewFlows(maxEchoes, maxEchoesEach, func(e echo) netip.Addr { return e.src }),
		pings:   map[echo]*flow{},
	}
}

func (u *uplink) start(l *link) error {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	u.stack = s
	sack := tcpip.TCPSACKEnabled(true)
	// Nothing is ever late on this wire, so a closed connection need not be remembered for a minute.
	timeWait := tcpip.TCPTimeWaitTimeoutOption(time.Second)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: minBuffer, Default: maxBuffer, Max: maxBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: minBuffer, Default: maxBuffer, Max: maxBuffer}
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &timeWait, &receive, &send} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("set %T: %s", option, err)
		}
	}
	u.forward = tcp.NewForwarder(s, maxBuffer, maxDialing, u.connect)
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, u.handleTCP)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, u.handleUDP)
	s.SetTransportProtocolHandler(icmp.ProtocolNumber4, u.handleICMP)
	if err := s.CreateNIC(nic, l); err != nil {
		return errors.New(err.String())
	}
	// Every address is ours: what comes is taken whoever it is for, and answered in that one's name.
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	if err := s.SetPromiscuousMode(nic, true); err != nil {
		return errors.New(err.String())
	}
	if err := s.SetSpoofing(nic, true); err != nil {
		return errors.New(err.String())
	}
	l.start()
	return nil
}

func (u *uplink) stop() {
	u.mu.Lock()
	u.closed = true // no handler starts anything from here on
	u.mu.Unlock()
	u.flows.Close()
	u.echoes.Close()
	u.stack.Close() // resets the connections, and with them ends what serves them
	u.running.Wait()
	u.stack.RemoveNIC(nic)
	u.stack.Wait()
}

// begin says whether one more may start, which running then waits for. Callers hold mu.
func (u *uplink) begin() bool {
	if !u.closed {
		u.running.Add(1)
	}
	return !u.closed
}

func addrPort(addr tcpip.Address, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(addr.As4()), port)
}

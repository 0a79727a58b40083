package uplink

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A wire is an uplink whose device is a socket: what a test sends there no kernel has looked at.
func wire(tb testing.TB, o Options) (pod *os.File) {
	tb.Helper()
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, theirs, o) }()
	pod, err = linux.Polled(ours)
	if err != nil {
		tb.Fatal(err)
	}
	go func() { // a pod that takes every packet and says nothing
		buf := make([]byte, MTU)
		for {
			if _, err := pod.Read(buf); err != nil {
				return
			}
		}
	}()
	tb.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tb.Error("Serve:", err)
			}
		case <-time.After(time.Minute):
			tb.Fatal("Serve does not end")
		}
		pod.Close()
		ours.Close()
		theirs.Close()
	})
	return pod
}

// packet is what src sends to dst: a SYN, or a datagram.
func packet(protocol tcpip.TransportProtocolNumber, src, dst netip.AddrPort) []byte {
	size := header.TCPMinimumSize
	if protocol == header.UDPProtocolNumber {
		size = header.UDPMinimumSize + 4
	}
	p := make([]byte, header.IPv4MinimumSize+size)
	s, d := tcpip.AddrFrom4(src.Addr().As4()), tcpip.AddrFrom4(dst.Addr().As4())
	header.IPv4(p).Encode(&header.IPv4Fields{TotalLength: uint16(len(p)), TTL: 64, Protocol: uint8(protocol), SrcAddr: s, DstAddr: d})
	header.IPv4(p).SetChecksum(^header.IPv4(p).CalculateChecksum())
	pseudo := header.PseudoHeaderChecksum(protocol, s, d, uint16(size))
	if protocol == header.UDPProtocolNumber {
		u := header.UDP(p[header.IPv4MinimumSize:])
		u.Encode(&header.UDPFields{SrcPort: src.Port(), DstPort: dst.Port(), Length: uint16(size)})
		u.SetChecksum(^checksum.Checksum(u, pseudo))
		return p
	}
	t := header.TCP(p[header.IPv4MinimumSize:])
	t.Encode(&header.TCPFields{SrcPort: src.Port(), DstPort: dst.Port(), SeqNum: 1, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 1000})
	t.SetChecksum(^t.CalculateChecksum(pseudo))
	return p
}

// TestFlood: a pod that opens whatever it can, and never completes or answers anything, gets its share of the descriptors and
// no more; another pod still gets through, over TCP and UDP.
func TestFlood(t *testing.T) {
	var open, most, other atomic.Int64
	release := make(chan struct{})
	defer close(release)
	pod := wire(t, Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "192.0.2.99:9" {
			other.Add(1)
			return nil, syscall.ECONNREFUSED
		}
		if network == "udp4" {
			return net.Dial("udp4", "127.0.0.1:9")
		}
		if n := open.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer open.Add(-1)
		select { // a host that does not answer
		case <-ctx.Done():
		case <-release:
		}
		return nil, context.DeadlineExceeded
	}})
	send := func(p []byte) {
		t.Helper()
		if _, err := pod.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	hostile := netip.MustParseAddr("10.88.0.66")
	for i := range 1500 {
		send(packet(header.TCPProtocolNumber, netip.AddrPortFrom(hostile, uint16(1000+i)), netip.MustParseAddrPort("192.0.2.1:80")))
	}
	until(t, "connections are dialled", func() bool { return most.Load() >= 10 })
	time.Sleep(100 * time.Millisecond)
	if n := most.Load(); n > maxDialingEach {
		t.Errorf("%d connections were dialled at once for one pod, the bound is %d", n, maxDialingEach)
	}
	before := descriptors(t)
	for i := range 1500 {
		send(packet(header.UDPProtocolNumber, netip.AddrPortFrom(hostile, uint16(1000+i)), netip.MustParseAddrPort("192.0.2.1:53")))
	}
	until(t, "datagrams are passed on", func() bool { return descriptors(t)-before >= 10 })
	time.Sleep(100 * time.Millisecond)
	if n := descriptors(t) - before; n > maxFlowsEach {
		t.Errorf("%d sockets for one pod's datagrams, the bound is %d", n, maxFlowsEach)
	}
	for i := range 1200 { // sources are cheap to make up
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 88, byte(1 + i>>8), byte(i)}), 1000)
		send(packet(header.TCPProtocolNumber, src, netip.MustParseAddrPort("192.0.2.1:80")))
		send(packet(header.UDPProtocolNumber, src, netip.MustParseAddrPort("192.0.2.1:53")))
	}
	send(packet(header.UDPProtocolNumber, netip.MustParseAddrPort("10.88.0.7:1000"), netip.MustParseAddrPort("192.0.2.99:9")))
	until(t, "another pod's datagram is passed on", func() bool { return other.Load() > 0 })
	if n := descriptors(t) - before; n > maxFlows {
		t.Errorf("%d sockets for everybody's datagrams, the bound is %d", n, maxFlows)
	}
}

// until waits for what a busy machine takes its time for.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// TestHandshake: SYNs whose senders never answer ours end with their own place taken, not another pod's.
func TestHandshake(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dialled atomic.Int64
	pod := wire(t, Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Add(1)
		return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
	}})
	for i := range 1000 {
		if _, err := pod.Write(packet(header.TCPProtocolNumber, netip.AddrPortFrom(netip.MustParseAddr("10.88.0.66"), uint16(1000+i)), netip.MustParseAddrPort("192.0.2.1:80"))); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "SYNs are dialled for", func() bool { return dialled.Load() >= maxDialingEach })
	if _, err := pod.Write(packet(header.TCPProtocolNumber, netip.MustParseAddrPort("10.88.0.7:1000"), netip.MustParseAddrPort("192.0.2.1:80"))); err != nil {
		t.Fatal(err)
	}
	until(t, "another pod's SYN is dialled for", func() bool { return dialled.Load() > maxDialingEach })
	time.Sleep(200 * time.Millisecond)
	if n := dialled.Load(); n != maxDialingEach+1 {
		t.Errorf("%d dialled, the bound is %d for one, and there was one of another", n, maxDialingEach)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// FuzzPackets feeds two packets of anything, one after the other, to the stack and what we hang into it.
func FuzzPackets(f *testing.F) {
	src, dst := netip.MustParseAddrPort("10.88.0.7:1000"), netip.MustParseAddrPort("192.0.2.1:80")
	syn, datagram := packet(header.TCPProtocolNumber, src, dst), packet(header.UDPProtocolNumber, src, dst)
	ping := append([]byte(nil), datagram...)
	ping[9], ping[20], ping[21] = 1, 8, 0
	f.Add(syn, datagram)
	f.Add(ping, syn)
	f.Add([]byte{0x45}, []byte{0x60, 0, 0, 0})
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		f.Fatal(err)
	}
	l, err := newLink(theirs, MTU)
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	u := newUplink(ctx, Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }})
	if err := u.start(l); err != nil {
		f.Fatal(err)
	}
	go func() {
		sink, _ := linux.Polled(ours)
		buf := make([]byte, MTU)
		for {
			if _, err := sink.Read(buf); err != nil {
				return
			}
		}
	}()
	f.Cleanup(func() { cancel(); u.stop(); ours.Close(); theirs.Close() })
	f.Fuzz(func(_ *testing.T, first, second []byte) {
		for _, p := range [][]byte{first, second} {
			if len(p) <= MTU {
				l.deliver(buffer.NewViewWithData(p))
			}
		}
	})
}

package network_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"codeberg.org/minipod/minipod/network"
)

// insideRole is argv[0] of this program where it is root of a user and a network namespace of its own.
const insideRole = "minipod-network-test-inside"

// inside runs the calling test there.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Args[0] == insideRole {
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Args = []string{insideRole, "-test.run=^" + t.Name() + "$", "-test.v"}
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatal("inside:", err)
	}
	return false
}

var subnet = netip.MustParsePrefix("10.88.0.0/16")

// A host is who has a network namespace: a pod, or the bridge's.
type host struct {
	network.Place

	t      *testing.T
	ns     *os.File
	device string
	raw    int // a socket that sees and sends whole frames
}

// in does something in the host's namespace.
func (h *host) in(do func() error) {
	h.t.Helper()
	if err := network.In(h.ns, do); err != nil {
		h.t.Fatal(err)
	}
}

// open opens the socket. What it sees from then on can be asked for by seen.
func (h *host) open() {
	h.t.Helper()
	h.in(func() (err error) {
		const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8
		if h.raw, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		link, err := net.InterfaceByName(h.device)
		if err != nil {
			return err
		}
		return unix.Bind(h.raw, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index})
	})
}

func (h *host) send(frames ...[]byte) {
	h.t.Helper()
	for _, f := range frames {
		if _, err := unix.Write(h.raw, f); err != nil {
			h.t.Fatal(err)
		}
	}
}

// seen are the marks that came in until nothing came for a while.
func (h *host) seen() (marks []string) {
	h.t.Helper()
	if err := unix.SetsockoptTimeval(h.raw, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 150_000}); err != nil {
		h.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		n, from, err := unix.Recvfrom(h.raw, buf, 0)
		if err != nil {
			return marks
		}
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if _, mark, ok := bytes.Cut(buf[:n], []byte("mark<")); ok {
			mark, _, _ = bytes.Cut(mark, []byte(">"))
			marks = append(marks, string(mark))
		}
	}
}

// newNamespace makes a network namespace.
func newNamespace(t *testing.T) *os.File {
	t.Helper()
	type made struct {
		ns  *os.File
		err error
	}
	result := make(chan made)
	var make func()
	make = func() {
		runtime.LockOSThread() // for ever: see network.In
		if unix.Gettid() == unix.Getpid() {
			go make()
			select {}
		}
		err := unix.Unshare(unix.CLONE_NEWNET)
		var ns *os.File
		if err == nil {
			ns, err = os.Open("/proc/thread-self/ns/net")
		}
		result <- made{ns, err}
	}
	go make()
	m := <-result
	if m.err != nil {
		t.Fatal(m.err)
	}
	t.Cleanup(func() { m.ns.Close() })
	return m.ns
}

// newPod is a pod at the bridge with the given last byte of its address.
func newPod(t *testing.T, bridge *host, index int, last byte) *host {
	t.Helper()
	place := network.Place{Veth: fmt.Sprintf("veth%d", last), Address: netip.AddrFrom4([4]byte{10, 88, 0, last})}
	p := &host{place, t, newNamespace(t), network.Interface, 0}
	bridge.in(func() error { return network.Plug(index, p.Veth, p.ns, network.MAC(p.Address)) })
	p.in(func() error { return network.Configure(p.Address, subnet) })
	p.in(func() error {
		control, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
		if string(control) != "reno\n" {
			t.Errorf("congestion control of a pod: %q", control)
		}
		return err
	})
	p.open()
	return p
}

var everybody = net.HardwareAddr{255, 255, 255, 255, 255, 255}

func frame(to, from net.HardwareAddr, kind uint16, data ...[]byte) []byte {
	return slices.Concat(to, from, binary.BigEndian.AppendUint16(nil, kind), slices.Concat(data...))
}

// arp is an answer to nobody's question: that ip is at mac.
func arp(to, from, mac net.HardwareAddr, ip netip.Addr, mark string) []byte {
	return frame(to, from, unix.ETH_P_ARP, []byte{0, 1, 8, 0, 6, 4, 0, 2}, mac, ip.AsSlice(), to, ip.AsSlice(), []byte("mark<"+mark+">"))
}

// datagram is UDP over IPv4, without UDP's checksum.
func datagram(src, dst netip.Addr, mark string) []byte {
	data := []byte("mark<" + mark + ">")
	h := []byte{0x45, 0, 0, byte(28 + len(data)), 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	h = slices.Concat(h, src.AsSlice(), dst.AsSlice())
	var sum uint32
	for i := 0; i < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum+sum>>16))
	return slices.Concat(h, []byte{0, 9, 0, 9, 0, byte(8 + len(data)), 0, 0}, data)
}

// TestGuard has a pod send whatever could make others believe that it is somebody else. Nobody sees any of it.
func TestGuard(t *testing.T) {
	if !inside(t) {
		return
	}
	ours, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	bridge := &host{network.Place{Address: network.Gateway(subnet)}, t, ours, network.Bridge, 0}
	index := 0
	bridge.in(func() (err error) {
		if index, err = network.Make(subnet); err != nil {
			return err
		}
		return network.Guard(nil)
	})
	bridge.open()
	mallory, alice, bob := newPod(t, bridge, index, 2), newPod(t, bridge, index, 3), newPod(t, bridge, index, 4)
	honest := func(mark string) []byte {
		return arp(everybody, network.MAC(mallory.Address), network.MAC(mallory.Address), mallory.Address, mark)
	}
	mallory.send(honest("early"))
	for _, h := range []*host{alice, bob, bridge} {
		if got := h.seen(); got != nil {
			t.Errorf("%s was not admitted, and %s saw %v", mallory.Address, h.Address, got)
		}
	}
	for _, p := range []*host{mallory, alice, bob} {
		bridge.in(func() error { return network.Admit(p.Place) })
	}

	mine, gateway := network.MAC(mallory.Address), network.Gateway(subnet)
	const ipv4, ipv6, vlan = unix.ETH_P_IP, unix.ETH_P_IPV6, unix.ETH_P_8021Q
	for _, victim := range []netip.Addr{alice.Address, gateway, netip.MustParseAddr("192.0.2.1")} {
		theirs := network.MAC(victim)
		for _, to := range []net.HardwareAddr{everybody, network.MAC(bob.Address), network.MAC(gateway)} {
			mallory.send(
				arp(to, mine, mine, victim, "arp"), arp(to, theirs, mine, victim, "arp of theirs"), arp(to, theirs, theirs, victim, "arp for theirs"),
				arp(to, mine, theirs, mallory.Address, "my address is there"), arp(to, theirs, mine, mallory.Address, "their frame"),
				frame(to, mine, ipv4, datagram(victim, bob.Address, "ip")), frame(to, theirs, ipv4, datagram(victim, bob.Address, "ip and mac")),
				frame(to, theirs, ipv4, datagram(mallory.Address, bob.Address, "mac")),
				frame(to, mine, ipv4, datagram(victim, gateway, "to the gateway")),
				frame(to, mine, vlan, []byte{0, 1, 8, 0}, datagram(victim, bob.Address, "vlan")),
				frame(to, mine, vlan, []byte{0, 0, 8, 0}, datagram(victim, bob.Address, "no vlan")),
				frame(to, mine, ipv6, []byte("mark<ipv6>"), make([]byte, 64)),
				frame(to, mine, 0x88cc, []byte("mark<lldp>"), make([]byte, 64)),
			)
		}
	}
	odd := honest("a hardware address of four bytes")
	odd[18] = 4
	mallory.send(odd, honest("honest"))
	for _, h := range []*host{alice, bob, bridge} {
		if got := h.seen(); !slices.Equal(got, []string{"honest"}) {
			t.Errorf("%s saw %v", h.Address, got)
		}
	}

	// What goes from one to another no third sees, even when nothing came from there for long, or ever.
	alice.send(frame(network.MAC(bob.Address), network.MAC(alice.Address), ipv4, datagram(alice.Address, bob.Address, "secret")))
	alice.send(frame(net.HardwareAddr{2, 0, 0, 0, 0, 1}, network.MAC(alice.Address), ipv4, datagram(alice.Address, bob.Address, "to nobody")))
	if got := bob.seen(); !slices.Equal(got, []string{"secret"}) {
		t.Errorf("bob saw %v", got)
	}
	if got := mallory.seen(); got != nil {
		t.Errorf("mallory saw %v", got)
	}
	talk(t, alice, bob)
	for _, h := range []*host{alice, bob, bridge} {
		h.in(func() error { return believes(t) })
	}

	// The next node takes over.
	bridge.in(func() error { return network.Guard([]network.Place{alice.Place, bob.Place}) })
	mallory.send(honest("forgotten"))
	if got := bob.seen(); got != nil {
		t.Errorf("mallory is not admitted any more, and bob saw %v", got)
	}
	talk(t, bob, alice)
	bridge.in(func() error { return network.Expel(alice.Place) })
	bridge.in(func() error { return network.Expel(alice.Place) })
	alice.send(arp(everybody, network.MAC(alice.Address), network.MAC(alice.Address), alice.Address, "expelled"))
	if got := bob.seen(); got != nil {
		t.Errorf("alice was expelled, and bob saw %v", got)
	}
	bridge.in(func() error { return network.Unplug(alice.Veth) })
}

// believes fails where this namespace believes that somebody has another hardware address than they have.
func believes(t *testing.T) error {
	t.Helper()
	list, err := netlink.NeighList(0, netlink.FAMILY_V4)
	for _, n := range list {
		a, _ := netip.AddrFromSlice(n.IP.To4())
		if n.HardwareAddr != nil && subnet.Contains(a) && !bytes.Equal(n.HardwareAddr, network.MAC(a)) {
			t.Errorf("%s is at %s", a, n.HardwareAddr)
		}
	}
	return err
}

// talk has a send b something by the usual means, ARP and all.
func talk(t *testing.T, a, b *host) {
	t.Helper()
	var in, out net.PacketConn
	b.in(func() (err error) { in, err = net.ListenPacket("udp4", b.Address.String()+":5000"); return err })
	defer in.Close()
	a.in(func() (err error) { out, err = net.ListenPacket("udp4", a.Address.String()+":5000"); return err })
	defer out.Close()
	if _, err := out.WriteTo([]byte("hello"), in.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	in.SetReadDeadline(time.Now().Add(time.Minute))
	if _, from, err := in.ReadFrom(make([]byte, 10)); err != nil || from.String() != out.LocalAddr().String() {
		t.Errorf("%s hears %v from %s, %v", b.Address, from, a.Address, err)
	}
}

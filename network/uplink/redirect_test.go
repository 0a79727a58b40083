package uplink_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"codeberg.org/minipod/minipod/network/uplink"
)

// A pod is a program's TCP/IP stack at the other end of the TUN device: to the kernel in the namespace its packets come in
// from outside, as a pod's do.
func pod(t *testing.T, n *namespace) (dial func(address string) (net.Conn, error)) {
	t.Helper()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	card, start, err := uplink.Card(n.tun)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateNIC(1, card); err != nil {
		t.Fatal(err)
	}
	start()
	own := tcpip.AddrFrom4([4]byte{10, 88, 0, 9})
	if err := s.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: own.WithPrefix()}, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})
	t.Cleanup(func() { s.Close(); s.RemoveNIC(1); s.Wait() })
	return func(address string) (net.Conn, error) {
		a := netip.MustParseAddrPort(address)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return gonet.DialContextTCP(ctx, s, tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFrom4(a.Addr().As4()), Port: a.Port()}, ipv4.ProtocolNumber)
	}
}

// TestRedirect: without packets of ours, by the kernel's own netfilter.
func TestRedirect(t *testing.T) {
	n := newNamespace(t)
	f, err := n.perform("listen", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	for range 2 { // the second replaces the first
		if _, err := n.perform("redirect", port); errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EPROTONOSUPPORT) {
			t.Skipf("no nftables with NAT in this kernel: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	data := make([]byte, 8<<20)
	rand.Read(data)
	server := listen(t, func(c *net.TCPConn) {
		got, _ := io.ReadAll(c)
		c.Write(got)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- uplink.Redirect(ctx, l.(*net.TCPListener), uplink.Options{Alias: map[netip.Addr]netip.Addr{netip.MustParseAddr("192.0.2.1"): netip.MustParseAddr("127.0.0.1")}})
	}()
	dial := pod(t, n)
	_, serverPort, _ := net.SplitHostPort(server)
	c, err := dial("192.0.2.1:" + serverPort)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	c.(*gonet.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes of %d came back, %v", len(got), len(data), err)
	}
	for _, address := range []string{"192.0.2.1:1", fmt.Sprintf("10.88.0.5:%s", port)} {
		c, err := dial(address)
		if err == nil {
			c.SetReadDeadline(time.Now().Add(time.Minute))
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if err == nil {
			t.Errorf("%s was served", address)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error("Redirect:", err)
	}
}

package uplink_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network/uplink"
)

// host is what this host's loopback is called inside.
var (
	host     = netip.MustParseAddr("10.0.0.1")
	loopback = map[netip.Addr]netip.Addr{host: netip.MustParseAddr("127.0.0.1")}
)

// serve runs an uplink for a new namespace until the test ends, and looks that nothing of it stays.
func serve(tb testing.TB, o uplink.Options) *namespace {
	tb.Helper()
	n := newNamespace(tb)
	descriptors, goroutines := stats(tb)
	if o.Alias == nil {
		o.Alias = loopback
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- uplink.Serve(ctx, n.tun, o) }()
	tb.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tb.Error("Serve:", err)
			}
		case <-time.After(time.Minute):
			tb.Fatalf("Serve does not return after its context ended:\n%s", stacks())
		}
		deadline := time.Now().Add(time.Minute)
		for {
			d, g := stats(tb)
			if d <= descriptors && g <= goroutines {
				return
			}
			if time.Now().After(deadline) {
				tb.Fatalf("%d descriptors, %d before; %d goroutines, %d before:\n%s", d, descriptors, g, goroutines, stacks())
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	return n
}

// listen serves on the host's loopback, and returns how that is reached from inside.
func listen(tb testing.TB, server func(*net.TCPConn)) (address string) {
	tb.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { defer c.Close(); server(c.(*net.TCPConn)) })
		}
	})
	tb.Cleanup(func() { l.Close(); serving.Wait() })
	return fmt.Sprintf("%s:%d", host, l.Addr().(*net.TCPAddr).Port)
}

func TestDownload(t *testing.T) {
	data := make([]byte, 16<<20)
	rand.Read(data)
	address := listen(t, func(c *net.TCPConn) { c.Write(data) })
	got, err := io.ReadAll(serve(t, uplink.Options{}).mustDial(t, "tcp4", address))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes of %d, the same: %t, %v", len(got), len(data), bytes.Equal(got, data), err)
	}
}

// TestUpload sends 16 MB, says so with a FIN, and gets the checksum back on the half-closed connection.
func TestUpload(t *testing.T) {
	data := make([]byte, 16<<20)
	rand.Read(data)
	address := listen(t, func(c *net.TCPConn) {
		h := sha256.New()
		n, _ := io.Copy(h, c)
		time.Sleep(50 * time.Millisecond) // the other direction is long over by now
		fmt.Fprintf(c, "%d %x", n, h.Sum(nil))
	})
	c := serve(t, uplink.Options{}).mustDial(t, "tcp4", address)
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c)
	if want := fmt.Sprintf("%d %x", len(data), sha256.Sum256(data)); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// TestHalfClosedByServer: the server's FIN arrives, and the other direction goes on.
func TestHalfClosedByServer(t *testing.T) {
	received := make(chan string, 1)
	address := listen(t, func(c *net.TCPConn) {
		c.Write([]byte("hello"))
		c.CloseWrite()
		got, _ := io.ReadAll(c)
		received <- string(got)
	})
	c := serve(t, uplink.Options{}).mustDial(t, "tcp4", address)
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	c.Write([]byte("after the end"))
	c.Close()
	if got := <-received; got != "after the end" {
		t.Errorf("the server got %q", got)
	}
}

// TestShort is 1,000 short connections, ten at a time.
func TestShort(t *testing.T) {
	// Without splice(2), whose pipes io.Copy keeps for the next time.
	address := listen(t, func(c *net.TCPConn) { io.Copy(struct{ io.Writer }{c}, c) })
	n := serve(t, uplink.Options{})
	began := time.Now()
	var clients sync.WaitGroup
	for worker := range 10 {
		clients.Go(func() {
			for i := range 100 {
				c, err := n.dial("tcp4", address)
				if err != nil {
					t.Errorf("connection %d of %d: %v", i, worker, err)
					return
				}
				want := fmt.Sprintf("%d.%d", worker, i)
				c.Write([]byte(want))
				c.(*net.TCPConn).CloseWrite()
				if got, err := io.ReadAll(c); err != nil || string(got) != want {
					t.Errorf("connection %d of %d: %q, %v", i, worker, got, err)
				}
				c.Close()
			}
		})
	}
	clients.Wait()
	t.Logf("1000 connections in %v", time.Since(began))
}

// TestErrors: what goes wrong outside is told inside as what it is.
func TestErrors(t *testing.T) {
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().(*net.TCPAddr).Port
	free.Close()
	n := serve(t, uplink.Options{
		Refuse: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			switch addr, _, _ := net.SplitHostPort(address); addr {
			case "10.1.0.1":
				return nil, syscall.EHOSTUNREACH
			case "10.1.0.2":
				return nil, syscall.ENETUNREACH
			case "10.1.0.3":
				return nil, syscall.EPERM
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	})
	for _, test := range []struct {
		address string
		want    syscall.Errno
	}{
		{fmt.Sprintf("%s:%d", host, closed), syscall.ECONNREFUSED},
		{"10.1.0.1:80", syscall.EHOSTUNREACH},
		{"10.1.0.2:80", syscall.ENETUNREACH},
		{"10.1.0.3:80", syscall.EHOSTUNREACH}, // Linux has no other word for "prohibited"
		{"10.9.0.1:80", syscall.ECONNREFUSED},
	} {
		began := time.Now()
		_, err := n.dial("tcp4", test.address)
		if !errors.Is(err, test.want) || time.Since(began) > time.Minute {
			t.Errorf("TCP to %s: %v after %v, want %v", test.address, err, time.Since(began), test.want)
		}
	}
	c := n.mustDial(t, "udp4", fmt.Sprintf("%s:%d", host, closed))
	c.Write([]byte("x"))
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("UDP to a closed port: %v", err)
	}
}

// TestReset: both ways.
func TestReset(t *testing.T) {
	ended := make(chan error, 1)
	address := listen(t, func(c *net.TCPConn) {
		b := make([]byte, 1)
		c.Read(b)
		if b[0] == 'r' {
			c.SetLinger(0)
			return
		}
		c.Write(b)
		_, err := c.Read(b)
		ended <- err
	})
	n := serve(t, uplink.Options{})
	c := n.mustDial(t, "tcp4", address)
	c.Write([]byte("r"))
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset by the server: %v", err)
	}
	c = n.mustDial(t, "tcp4", address)
	c.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset by the client: %v", err)
	}
}

// TestGone: the connections of a pod that is gone end outside, and nobody else's.
func TestGone(t *testing.T) {
	ended := make(chan error, 1)
	address := listen(t, func(c *net.TCPConn) {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	})
	gone := make(chan netip.Addr)
	n := serve(t, uplink.Options{Gone: gone})
	c := n.mustDial(t, "tcp4", address)
	defer c.Close()
	gone <- netip.MustParseAddr("10.88.0.6")
	select {
	case err := <-ended:
		t.Fatalf("another pod is gone: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	gone <- netip.MustParseAddr("10.88.0.5")
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the pod is gone: %v, want %v", err, syscall.ECONNRESET)
		}
	case <-time.After(time.Minute):
		t.Error("the pod is gone, and its connection stays")
	}
}

func echoUDP(t *testing.T) (address string) {
	t.Helper()
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			pc.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return fmt.Sprintf("%s:%d", host, pc.LocalAddr().(*net.UDPAddr).Port)
}

// TestDatagrams: of all sizes, up to those that are fragments on the wire.
func TestDatagrams(t *testing.T) {
	address := echoUDP(t)
	n := serve(t, uplink.Options{})
	c := n.mustDial(t, "udp4", address)
	buf := make([]byte, 64<<10)
	for _, size := range []int{0, 1, 512, 1472, 9000, 65492, 65507} {
		data := make([]byte, size)
		rand.Read(data)
		if _, err := c.Write(data); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(time.Minute))
		got, err := c.Read(buf)
		if err != nil || !bytes.Equal(buf[:got], data) {
			t.Errorf("%d bytes: got %d, %v", size, got, err)
		}
	}
}

// TestResolver asks a real DNS question over UDP: Go's resolver, by a socket from inside.
func TestResolver(t *testing.T) {
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			q := buf[:n] // make it its own answer: 192.0.2.7 for the name that it asks for
			end := 12 + bytes.IndexByte(q[12:], 0) + 5
			answer := append(append([]byte(nil), q[:end]...), 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7)
			answer[2] |= 0x80
			answer[7], answer[11] = 1, 0
			pc.WriteToUDPAddrPort(answer, from)
		}
	}()
	n := serve(t, uplink.Options{})
	r := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return n.dial("udp4", fmt.Sprintf("%s:%d", host, pc.LocalAddr().(*net.UDPAddr).Port))
	}}
	got, err := r.LookupNetIP(t.Context(), "ip4", "example.org.")
	if err != nil || len(got) != 1 || got[0].String() != "192.0.2.7" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestDeviceGone: Serve ends with an error when its device does. A socket stands for it here: a TUN device that is open
// keeps its namespace alive.
func TestDeviceGone(t *testing.T) {
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	done := make(chan error, 1)
	go func() { done <- uplink.Serve(t.Context(), theirs, uplink.Options{}) }()
	ours.Close()
	select {
	case err := <-done:
		if !errors.Is(err, io.EOF) {
			t.Errorf("Serve: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("Serve goes on without a device")
	}
}

// TestPing: an echo comes back with the pod's identifier, from who was asked, and none from who does not exist.
func TestPing(t *testing.T) {
	socket, err := linux.PingSocket([4]byte{127, 0, 0, 1})
	if errors.Is(err, syscall.EACCES) {
		t.Skip("net.ipv4.ping_group_range does not let us ping")
	} else if err != nil {
		t.Fatal(err)
	}
	socket.Close()
	n := serve(t, uplink.Options{})
	c := n.mustDial(t, "ip4:icmp", host.String())
	for sequence := range byte(3) {
		request := append([]byte{8, 0, 0, 0, 0xab, 0xcd, 0, sequence}, "ping from a pod"...)
		sum := uint32(0)
		for i := 0; i < len(request); i += 2 {
			sum += uint32(request[i]) << 8
			if i+1 < len(request) {
				sum += uint32(request[i+1])
			}
		}
		sum = ^(sum&0xffff + sum>>16)
		request[2], request[3] = byte(sum>>8), byte(sum)
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 1500)
		length, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		answer := buf[:length]
		if answer[0]>>4 == 4 { // a raw socket shows the IP header, too
			answer = answer[20:]
		}
		if answer[0] != 0 || !bytes.Equal(answer[4:], request[4:]) {
			t.Errorf("%x is answered by %x", request, answer)
		}
	}
}

// TestStalled: pods that read nothing of what is sent to them, and servers that read nothing of what pods send, hold what fits
// the buffers; it is gone with them.
func TestStalled(t *testing.T) {
	const connections = 40
	much := make([]byte, 8<<20) // most of it finds no room
	release := make(chan struct{})
	address := listen(t, func(c *net.TCPConn) {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.Write(much)
		<-release
	})
	n := serve(t, uplink.Options{})
	t.Cleanup(func() { close(release) })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var sending sync.WaitGroup
	for range connections {
		c := n.mustDial(t, "tcp4", address)
		sending.Go(func() {
			c.SetWriteDeadline(time.Now().Add(time.Second))
			c.Write(much)
		})
	}
	sending.Wait()
	time.Sleep(200 * time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := (int64(after.HeapInuse) - int64(before.HeapInuse)) >> 20
	if held > 100 {
		t.Errorf("%d MB are held for %d stalled connections", held, connections)
	}
	t.Logf("%d MB for %d stalled connections", held, connections)
}

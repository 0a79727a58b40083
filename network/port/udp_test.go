package port_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network/port"
)

func listenUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// publishUDP publishes a program that answers a datagram with it and the address that it saw, but never to "silence".
func publishUDP(t *testing.T, maxFlows int) (addr string) {
	t.Helper()
	return publishUDPAt(t, listenUDP(t), maxFlows, nil)
}

// publishUDPAt is publishUDP at a socket, with room that may be shared.
func publishUDPAt(t *testing.T, outside *net.UDPConn, maxFlows int, room *port.Room) (addr string) {
	t.Helper()
	before := runtime.NumGoroutine()
	inside := listenUDP(t)
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := inside.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if string(buf[:n]) != "silence" {
				inside.WriteToUDPAddrPort(fmt.Appendf(buf[:n], " from %s", from), from)
			}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- port.Publish(ctx, port.Options{
			PacketConn: outside, MaxFlows: maxFlows, Room: room,
			Dial: to(inside.LocalAddr()),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("Publish:", err)
		}
		inside.Close()
		awaitGoroutines(t, before)
	})
	return outside.LocalAddr().String()
}

// ask sends a datagram until its answer comes; one to the question before may come late, when that was sent twice.
func ask(t *testing.T, c net.Conn, question string) (answer string) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for range 240 {
		if _, err := c.Write([]byte(question)); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(250 * time.Millisecond))
		for {
			n, err := c.Read(buf)
			if err != nil {
				break
			}
			if strings.HasPrefix(string(buf[:n]), question+" ") {
				return string(buf[:n])
			}
		}
	}
	return ""
}

// TestDatagrams: each client has a flow of its own, for as long as it talks, and gets its own answers.
func TestDatagrams(t *testing.T) {
	addr := publishUDP(t, 0)
	var mu sync.Mutex
	seen := map[string]string{}
	var clients sync.WaitGroup
	for i := range 50 {
		clients.Go(func() {
			c, err := net.Dial("udp4", addr)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { c.Close() }) // not before all have asked: who comes after would get its port
			for j := range 5 {
				question := fmt.Sprintf("%d.%d", i, j)
				var from string
				answer := ask(t, c, question)
				if _, err := fmt.Sscanf(answer, question+" from %s", &from); err != nil {
					t.Errorf("%s was answered %q", question, answer)
					return
				}
				mu.Lock()
				if other, ok := seen[from]; ok && other != c.LocalAddr().String() {
					t.Errorf("%s speaks inside for %s and %s", from, other, c.LocalAddr())
				}
				seen[from] = c.LocalAddr().String()
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	if len(seen) != 50 {
		t.Errorf("%d flows for 50 clients", len(seen))
	}
}

// TestUDPRoom: ports that share room for two clients have two between them, whichever they are of.
func TestUDPRoom(t *testing.T) {
	room := port.NewRoom(8)
	var clients []net.Conn
	for i := range 3 {
		c, err := net.Dial("udp4", publishUDPAt(t, listenUDP(t), 0, room))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:gocritic // three
		clients = append(clients, c)
		if i < 2 && ask(t, c, "x") == "" {
			t.Errorf("no answer for client %d of two", i+1)
		}
	}
	clients[2].Write([]byte("x"))
	clients[2].SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := clients[2].Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third of two: %v", err)
	}
}

// TestFlood: clients that nobody answers cost those nothing who are answered, and don't keep new ones out.
func TestFlood(t *testing.T) {
	addr := publishUDP(t, 4)
	old, err := net.Dial("udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	first := ask(t, old, "x")
	for range 20 {
		c, err := net.Dial("udp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("silence"))
	}
	if again := ask(t, old, "x"); again == "" || again != first {
		t.Errorf("before the flood: %q, after: %q", first, again)
	}
	servesAnother(t, addr)
}

// TestFloodOfThousands: many more clients than there are places take no more sockets, goroutines and memory than those places do, and whoever
// comes after is served, even where each of them was answered.
func TestFloodOfThousands(t *testing.T) {
	const clients, places = 4000, 256
	addr := publishUDP(t, places)
	files, goroutines, memory := usage(t)
	for i := range clients {
		c, err := net.Dial("udp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte([]string{"silence", "x"}[i%2])); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if i%100 == 0 {
			if f, g, _ := usage(t); f > files+places+10 || g > goroutines+2*places {
				t.Fatalf("after %d clients there are %d descriptors and %d goroutines; there were %d and %d", i, f, g, files, goroutines)
			}
		}
	}
	if _, _, m := usage(t); m > memory+16<<20 {
		t.Errorf("%d bytes of memory, and there were %d", m, memory)
	}
	servesAnother(t, addr)
}

// servesAnother asks as a client who came after the flood.
func servesAnother(t *testing.T, addr string) {
	t.Helper()
	young, err := net.Dial("udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer young.Close()
	if ask(t, young, "y") == "" {
		t.Error("no answer for who came after the flood")
	}
}

// usage is what this process uses.
func usage(t *testing.T) (files, goroutines int, memory uint64) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return len(list), runtime.NumGoroutine(), m.HeapAlloc
}

// TestUDPAnswersFromWhereItWasAsked: a connected socket takes answers only from the address that it asked. Of what listens at all
// addresses it is any of them, and one client may ask several.
func TestUDPAnswersFromWhereItWasAsked(t *testing.T) {
	for _, network := range []string{"udp", "udp4"} { // of both families, as for -p 53:53/udp, and as for -p 0.0.0.0:53:53/udp
		outside, err := (&net.ListenConfig{Control: linux.TellDestinations}).ListenPacket(t.Context(), network, ":0")
		if err != nil {
			t.Fatal(err)
		}
		_, number, err := net.SplitHostPort(publishUDPAt(t, outside.(*net.UDPConn), 16, nil))
		if err != nil {
			t.Fatal(err)
		}
		local, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		local.SetDeadline(time.Now().Add(time.Minute))
		for _, host := range []string{"127.0.0.1", "127.0.0.2", "127.9.9.9"} {
			at := netip.MustParseAddrPort(net.JoinHostPort(host, number))
			buf := make([]byte, 100)
			if _, err := local.WriteToUDPAddrPort([]byte("who"), at); err != nil {
				t.Fatal(err)
			}
			if n, from, err := local.ReadFromUDPAddrPort(buf); err != nil || from != at {
				t.Errorf("%s: %s was asked, and the answer %q is from %s: %v", network, at, buf[:n], from, err)
			}
		}
		local.Close()
		if network == "udp4" {
			continue
		}
		six, err := net.Dial("udp6", "[::1]:"+number)
		if err != nil {
			t.Logf("no IPv6 here: %v", err)
			continue
		}
		if got := ask(t, six, "six"); got == "" {
			t.Error("by IPv6: no answer")
		}
		six.Close()
	}
}

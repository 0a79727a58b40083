package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestConnectSocket(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.WriteString(c, "hello")
			c.Close()
		}
	}()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	i := direct(t)
	c, err := i.dial(t.Context(), "tcp", at, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(c)
	if err != nil || string(text) != "hello" {
		t.Errorf("%q, %v", text, err)
	}
	c.Close()
	l.Close()
	if _, err := i.dial(t.Context(), "tcp", at, netip.AddrPort{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody: %v", err)
	}
	u, err := i.dial(t.Context(), "udp", at, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	u.Close()

	// Somebody who does not answer: a listener whose backlog is full.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	full := netip.AddrPortFrom(at.Addr(), uint16(name.(*syscall.SockaddrInet4).Port))
	for range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		var waiting *os.File
		waiting, err = i.dial(ctx, "tcp", full, netip.AddrPort{})
		cancel()
		if err != nil {
			break
		}
		defer waiting.Close() //nolint:gocritic // a few
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a full backlog: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := i.dial(ctx, "tcp", full, netip.AddrPort{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	i.end()
	if _, err := i.dial(t.Context(), "tcp", at, netip.AddrPort{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after its end: %v", err)
	}
}

// direct is an insider in our own network namespace, which an ordinary user may not even join again.
func direct(t *testing.T) *insider {
	t.Helper()
	i := newInsider()
	go func() {
		defer close(i.ended)
		i.work()
	}()
	return i
}

// TestStock: however many want a socket at once, each gets one, and nothing is left of the stock at the end.
func TestStock(t *testing.T) {
	before := descriptors(t)
	i := direct(t)
	var takers sync.WaitGroup
	for range 10 * stocked {
		takers.Go(func() {
			s, err := i.stream(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	takers.Wait()
	i.end()
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

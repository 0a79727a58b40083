package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
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
	if _, isTCP := c.(*net.TCPConn); err != nil || string(text) != "hello" || !isTCP {
		t.Errorf("%q, %v, of a %T", text, err, c)
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
	if _, isUDP := u.(*net.UDPConn); !isUDP {
		t.Errorf("a %T", u)
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
		var waiting net.Conn
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
	i := &insider{calls: make(chan func()), leave: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(i.ended)
		for {
			select {
			case call := <-i.calls:
				call()
			case <-i.leave:
				return
			}
		}
	}()
	return i
}

func TestNewSocket(t *testing.T) {
	for _, udp := range []bool{false, true} {
		s, err := linux.NewSocket(udp)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Errorf("it does not wait in the poller: %v", err)
		}
		s.Close()
	}
}

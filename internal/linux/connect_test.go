package linux

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestConnectSelf: where nobody listens, a socket does not find itself, though TCP would let it.
func TestConnectSelf(t *testing.T) {
	s, err := NewInetSocket(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(s.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		t.Fatal(err)
	}
	own, ok := name.(*unix.SockaddrInet4)
	if !ok {
		t.Fatalf("a %T", name)
	}
	f, err := s.Connect(t.Context(), own.Addr, uint16(own.Port))
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("%v, want %v", err, unix.ECONNREFUSED)
	}
	if err == nil {
		f.Close()
	}
}

// TestKeepAlive: what a listener accepts has its keep-alive.
func TestKeepAlive(t *testing.T) {
	l, err := (&net.ListenConfig{KeepAlive: -1, Control: KeepAlive}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := NewInetSocket(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.KeepAlive(); err != nil {
		t.Fatal(err)
	}
	f, err := s.Connect(t.Context(), [4]byte{127, 0, 0, 1}, uint16(l.Addr().(*net.TCPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	accepted := func(level, option int) (value int) {
		if err := raw.Control(func(fd uintptr) { value, _ = unix.GetsockoptInt(int(fd), level, option) }); err != nil {
			t.Error(err)
		}
		return value
	}
	if on, idle, count := accepted(unix.SOL_SOCKET, unix.SO_KEEPALIVE), accepted(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), accepted(unix.IPPROTO_TCP, unix.TCP_KEEPCNT); on != 1 || idle != 15 || count != 9 {
		t.Errorf("on: %d, after %d s, %d times", on, idle, count)
	}
}

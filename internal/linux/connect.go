package linux

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// An InetSocket is an IPv4 one that is not connected yet, in the network namespace of the thread that made it.
type InetSocket struct{ fd int }

// NewInetSocket makes a socket, for TCP or UDP. Connect or Close ends its use.
func NewInetSocket(udp bool) (*InetSocket, error) {
	kind := unix.SOCK_STREAM
	if udp {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	s := &InetSocket{fd}
	if udp {
		return s, nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("set TCP_NODELAY: %w", err), s.Close())
	}
	return s, nil
}

// Close closes a socket that was not connected.
func (s *InetSocket) Close() error { return unix.Close(s.fd) }

// Pose has a TCP socket connect in the name of a client elsewhere (IP_TRANSPARENT, ip(7)), with a mark by which the answers find back. CAP_NET_ADMIN in
// its network namespace is needed. Port 0: the client's port is not kept.
func (s *InetSocket) Pose(client [4]byte, port uint16, mark int) error {
	for _, o := range [][3]int{
		{unix.SOL_IP, unix.IP_TRANSPARENT, 1},
		{unix.SOL_SOCKET, unix.SO_MARK, mark},
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1},
	} {
		if err := unix.SetsockoptInt(s.fd, o[0], o[1], o[2]); err != nil {
			return fmt.Errorf("pose as a client: %w", err)
		}
	}
	if err := unix.Bind(s.fd, &unix.SockaddrInet4{Addr: client, Port: int(port)}); err != nil {
		return fmt.Errorf("pose as a client: %w", err)
	}
	return nil
}

// KeepAlive has a TCP socket look whether its peer is still there, as KeepAlive has a listener's.
func (s *InetSocket) KeepAlive() error { return keepAlive(s.fd) }

// Connect connects the socket, and waits until it is. What it returns waits in Go's poller. The socket is closed if it fails.
func (s *InetSocket) Connect(ctx context.Context, address [4]byte, port uint16) (*os.File, error) {
	to := &unix.SockaddrInet4{Addr: address, Port: int(port)}
	err := unix.Connect(s.fd, to)
	// Interrupted it goes on all the same (connect(2)). Within one machine it is over when the call returns, though not when it is said
	// what it returns: who asks again is told, and need not wait for the poller.
	if errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EINTR) {
		err = unix.Connect(s.fd, to)
	}
	waits := errors.Is(err, unix.EALREADY) || errors.Is(err, unix.EINTR)
	if err == nil {
		err = s.another(to)
	}
	if err != nil && !waits {
		return nil, errors.Join(err, s.Close())
	}
	f := os.NewFile(uintptr(s.fd), "socket")
	if !waits {
		return f, nil
	}
	err = connected(ctx, f)
	if err == nil {
		err = s.another(to)
	}
	if err != nil {
		_ = f.Close() // the end of ctx may have done it
		return nil, errors.Join(err, ctx.Err())
	}
	return f, nil
}

// another makes sure that the socket is not connected with itself: where nobody listens, and the kernel chose the very port that was asked for, TCP
// finds that both sides have called each other.
func (s *InetSocket) another(to *unix.SockaddrInet4) error {
	own, err := unix.Getsockname(s.fd)
	if own, ok := own.(*unix.SockaddrInet4); ok && own.Port == to.Port && own.Addr == to.Addr {
		return unix.ECONNREFUSED
	}
	return err
}

// connected waits until a socket is.
func connected(ctx context.Context, socket *os.File) error {
	conn, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := socket.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	var failed error
	err = conn.Write(func(fd uintptr) bool {
		var number int
		if number, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); failed == nil && number != 0 {
			failed = unix.Errno(number)
		}
		if failed == nil { // the poller may have woken us for nothing
			_, err := unix.Getpeername(int(fd))
			return !errors.Is(err, unix.ENOTCONN)
		}
		return true
	})
	return errors.Join(err, failed)
}

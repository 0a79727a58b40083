package linux

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// LastData returns how long ago a TCP connection last carried data, in either direction (TCP_INFO, tcp(7)).
func LastData(conn syscall.Conn) (time.Duration, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	var failed error
	err = raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	return time.Duration(min(info.Last_data_recv, info.Last_data_sent)) * time.Millisecond, nil
}

// ReadReady waits for conn to have something to read and reads up to limit bytes of it into a buffer that it takes only then, so that thousands
// of silent sockets need no memory of ours. The buffer that it returns is the caller's; those that proved needless it gives
// back. n is 0 at the end of a stream.
func ReadReady(conn syscall.RawConn, limit int, take func() *[]byte, give func(*[]byte)) (buf *[]byte, n int, err error) {
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		buf = take()
		n, failed = TryRead(fd, (*buf)[:min(limit, len(*buf))])
		if failed == nil {
			return true
		}
		give(buf)
		buf = nil
		return !errors.Is(failed, unix.EAGAIN)
	})
	if err == nil {
		err = failed
	}
	return buf, n, err
}

// Unread returns how many bytes there are to read from a non-blocking stream socket: at least one, or EAGAIN, or at the end io.EOF.
func Unread(fd uintptr) (n int, err error) {
	err = restarted(func() (err error) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCINQ); return err })
	if n > 0 || err != nil {
		return n, err
	}
	var one [1]byte
	err = restarted(func() (err error) { n, _, err = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT); return err })
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

// TryRead reads from a non-blocking descriptor, TryWrite and TryWritev write to one: EAGAIN says that it would have to wait.
// They are for the functions that a syscall.RawConn calls.
func TryRead(fd uintptr, b []byte) (n int, err error) {
	err = restarted(func() (err error) { n, err = unix.Read(int(fd), b); return err })
	return max(n, 0), err
}

func TryWrite(fd uintptr, b []byte) (n int, err error) {
	err = restarted(func() (err error) { n, err = unix.Write(int(fd), b); return err })
	return max(n, 0), err
}

func TryWritev(fd uintptr, parts [][]byte) error {
	return restarted(func() error { _, err := unix.Writev(int(fd), parts); return err })
}

// Polled returns another descriptor for what f is open for, whose reads and writes wait in Go's poller, so that Close ends
// them. The open file description is the same and becomes non-blocking for f, too.
func Polled(f *os.File) (*os.File, error) {
	conn, err := f.SyscallConn() // not Fd, which would take the file from Go's poller
	if err != nil {
		return nil, err
	}
	fd := -1
	var failed error
	err = conn.Control(func(old uintptr) {
		if fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0); failed == nil {
			failed = unix.SetNonblock(fd, true)
		}
	})
	if err = errors.Join(err, failed); err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, fmt.Errorf("dup %s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// PingSocket returns a socket for ICMP echo with the IPv4 address to, which the kernel allows to the groups in
// net.ipv4.ping_group_range: EACCES elsewhere (icmp(7)). It sets the identifier and the checksum of what is sent, and passes
// on what answers that identifier.
func PingSocket(to [4]byte) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
	if err != nil {
		return nil, fmt.Errorf("make a socket for ICMP echo: %w", err)
	}
	if err := restarted(func() error { return unix.Connect(fd, &unix.SockaddrInet4{Addr: to}) }); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect a socket for ICMP echo: %w", err)
	}
	return os.NewFile(uintptr(fd), "ICMP echo"), nil
}

// OriginalDst returns where a TCP connection was going before a REDIRECT of netfilter sent it to us (SO_ORIGINAL_DST, IPv4).
func OriginalDst(conn syscall.Conn) (ip [4]byte, port uint16, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return ip, 0, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		// x/sys has no getsockopt for a sockaddr_in; this one returns 16 bytes as they are, which is its size.
		mreq, err := unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, unix.SO_ORIGINAL_DST)
		if err != nil {
			failed = fmt.Errorf("getsockopt SO_ORIGINAL_DST: %w", err)
			return
		}
		port = uint16(mreq.Multiaddr[2])<<8 | uint16(mreq.Multiaddr[3])
		ip = [4]byte(mreq.Multiaddr[4:8])
	})
	return ip, port, errors.Join(err, failed)
}

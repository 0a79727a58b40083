package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// JoinNetwork makes this thread a member of the network namespace behind f. It stays one: the goroutine is locked to the thread and
// ends with it, so that nobody else's code runs there.
func JoinNetwork(f *os.File) error {
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("join the network namespace %s: %w", f.Name(), err)
	}
	return nil
}

// OnMainThread tells whether this thread is the process's first, which Go never ends before the process.
func OnMainThread() bool { return unix.Gettid() == unix.Getpid() }

// OpenTUN makes the TUN interface name in this thread's network namespace, or opens one that nobody has open, and returns what its packets
// are read from and written to, each behind a VirtioHeader: so the kernel leaves TCP's and UDP's checksums to whoever needs them, which is
// nobody where a packet never leaves this machine. It waits in Go's poller. The interface goes with the last copy of it.
func OpenTUN(name string) (*os.File, error) {
	const device = "/dev/net/tun"
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: device, Err: err}
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = restarted(func() error { return unix.IoctlIfreq(fd, unix.TUNSETIFF, request) })
	}
	if err == nil {
		err = restarted(func() error { return unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM) })
	}
	if err == nil {
		err = unix.SetNonblock(fd, true) // not before: a device without an interface is none to poll
	}
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "make the interface " + name + " with", Path: device, Err: err}, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), device), nil
}

// A VirtioHeader is the kernel's struct virtio_net_hdr, in this machine's byte order.
type VirtioHeader [10]byte

// PartialChecksum is the header of a packet whose checksum, offset bytes from start on, covers no more than the pseudo header. The kernel
// completes it where the packet leaves for a device that can't.
func PartialChecksum(start, offset uint16) (h VirtioHeader) {
	h[0] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
	binary.NativeEndian.PutUint16(h[6:], start)
	binary.NativeEndian.PutUint16(h[8:], offset)
	return h
}

// HasVirtioHeader tells whether the packets of a TUN interface have a VirtioHeader. What is no TUN interface has none.
func HasVirtioHeader(fd uintptr) bool {
	request, err := unix.NewIfreq("")
	if err == nil {
		err = restarted(func() error { return unix.IoctlIfreq(int(fd), unix.TUNGETIFF, request) })
	}
	return err == nil && request.Uint16()&unix.IFF_VNET_HDR != 0
}

// OpenStarted returns a pidfd of the process pid that started at that time, for AwaitProcess. It answers ESRCH where that one is gone.
func OpenStarted(pid int, started uint64) (*os.File, error) {
	fd, err := openStarted(pid, started)
	if err != nil {
		return nil, err
	}
	// Go's poller knows pidfds: they become readable. Blocking or not makes no difference to them, but to os.NewFile it does.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("process %d", pid)), nil
}

// AwaitProcess waits until the process behind pidfd has ended, in Go's poller: no thread is kept. Closing pidfd ends the waiting with an error.
func AwaitProcess(pidfd *os.File) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool { return pollIn(int(fd)) })
}

// Ended tells whether the process behind pidfd has ended.
func Ended(pidfd *os.File) bool {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return true
	}
	ended := false
	if err := conn.Control(func(fd uintptr) { ended = pollIn(int(fd)) }); err != nil {
		return true
	}
	return ended
}

func pollIn(fd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

// NewSocket makes an IPv4 socket, for TCP or UDP, in this thread's network namespace. It waits in Go's poller.
func NewSocket(udp bool) (*os.File, error) {
	kind := unix.SOCK_STREAM
	if udp {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}

// NewClientSocket makes a TCP socket in this thread's network namespace that connects in the name of a client elsewhere (IP_TRANSPARENT, ip(7)), with a
// mark by which the answers find back. CAP_NET_ADMIN there is needed. Port 0: the client's port is not kept.
func NewClientSocket(client [4]byte, port uint16, mark int) (*os.File, error) {
	s, err := NewSocket(false)
	if err != nil {
		return nil, err
	}
	conn, err := s.SyscallConn()
	var failed error
	if err == nil {
		err = conn.Control(func(fd uintptr) {
			for _, o := range [][3]int{
				{unix.SOL_IP, unix.IP_TRANSPARENT, 1},
				{unix.SOL_SOCKET, unix.SO_MARK, mark},
				{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
				{unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1},
			} {
				if failed = unix.SetsockoptInt(int(fd), o[0], o[1], o[2]); failed != nil {
					return
				}
			}
			failed = unix.Bind(int(fd), &unix.SockaddrInet4{Addr: client, Port: int(port)})
		})
	}
	if err = errors.Join(err, failed); err != nil {
		return nil, errors.Join(fmt.Errorf("make a socket in a client's name: %w", err), s.Close())
	}
	return s, nil
}

// ConnectSocket connects a socket of NewSocket's, and waits until it is; SetWriteDeadline says how long.
func ConnectSocket(socket *os.File, address [4]byte, port uint16) error {
	conn, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	called := false
	var failed error
	err = conn.Write(func(fd uintptr) bool {
		if !called {
			called = true
			failed = unix.Connect(int(fd), &unix.SockaddrInet4{Addr: address, Port: int(port)})
			// Interrupted it goes on all the same (connect(2)).
			return !errors.Is(failed, unix.EINPROGRESS) && !errors.Is(failed, unix.EINTR)
		}
		var number int
		if number, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); failed == nil && number != 0 {
			failed = unix.Errno(number)
		}
		if failed == nil { // the poller may have woken us for nothing
			if _, err := unix.Getpeername(int(fd)); errors.Is(err, unix.ENOTCONN) {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	return failed
}

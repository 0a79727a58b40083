package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

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

// KeepAlive has a TCP socket, and what it accepts, look whether the peer is still there after 15 s of silence, nine times before it gives up: what
// Go's own sockets do (net.KeepAliveConfig). It is for net.ListenConfig's Control.
func KeepAlive(_, _ string, socket syscall.RawConn) error {
	var failed error
	err := socket.Control(func(fd uintptr) { failed = keepAlive(int(fd)) })
	return errors.Join(err, failed)
}

func keepAlive(fd int) error {
	for _, o := range [][3]int{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
	} {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return fmt.Errorf("have a connection kept alive: %w", err)
		}
	}
	return nil
}

// Local has a TCP connection within this machine send as fast as the other side takes it: BBR, which many hosts have for the wire, waits between packets.
func Local(conn syscall.RawConn) error {
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
	})
	return errors.Join(err, failed)
}

// CloseWrite ends what a connection sends: its peer reads an end.
func CloseWrite(conn syscall.RawConn) error {
	var failed error
	err := conn.Control(func(fd uintptr) { failed = unix.Shutdown(int(fd), unix.SHUT_WR) })
	return errors.Join(err, failed)
}

// ResetOnClose has a TCP connection's peer see an error when it is closed, not an end; what is in transit then is lost (SO_LINGER, socket(7)).
func ResetOnClose(conn syscall.Conn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	return errors.Join(err, failed)
}

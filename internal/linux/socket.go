package linux

import (
	"errors"
	"fmt"
	"os"
	stdruntime "runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Socket is a SOCK_SEQPACKET socket in the file system, or a connection to one: records keep their bounds and carry descriptors.
// Its calls wait in Go's poller, so that Close ends them, from another goroutine too. The package net would do it in more memory than
// a supervisor has.
type Socket struct{ f *os.File }

// MaxRecord is the longest record that Send and Receive take, in bytes.
const MaxRecord = 64 << 10

// ErrTaken says that somebody listens at the socket's name, or did.
var ErrTaken = unix.EADDRINUSE

// Listen makes the socket name in the folder dir and listens. A name of up to some 80 bytes will do, wherever dir is: the kernel takes
// 107 bytes for the whole path, so it is made short (/proc/self/fd/N/name).
func Listen(dir File, name string) (*Socket, error) {
	s, err := newSocket(name)
	if err != nil {
		return nil, err
	}
	err = s.control(func(fd int) error {
		if err := unix.Bind(fd, address(dir, name)); err != nil {
			return fmt.Errorf("bind %s/%s: %w", dir.Name, name, err)
		}
		if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
			return fmt.Errorf("listen at %s/%s: %w", dir.Name, name, err)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Connect connects to the socket name in the folder dir. ECONNREFUSED says that nobody listens there any more.
func Connect(dir File, name string) (*Socket, error) {
	s, err := newSocket(name)
	if err != nil {
		return nil, err
	}
	err = s.control(func(fd int) error {
		for {
			err := unix.Connect(fd, address(dir, name))
			switch {
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN): // more callers wait there than it has room for
				wait := unix.PollFd{Fd: int32(fd)}
				_, _ = unix.Poll([]unix.PollFd{wait}, 1)
			case err != nil:
				return &os.PathError{Op: "connect to", Path: dir.Name + "/" + name, Err: err}
			default:
				return nil
			}
		}
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newSocket(name string) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	return &Socket{os.NewFile(uintptr(fd), name)}, nil
}

func address(dir File, name string) *unix.SockaddrUnix {
	return &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(dir.FD) + "/" + name}
}

// Accept waits for the next caller. After Close it fails.
func (s *Socket) Accept() (*Socket, error) {
	fd := -1
	err := s.wait(syscall.RawConn.Read, func(listener int) (err error) {
		fd, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("accept on %s: %w", s.f.Name(), err)
	}
	return &Socket{os.NewFile(uintptr(fd), s.f.Name())}, nil
}

// Peer returns the uid of the process at the other end, as it was when it connected.
func (s *Socket) Peer() (uid uint32, err error) {
	err = s.control(func(fd int) error {
		credentials, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			uid = credentials.Uid
		}
		return err
	})
	return uid, err
}

// Listener returns the process that listens at the socket that s is connected to.
func (s *Socket) Listener() (pid int, err error) {
	err = s.control(func(fd int) error {
		credentials, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			pid = int(credentials.Pid)
		}
		return err
	})
	return pid, err
}

// Send sends one record, and copies of files with it. A peer that is gone answers EPIPE.
func (s *Socket) Send(record []byte, files ...*os.File) error {
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			conn, err := f.SyscallConn() // not Fd, which would take the file from Go's poller
			if err != nil {
				return err
			}
			if err := conn.Control(func(fd uintptr) { fds[i] = int(fd) }); err != nil {
				return err
			}
		}
		rights = unix.UnixRights(fds...)
		defer stdruntime.KeepAlive(files)
	}
	err := s.wait(syscall.RawConn.Write, func(fd int) error {
		return unix.Sendmsg(fd, record, rights, nil, unix.MSG_NOSIGNAL)
	})
	if err != nil {
		return fmt.Errorf("send to %s: %w", s.f.Name(), err)
	}
	return nil
}

// maxFiles is the most that one record brings along.
const maxFiles = 4

// Receive receives one record into buf, with the files that came along, which the caller closes. n is 0 when the peer is gone.
func (s *Socket) Receive(buf []byte) (n int, files []*os.File, err error) {
	rights := make([]byte, unix.CmsgSpace(4*maxFiles))
	var nrights, flags int
	err = s.wait(syscall.RawConn.Read, func(fd int) (err error) {
		n, nrights, flags, _, err = unix.Recvmsg(fd, buf, rights, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if errors.Is(err, unix.ECONNRESET) { // it died with records of ours unread
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("receive from %s: %w", s.f.Name(), err)
	}
	for _, fd := range descriptors(rights[:nrights]) {
		files = append(files, os.NewFile(uintptr(fd), "passed"))
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		for _, f := range files {
			f.Close()
		}
		return 0, nil, fmt.Errorf("receive from %s: %w", s.f.Name(), unix.EMSGSIZE)
	}
	return n, files, nil
}

// SetReadDeadline and SetWriteDeadline say until when Receive and Send wait: os.ErrDeadlineExceeded. The zero time is for ever.
func (s *Socket) SetReadDeadline(t time.Time) error  { return s.f.SetReadDeadline(t) }
func (s *Socket) SetWriteDeadline(t time.Time) error { return s.f.SetWriteDeadline(t) }

// Close ends the socket; it does not remove its name.
func (s *Socket) Close() error { return s.f.Close() }

func (s *Socket) control(do func(fd int) error) error {
	conn, err := s.f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = do(int(fd)) })
	return errors.Join(err, failed)
}

// wait makes a call again until it does not have to wait.
func (s *Socket) wait(way func(syscall.RawConn, func(uintptr) bool) error, call func(fd int) error) error {
	conn, err := s.f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = way(conn, func(fd uintptr) bool {
		for {
			failed = call(int(fd))
			if !errors.Is(failed, unix.EINTR) {
				return !errors.Is(failed, unix.EAGAIN)
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// AsSocket makes a Socket of one end of a SocketPair, which is the Socket's from then on.
func AsSocket(f *os.File) (*Socket, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("dup %s: %w", f.Name(), err), f.Close())
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("make a socket non-blocking: %w", err), f.Close(), unix.Close(fd))
	}
	return &Socket{os.NewFile(uintptr(fd), f.Name())}, f.Close()
}

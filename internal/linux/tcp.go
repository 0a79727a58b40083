package linux

import (
	"errors"
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

// ReadReady waits for conn to have something to read and reads it into a buffer that it takes only then, so that thousands
// of silent sockets need no memory of ours. The buffer that it returns is the caller's; those that proved needless it gives
// back. n is 0 at the end of a stream.
func ReadReady(conn syscall.RawConn, take func() *[]byte, give func(*[]byte)) (buf *[]byte, n int, err error) {
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		buf = take()
		for {
			n, failed = unix.Read(int(fd), *buf)
			if !errors.Is(failed, unix.EINTR) {
				break
			}
		}
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

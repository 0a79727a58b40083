package linux

import (
	"os"

	"golang.org/x/sys/unix"
)

// DialUnix connects to the stream socket at path; one that begins with @ is in the abstract name space. The file waits in Go's
// poller and knows deadlines. It is the library's net.Dial without the library's net, which takes a millisecond before
// main: with it crypto/tls and all else that stands on it are ready to initialise.
func DialUnix(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := restarted(func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) }); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "connect to", Path: path, Err: err}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

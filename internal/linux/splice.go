package linux

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A Pipe is what splice(2) moves bytes through from one socket to another: they stay in the kernel. It never waits.
type Pipe struct{ out, in int }

// NewPipe returns a pipe of so many bytes, or of fewer where its user has many (pipe-user-pages-soft, pipe(7)). The caller closes it.
func NewPipe(size int) (*Pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, size)
	return &Pipe{out: fds[0], in: fds[1]}, nil
}

// Fill takes up to limit bytes from a non-blocking socket into the empty pipe: EAGAIN says that there are none, EINVAL that this kind
// of socket can't do it, 0 that the stream has ended.
func (p *Pipe) Fill(socket uintptr, limit int) (int, error) { return splice(int(socket), p.in, limit) }

// Drain gives up to n bytes, which must be in the pipe, to a non-blocking socket: EAGAIN says that it takes none now.
func (p *Pipe) Drain(socket uintptr, n int) (int, error) { return splice(p.out, int(socket), n) }

func splice(from, to, limit int) (int, error) {
	var n int64
	err := restarted(func() (err error) {
		n, err = unix.Splice(from, nil, to, nil, limit, unix.SPLICE_F_NONBLOCK)
		return err
	})
	return int(max(n, 0)), err
}

// Close closes it; what is in it is lost.
func (p *Pipe) Close() error { return errors.Join(unix.Close(p.out), unix.Close(p.in)) }

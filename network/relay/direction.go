package relay

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
)

// little is how much is copied at once. What comes in larger pieces is spliced: below some such size, two copies take less time than
// the pipe.
const little = 16 << 10

var copies = sync.Pool{New: func() any { b := make([]byte, little); return &b }}

func takeCopy() *[]byte  { return copies.Get().(*[]byte) }
func giveCopy(b *[]byte) { copies.Put(b) }

// A direction is one of a stream's two. While nothing moves it holds nothing, no memory and no pipe: most connections are silent, most of the time.
type direction struct{ from, to syscall.RawConn }

func newDirection(to, from Socket) (d *direction, err error) {
	d = &direction{}
	if d.from, err = from.SyscallConn(); err != nil {
		return nil, err
	}
	d.to, err = to.SyscallConn()
	return d, err
}

// pass passes bytes on until from ends. It begins with copies, and goes over to splice(2) while there is much.
func (d *direction) pass() error {
	much, able := false, true
	for {
		var n int
		var err error
		if much && able {
			n, err = d.splice()
		} else {
			n, err = d.copy()
		}
		switch {
		case errors.Is(err, errNoPipe):
			much = false
			continue
		case errors.Is(err, syscall.EINVAL) && much && able: // nothing was taken
			able = false
			continue
		case err != nil:
			return err
		case n == 0:
			return nil
		}
		much = n >= little
	}
}

// copy waits for bytes and passes on what a buffer takes of them. n is 0 at the end.
func (d *direction) copy() (n int, err error) {
	buf, n, err := linux.ReadReady(d.from, little, takeCopy, giveCopy)
	if err != nil {
		return 0, err
	}
	defer giveCopy(buf)
	return n, d.give(n, func(fd uintptr, done int) (int, error) { return linux.TryWrite(fd, (*buf)[done:n]) })
}

var errNoPipe = errors.New("no pipe")

// splice waits for bytes and passes on what a pipe takes of them. n is 0 at the end.
func (d *direction) splice() (n int, err error) {
	var pipe *linux.Pipe
	failed := d.from.Read(func(fd uintptr) bool {
		if pipe = pipes.take(); pipe == nil {
			err = errNoPipe
			return true
		}
		if n, err = pipe.Fill(fd, pipeSize); n > 0 {
			return true
		}
		pipes.give(pipe, true)
		pipe = nil
		return !errors.Is(err, syscall.EAGAIN)
	})
	if failed != nil {
		err = failed
	}
	if pipe == nil {
		return 0, err
	}
	err = d.give(n, func(fd uintptr, done int) (int, error) { return pipe.Drain(fd, n-done) })
	pipes.give(pipe, err == nil)
	return n, err
}

// give has write, which is told how much is done, write n bytes as fast as they are taken.
func (d *direction) give(n int, write func(fd uintptr, done int) (int, error)) (err error) {
	done := 0
	failed := d.to.Write(func(fd uintptr) bool {
		for done < n {
			var more int
			if more, err = write(fd, done); err != nil {
				return !errors.Is(err, syscall.EAGAIN)
			}
			if more == 0 {
				err = io.ErrShortWrite
				return true
			}
			done += more
		}
		return true
	})
	return errors.Join(failed, err)
}

package uplink

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network/relay"
)

// lingering is how long a pod has to take what is left when both directions have ended.
const lingering = time.Minute

// A stream is a connection of a pod, to us, and the one outside that it is joined with.
type stream struct {
	inside  tcpip.Endpoint
	queue   *waiter.Queue
	outside *net.TCPConn
	raw     syscall.RawConn // outside's
	moved   atomic.Int64    // when bytes last passed, Unix time in nanoseconds
	silence *time.Timer
}

var errReset = errors.New("the pod's end was reset")

// join passes bytes both ways until both directions have ended, and returns when nothing of either connection is left.
func join(ctx context.Context, inside tcpip.Endpoint, queue *waiter.Queue, outside *net.TCPConn) {
	defer outside.Close()
	s := &stream{inside: inside, queue: queue, outside: outside}
	s.touch()
	var err error
	if s.raw, err = outside.SyscallConn(); err != nil {
		inside.Abort()
		return
	}
	// A reset of the pod's ends what waits for the socket outside.
	failed := waiter.NewFunctionEntry(waiter.EventHUp|waiter.EventErr, func(waiter.EventMask) {
		if tcp.EndpointState(inside.State()) == tcp.StateError {
			go relay.Reset(outside) // not here: we hold gVisor's lock, for which a write waits that Close would wait for
		}
	})
	queue.EventRegister(&failed)
	defer queue.EventUnregister(&failed)

	s.silence = time.AfterFunc(math.MaxInt64, s.silent) // not before one direction has ended
	done := make(chan error, 2)
	go func() { done <- s.end(s.up()) }()
	go func() { done <- s.end(s.down()) }()
	err = <-done
	s.silence.Reset(relay.HalfOpen)
	err = errors.Join(err, <-done)
	s.silence.Stop()
	if err != nil {
		return // end has reset both
	}
	outside.Close()
	s.linger(ctx)
}

// end resets both sides of a direction that failed.
func (s *stream) end(err error) error {
	if err != nil {
		relay.Reset(s.outside)
		s.inside.Abort()
	}
	return err
}

// up passes on what the pod sends. What the socket outside does not take stays in gVisor's buffer, where it is bounded.
func (s *stream) up() error {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	for {
		state, err := s.upOnce()
		switch state.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			<-ready
			continue
		case *tcpip.ErrClosedForReceive:
			return s.outside.CloseWrite()
		default:
			return errReset
		}
		if err != nil {
			return err
		}
		s.touch()
	}
}

// upOnce writes outside what there is, once the socket takes some. It looks at the bytes first and takes them from the stack
// when they are written: so it needs a buffer only for the moment, and who resets a connection changes nothing under a write.
func (s *stream) upOnce() (state tcpip.Error, err error) {
	failed := s.raw.Write(func(fd uintptr) bool {
		return relay.WithBuffer(func(buf []byte) bool {
			var peeked tcpip.ReadResult
			w := tcpip.SliceWriter(buf)
			if peeked, state = s.inside.Read(&w, tcpip.ReadOptions{Peek: true}); state != nil {
				return true
			}
			var n int
			n, err = linux.TryWrite(fd, buf[:peeked.Count])
			if errors.Is(err, syscall.EAGAIN) {
				return false
			}
			if n > 0 {
				_, state = s.inside.Read(&discard{n}, tcpip.ReadOptions{})
			}
			return true
		})
	})
	if failed != nil {
		err = failed
	}
	return state, err
}

// discard takes so many bytes and no more.
type discard struct{ left int }

func (d *discard) Write(b []byte) (int, error) {
	if len(b) > d.left {
		n := d.left
		d.left = 0
		return n, io.ErrShortWrite
	}
	d.left -= len(b)
	return len(b), nil
}

// down passes on what comes from outside. It reads only while the stack takes something, and a quarter of the buffer at most:
// so much it may have to hold itself, for a pod that does not read.
func (s *stream) down() error {
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	limit := int(s.inside.SocketOptions().GetSendBufferSize()) / 4
	for {
		if err := s.send(nil, ready); err != nil {
			return err
		}
		var rest []byte
		var failed error
		n, err := relay.Read(s.raw, limit, func(data []byte) {
			var taken int64
			if taken, failed = s.write(data); int(taken) < len(data) {
				rest = append(rest, data[taken:]...)
			}
		})
		switch {
		case err != nil:
			return err
		case failed != nil:
			return failed
		case n == 0:
			s.inside.Shutdown(tcpip.ShutdownWrite)
			return nil
		}
		s.touch()
		if err := s.send(rest, ready); err != nil {
			return err
		}
	}
}

// write hands data to the stack, as far as it takes it.
func (s *stream) write(data []byte) (int64, error) {
	n, err := s.inside.Write(bytes.NewReader(data), tcpip.WriteOptions{})
	if _, full := err.(*tcpip.ErrWouldBlock); err != nil && !full {
		return n, errReset
	}
	return n, nil
}

// send waits until the stack has taken data, and takes more.
func (s *stream) send(data []byte, ready <-chan struct{}) error {
	for {
		n, err := s.write(data)
		if err != nil {
			return err
		}
		data = data[n:]
		if len(data) == 0 && s.inside.Readiness(waiter.WritableEvents) != 0 {
			return nil
		}
		<-ready
	}
}

func (s *stream) touch() { s.moved.Store(time.Now().UnixNano()) }

// silent ends a stream that has one direction left, in which nothing moves.
func (s *stream) silent() {
	if left := relay.HalfOpen - time.Since(time.Unix(0, s.moved.Load())); left > 0 {
		s.silence.Reset(left)
		return
	}
	_ = s.end(context.DeadlineExceeded)
}

// linger waits until the pod has taken all that was sent to it. Until then the stream counts as one, or who asks for much
// and takes nothing would fill the memory.
func (s *stream) linger(ctx context.Context) {
	s.inside.Close()
	pause, until := time.Millisecond, time.Now().Add(lingering)
	for {
		switch tcp.EndpointState(s.inside.State()) {
		case tcp.StateTimeWait, tcp.StateClose, tcp.StateError:
			return
		}
		if ctx.Err() != nil || time.Now().After(until) {
			s.inside.Abort()
			return
		}
		time.Sleep(pause)
		pause = min(2*pause, time.Second)
	}
}

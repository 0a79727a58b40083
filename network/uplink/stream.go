package uplink

import (
	"context"
	"errors"
	"io"
	"math"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
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
	outside relay.Socket
	raw     syscall.RawConn // outside's
	segment int             // bytes of it that the largest packet carries
	moved   atomic.Int64    // when bytes last passed, Unix time in nanoseconds
	silence *time.Timer
}

var errReset = errors.New("the pod's end was reset")

// join passes bytes both ways until both directions have ended, and returns when nothing of either connection is left.
func join(ctx context.Context, inside tcpip.Endpoint, queue *waiter.Queue, outside relay.Socket, mtu int) {
	defer outside.Close()
	const headers = header.IPv4MinimumSize + header.TCPMinimumSize + 12 // with timestamps
	s := &stream{inside: inside, queue: queue, outside: outside, segment: mtu - headers}
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
	done := make(chan error, 1)
	go func() {
		growStack(0)
		done <- s.end(s.down())
	}()
	err = errors.Join(s.end(s.up()), <-done)
	s.silence.Stop()
	if err != nil {
		return // end has reset both
	}
	outside.Close()
	s.linger(ctx)
}

// growStack has a new goroutine's stack be as large at once as gVisor will need it. It would double three times on the way there, and be copied each time, with
// ever more on it: a tenth of what a connection takes. Where it is not needed, the garbage collector takes it back. i is any index, which the compiler doesn't know.
//
//go:noinline
func growStack(i int) byte {
	var frame [10 << 10]byte
	return frame[i]
}

// end is called when a direction has ended. If that failed, it resets both sides; if not, the other has so much time from here on.
func (s *stream) end(err error) error {
	if err != nil {
		relay.Reset(s.outside)
		s.inside.Abort()
		return err
	}
	s.silence.Reset(relay.HalfOpen)
	return nil
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
			return linux.CloseWrite(s.raw)
		default:
			return errReset
		}
		if err != nil {
			return err
		}
		s.touch()
	}
}

// upOnce writes outside what there is, once the socket takes some. The stack gives a byte up when the socket has it: so we need no memory for
// any, and who resets a connection changes nothing under a write.
func (s *stream) upOnce() (state tcpip.Error, err error) {
	failed := s.raw.Write(func(fd uintptr) bool {
		w := socketWriter{fd: fd}
		if _, state = s.inside.Read(&w, tcpip.ReadOptions{}); w.err != nil {
			state = nil
		}
		if errors.Is(w.err, syscall.EAGAIN) {
			return false
		}
		err = w.err
		return true
	})
	if failed != nil {
		err = failed
	}
	return state, err
}

// A socketWriter is a non-blocking socket that says EAGAIN when it has not taken all.
type socketWriter struct {
	fd  uintptr
	err error
}

func (w *socketWriter) Write(b []byte) (n int, err error) {
	n, w.err = linux.TryWrite(w.fd, b)
	if w.err == nil && n < len(b) {
		w.err = syscall.EAGAIN
	}
	return n, w.err
}

// down passes on what comes from outside. It takes no more from the socket than the stack has room for: the rest is the kernel's to bound.
func (s *stream) down() error {
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	for {
		state, err := s.downOnce()
		switch state.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			<-ready
			continue
		default:
			return errReset
		}
		switch {
		case errors.Is(err, io.EOF):
			s.inside.Shutdown(tcpip.ShutdownWrite)
			return nil
		case err != nil:
			return err
		}
		s.touch()
	}
}

// downOnce hands the stack what the socket has, once it has something. It is io.EOF at the end.
func (s *stream) downOnce() (state tcpip.Error, err error) {
	failed := s.raw.Read(func(fd uintptr) bool {
		p := socketPayload{fd: fd}
		if p.left, err = linux.Unread(fd); errors.Is(err, syscall.EAGAIN) {
			return false
		}
		if p.left > s.segment { // what fills no packet goes with what comes meanwhile
			p.left -= p.left % s.segment
		}
		if err == nil {
			// Atomic: what we take from the socket must find its room still there.
			_, state = s.inside.Write(&p, tcpip.WriteOptions{Atomic: true})
		}
		return true
	})
	if failed != nil {
		err = failed
	}
	return state, err
}

// A socketPayload is so many bytes that a socket is known to have.
type socketPayload struct {
	fd   uintptr
	left int
}

func (p *socketPayload) Len() int { return p.left }

func (p *socketPayload) Read(b []byte) (n int, err error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	if len(b) == 0 { // gVisor asks in this way whether it is the end
		return 0, nil
	}
	n, err = linux.TryRead(p.fd, b[:min(len(b), p.left)])
	p.left -= n
	if n == 0 && err == nil {
		err = io.ErrUnexpectedEOF
	}
	return n, err
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
	entry, changed := waiter.NewChannelEntry(waiter.EventHUp | waiter.EventErr)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	s.inside.Close()
	end := time.NewTimer(lingering)
	defer end.Stop()
	for {
		switch tcp.EndpointState(s.inside.State()) {
		case tcp.StateTimeWait, tcp.StateClose, tcp.StateError:
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			s.inside.Abort()
			return
		case <-end.C:
			s.inside.Abort()
			return
		}
	}
}

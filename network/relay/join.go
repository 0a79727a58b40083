package relay

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

// HalfOpen is how long a connection may be silent after one side said that it has no more to send. While both may still
// send there is no such bound by default: keep-alive probes find the dead ones, and databases' pools are silent for days.
const HalfOpen = 15 * time.Minute

// A Socket is an end of a TCP connection, in Go's poller: a *net.TCPConn, or an *os.File.
type Socket interface {
	io.Closer
	syscall.Conn
}

// Join passes bytes both ways until both directions have ended, then closes a and b. Much is passed on within the kernel (splice(2)). The end of one
// direction is passed on as such (a FIN); a reset resets the other side. It returns when nothing of it is left, at the latest when ctx ends, nil after an
// orderly end.
//
// idle is the longest silence, in both directions together; 0 is for ever.
func Join(ctx context.Context, a, b Socket, idle time.Duration) error {
	stop := context.AfterFunc(ctx, func() { reset(a, b) })
	defer stop()
	w := watch{a: a, b: b, idle: idle}
	w.start()
	defer w.stop()

	done := make(chan error, 1)
	go func() { done <- w.pass(a, b) }()
	err := errors.Join(w.pass(b, a), <-done)
	if w.expired.Load() {
		err = os.ErrDeadlineExceeded
	}
	if cause := ctx.Err(); cause != nil {
		err = cause
	}
	a.Close()
	b.Close()
	return err
}

// pass passes what src sends on to dst until it ends.
func (w *watch) pass(dst, src Socket) error {
	d, err := newDirection(dst, src)
	if err == nil {
		err = d.pass()
	}
	if err != nil {
		reset(dst, src) // the other direction ends with it
		return err
	}
	if w.ended() { // else Join closes it at once
		// A peer that is gone already has no use for our FIN.
		_ = linux.CloseWrite(d.to)
	}
	return nil
}

// reset closes connections so that their peers see an error, not an end: what was in transit is lost.
func reset(conns ...io.Closer) {
	for _, c := range conns {
		if s, ok := c.(syscall.Conn); ok {
			_ = linux.ResetOnClose(s)
		}
		c.Close()
	}
}

// Reset closes c so that its peer sees ECONNRESET: there was nobody to talk to.
func Reset(c io.Closer) { reset(c) }

// A watch ends a silent pair of connections. It asks the kernel when data last passed (TCP_INFO), so that nothing has to be
// counted on the way, where the bytes never reach us.
type watch struct {
	a, b    Socket
	idle    time.Duration
	expired atomic.Bool

	mu    sync.Mutex
	half  bool // one direction has ended
	over  bool // both have
	timer *time.Timer
}

func (w *watch) limit() time.Duration {
	if w.half && (w.idle == 0 || w.idle > HalfOpen) {
		return HalfOpen
	}
	return w.idle
}

func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arm(w.limit())
}

// ended says that one direction has, and reports whether there is another.
func (w *watch) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.half {
		return false
	}
	w.half = true
	w.arm(w.limit())
	return true
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) arm(d time.Duration) {
	switch {
	case d == 0 || w.over:
	case w.timer == nil:
		w.timer = time.AfterFunc(d, w.check)
	default:
		w.timer.Reset(d)
	}
}

func (w *watch) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := w.limit()
	silent := limit
	for _, s := range []Socket{w.a, w.b} {
		last, err := linux.LastData(s)
		if err != nil {
			return // closed
		}
		silent = min(silent, last)
	}
	if silent < limit {
		w.arm(limit - silent)
		return
	}
	w.expired.Store(true)
	reset(w.a, w.b)
}

package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Accept waits for the next connection, through what passes by itself: a client that gave up already, and a lack of
// descriptors or memory. It returns nil, without an error, when ctx ended and somebody
// closed l for it.
func Accept(ctx context.Context, l *net.TCPListener) (*net.TCPConn, error) {
	for {
		c, err := l.AcceptTCP()
		switch {
		case err == nil:
			return c, nil
		case ctx.Err() != nil:
			return nil, nil //nolint:nilerr // closing the listener is how accept is ended
		case errors.Is(err, syscall.ECONNABORTED):
			continue
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		default:
			return nil, fmt.Errorf("accept on %s: %w", l.Addr(), err)
		}
	}
}

package port

import "context"

// What a connection and a client by UDP take at most: descriptors.
const (
	perConn = 2 // the sockets; pipes are few, and everybody's
	perFlow = 1
)

// A Room bounds what several published ports have together. Each of them has bounds of its own, but of ports there may be many, and anybody who can
// reach one may fill it: the process would have no descriptor left for anything else.
type Room struct {
	conns, flows chan struct{}
}

// NewRoom returns room for connections and clients by UDP that take so many descriptors together, at most.
func NewRoom(descriptors int) *Room {
	const share = 4 // one of so many parts is UDP's
	return &Room{
		conns: make(chan struct{}, max(1, descriptors*(share-1)/share/perConn)),
		flows: make(chan struct{}, max(1, descriptors/share/perFlow)),
	}
}

// enter waits for room for a connection, until ctx ends. A nil Room has no bounds.
func (r *Room) enter(ctx context.Context) error {
	if r == nil {
		return nil
	}
	select {
	case r.conns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Room) leave() {
	if r != nil {
		<-r.conns
	}
}

// enterFlow reports whether there is room for one more client by UDP, and takes it.
func (r *Room) enterFlow() bool {
	if r == nil {
		return true
	}
	select {
	case r.flows <- struct{}{}:
		return true
	default:
		return false
	}
}

func (r *Room) leaveFlow() {
	if r != nil {
		<-r.flows
	}
}

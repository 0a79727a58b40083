package port

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network/relay"
)

// A client is one conversation: datagrams of one address outside to one of this host's, by a socket of their own inside.
type client struct {
	*relay.Flow
	inside Socket
}

// Ends are the two of a conversation outside. Who asked one address takes no answer from another, and a socket that listens at all of them would
// answer from whichever the kernel finds first.
type ends struct {
	client netip.AddrPort
	at     string // the control data with which an answer leaves from there
}

func (o *Options) datagrams(ctx context.Context) error {
	pc := o.PacketConn
	defer context.AfterFunc(ctx, func() { pc.Close() })()
	defer pc.Close()
	var answers sync.WaitGroup
	defer answers.Wait()
	// A client may have all of its places: behind one address may be a whole company.
	flows := relay.NewFlows(o.MaxFlows, o.MaxFlows, func(e ends) netip.Addr { return e.client.Addr() })
	defer flows.Close()

	var mu sync.Mutex
	clients := map[ends]*client{}
	buf, control := make([]byte, relay.BufferSize), make([]byte, linux.ControlSize)
	for {
		n, told, _, peer, err := pc.ReadMsgUDPAddrPort(buf, control)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
			time.Sleep(10 * time.Millisecond)
			continue
		case err != nil:
			return fmt.Errorf("receive on %s: %w", pc.LocalAddr(), err)
		}
		from := ends{peer, string(linux.AnswerFrom(control[:told]))}
		mu.Lock()
		c := clients[from]
		mu.Unlock()
		if c == nil {
			if c, err = o.newClient(ctx, flows, from); err != nil {
				o.Log(fmt.Errorf("pass on a datagram to %s: %w", pc.LocalAddr(), err))
			}
			if c == nil {
				continue // lost, as datagrams are
			}
			mu.Lock()
			clients[from] = c
			mu.Unlock()
			answers.Go(func() {
				o.answer(c, from)
				flows.Remove(from, c.Flow)
				o.Room.leaveFlow()
				mu.Lock()
				defer mu.Unlock()
				if clients[from] == c {
					delete(clients, from)
				}
			})
		}
		c.Touch()
		// Nobody listening there (ECONNREFUSED) is found out by one datagram and told of the next; it may listen soon.
		_, _ = c.inside.Write(buf[:n])
	}
}

func (o *Options) newClient(ctx context.Context, flows *relay.Flows[ends], from ends) (c *client, err error) {
	if !flows.Room(from) {
		return nil, nil // every place has an answered conversation
	}
	if !o.Room.enterFlow() {
		return nil, nil
	}
	defer func() {
		if c == nil {
			o.Room.leaveFlow()
		}
	}()
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	inside, err := o.Dial(dialling, "udp", unmapped(from.client))
	if err != nil {
		return nil, err
	}
	flow, ok := flows.Add(from, inside)
	if !ok {
		return nil, nil
	}
	return &client{flow, inside}, nil
}

// answer passes the answers of one conversation back until its socket is closed.
func (o *Options) answer(c *client, to ends) {
	raw, err := c.inside.SyscallConn()
	for err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		_, err = relay.Read(raw, relay.BufferSize, func(datagram []byte) {
			c.Answer()
			_, _, err := o.PacketConn.WriteMsgUDPAddrPort(datagram, []byte(to.at), to.client)
			if err != nil && to.at != "" { // a broadcast address, or one that this host has no more
				_, _ = o.PacketConn.WriteToUDPAddrPort(datagram, to.client)
			}
		})
	}
}

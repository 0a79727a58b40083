package uplink

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network/relay"
)

// Redirect serves the connections that RedirectRules sends to l, a listener inside, by dialling outside where each was going.
// It is an uplink for machines without /dev/net/tun, and lesser in what it carries, TCP alone, and in what it tells: the
// kernel accepts a connection before we can dial, so "refused" and "unreachable" arrive as resets after that. The bytes
// never leave the kernel. It returns when ctx has ended, nil, or l failed; either way it closes l.
func Redirect(ctx context.Context, l *net.TCPListener, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	limit := relay.NewLimit(maxStreams, maxStreamsEach)
	for {
		c, err := relay.Accept(ctx, l)
		if c == nil {
			return err
		}
		src := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap() //nolint:forcetypeassert // of TCP there is no other
		if !limit.Take(src) {
			relay.Reset(c)
			continue
		}
		conns.Go(func() {
			defer limit.Give(src)
			redirected(ctx, c, &o)
		})
	}
}

func redirected(ctx context.Context, inside *net.TCPConn, o *Options) {
	ip, port, err := linux.OriginalDst(inside)
	dst := netip.AddrPortFrom(netip.AddrFrom4(ip), port)
	own := inside.LocalAddr().(*net.TCPAddr).AddrPort()
	target, ok := o.target(dst)
	if err != nil || !ok || dst == netip.AddrPortFrom(own.Addr().Unmap(), own.Port()) { // the last: somebody found our port
		relay.Reset(inside)
		return
	}
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	outside, err := o.dialTCP(dialling, target)
	cancel()
	if err != nil {
		relay.Reset(inside)
		return
	}
	_ = relay.Join(ctx, inside, outside, 0) // each peer has been told by its own socket how it ended
}

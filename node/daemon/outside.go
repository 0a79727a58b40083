package daemon

import (
	"context"
	"net/netip"
	"time"

	"codeberg.org/minipod/minipod/node"
)

// dialTimeout is for how long a connection to a pod may take.
const dialTimeout = 10 * time.Second

// serveOutside connects the network with what is outside.
func (d *daemon) serveOutside() error {
	d.uplink = "none"
	return nil
}

// nameservers are whom a pod asks for addresses.
func (d *daemon) nameservers() []string { return nil }

// search are the domains in which a pod looks for a short name.
func (d *daemon) search(namespace string) []string { return nil }

// pass passes on what comes to a published port, until ctx ends.
func (d *daemon) pass(ctx context.Context, a *attached, s *socket, p node.Port) {
	_ = netip.AddrPortFrom(a.address, p.ContainerPort)
	<-ctx.Done()
	s.close()
}

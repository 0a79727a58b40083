package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/network"
	"codeberg.org/minipod/minipod/network/port"
	"codeberg.org/minipod/minipod/node"
)

// A socket is where a published port is listened at: one of the two.
type socket struct {
	stream   *net.TCPListener
	datagram *net.UDPConn
}

func (s *socket) close() {
	if s.stream != nil {
		s.stream.Close()
	}
	if s.datagram != nil {
		s.datagram.Close()
	}
}

// roomForPorts is what published ports may take of our descriptors: not those that the way out, names and places need, or whoever fills a few ports
// with idle connections keeps new containers out of the network.
func roomForPorts() (*port.Room, error) {
	all, err := linux.MaxDescriptors()
	if err != nil {
		return nil, err
	}
	const others = 4096
	return port.NewRoom(all - min(others, all/2)), nil
}

// openPorts listens at a's published ports on the host, and passes on what comes. All or none of them.
func (d *daemon) openPorts(a *attached) error {
	ports := a.Ports
	if a.there { // with the numbers that it has
		ports = a.Lease.Ports
	}
	if len(ports) == 0 {
		return nil
	}
	inside, err := goInside(a.ns, d.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(d.ctx)
	var sockets []*socket
	var got []node.Port
	for _, p := range ports {
		s, number, err := d.listenAt(p)
		if err != nil {
			cancel()
			for _, s := range sockets {
				s.close()
			}
			inside.end()
			return err
		}
		p.HostPort = number
		sockets, got = append(sockets, s), append(got, p)
	}
	a.Lease.Ports = got
	closed := make(chan struct{})
	d.mu.Lock()
	a.publish, a.closed = cancel, closed
	d.mu.Unlock()
	running := make(chan struct{})
	for i, s := range sockets {
		go func() {
			d.pass(ctx, a, inside, s, got[i])
			running <- struct{}{}
		}()
	}
	go func() {
		for range sockets {
			<-running
		}
		inside.end()
		close(closed)
	}()
	return nil
}

// closePorts returns when a's ports are free.
func (d *daemon) closePorts(a *attached) {
	d.mu.Lock()
	cancel, closed := a.publish, a.closed
	d.mu.Unlock()
	if cancel != nil {
		cancel()
		<-closed
	}
}

// listenAt listens at a port on the host. One that a sandbox still has which has ended just now is free in a moment.
func (d *daemon) listenAt(p node.Port) (*socket, uint16, error) {
	s, number, err := listen(p)
	if errors.Is(err, syscall.EADDRINUSE) && d.releaseEnded(p) {
		s, number, err = listen(p)
	}
	return s, number, explain(p, err)
}

// releaseEnded releases the ended sandbox that has the port p.
func (d *daemon) releaseEnded(p node.Port) bool {
	d.mu.Lock()
	var ended *attached
	for _, a := range d.attached {
		for _, has := range a.Lease.Ports {
			if has.HostPort == p.HostPort && has.Protocol == p.Protocol && linux.Ended(a.pidfd) {
				ended = a
			}
		}
	}
	d.mu.Unlock()
	return ended != nil && d.release(ended) == nil
}

// listen listens at p on the host, whose network namespace is ours.
func listen(p node.Port) (*socket, uint16, error) {
	address := net.JoinHostPort(p.HostIP, strconv.Itoa(int(p.HostPort)))
	if p.Protocol == "udp" {
		c, err := (&net.ListenConfig{Control: linux.TellDestinations}).ListenPacket(context.Background(), "udp", address)
		if err != nil {
			return nil, 0, err
		}
		u := c.(*net.UDPConn)                                                            //nolint:forcetypeassert // of the network udp there is no other
		return &socket{datagram: u}, u.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil //nolint:forcetypeassert // ditto
	}
	// What is accepted has the options of the listener: to set them once is faster. So is a kernel that need not look whether it is Multipath TCP.
	config := net.ListenConfig{KeepAlive: -1, Control: linux.KeepAlive}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, 0, err
	}
	t := l.(*net.TCPListener)                                                 //nolint:forcetypeassert // of the network tcp there is no other
	return &socket{stream: t}, t.Addr().(*net.TCPAddr).AddrPort().Port(), nil //nolint:forcetypeassert // ditto
}

// explain says in docker's words why a port can't be published.
func explain(p node.Port, err error) error {
	address := p.HostIP
	if address == "" {
		address = "0.0.0.0"
	}
	address = net.JoinHostPort(address, strconv.Itoa(int(p.HostPort)))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return hint.Wrap(fmt.Errorf("bind for %s failed: port is already allocated: %w", address, syscall.EADDRINUSE),
			"see who has it (minipod ps, ss -lnp), or publish another: -p "+strconv.Itoa(int(p.HostPort)+1)+":"+strconv.Itoa(int(p.ContainerPort)))
	case errors.Is(err, syscall.EACCES):
		return hint.Wrap(fmt.Errorf("bind for %s failed: the port is reserved for root: %w", address, syscall.EACCES),
			fmt.Sprintf("publish one from 1024 on, or let users have it: sudo sysctl net.ipv4.ip_unprivileged_port_start=%d", p.HostPort))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return hint.Wrap(fmt.Errorf("bind for %s failed: this host has no such address: %w", address, syscall.EADDRNOTAVAIL), "see which it has: ip address")
	}
	return fmt.Errorf("bind for %s failed: %w", address, err)
}

// dial connects from inside a's network namespace.
func (a *attached) dial(ctx context.Context, protocol string, to netip.AddrPort) (conn net.Conn, err error) {
	err = network.In(a.ns, func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, protocol, to.String()) // to one literal address: on this thread
		return err
	})
	return conn, err
}

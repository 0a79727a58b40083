package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/network"
	"codeberg.org/minipod/minipod/network/dns"
	"codeberg.org/minipod/minipod/network/port"
	"codeberg.org/minipod/minipod/network/uplink"
	"codeberg.org/minipod/minipod/node"
)

// dialTimeout is for how long a connection to a pod may take.
const dialTimeout = 10 * time.Second

// serveOutside connects the network with what is outside: names, and the way out.
func (d *daemon) serveOutside() error {
	if err := d.serveNames(); err != nil {
		return err
	}
	d.uplink = uplinkNone
	var tun, redirect error
	switch d.config.Network.Uplink {
	case uplinkNone:
		return network.In(d.ns, uplink.RemoveRules)
	case uplinkGVisor:
		tun = d.serveTUN()
	case uplinkRedirect:
		redirect = d.serveRedirect()
	case uplinkPasta:
		if err := d.servePasta(); err != nil {
			d.notice(fmt.Errorf("containers reach each other, but nothing outside: %w", err))
		}
	default:
		if tun = d.serveTUN(); tun != nil {
			redirect = d.serveRedirect()
		}
	}
	switch {
	case tun != nil && d.uplink == uplinkRedirect:
		d.notice(hint.Wrap(fmt.Errorf("containers reach what is outside by TCP alone: no UDP, no ping, and who refuses a connection seems to break it: %w", tun), adviceTUN))
	case tun != nil:
		d.notice(hint.Wrap(fmt.Errorf("containers reach each other, but nothing outside: %w", errors.Join(tun, redirect)), adviceTUN))
	case redirect != nil:
		d.notice(fmt.Errorf("containers reach each other, but nothing outside: %w", redirect))
	}
	return nil
}

const adviceTUN = "let users open it: sudo chmod 0666 /dev/net/tun; minipod doctor says how it stays so"

// What leads out, in config.json's words.
const (
	uplinkGVisor   = "gvisor"
	uplinkRedirect = "redirect"
	uplinkPasta    = "pasta"
	uplinkNone     = "none"
)

// serveTUN has a TCP/IP stack of ours take what leaves the network.
func (d *daemon) serveTUN() error {
	var tun *os.File
	err := network.In(d.ns, func() (err error) {
		if tun, err = network.OpenUplink(); err == nil {
			err = uplink.RemoveRules() // of a node that had no TUN device
		}
		return err
	})
	if err != nil {
		if tun != nil {
			tun.Close()
		}
		return err
	}
	d.uplink = uplinkGVisor
	go func() {
		if err := uplink.Serve(d.ctx, tun, d.outside()); err != nil {
			d.log(fmt.Errorf("the way out is gone: %w", err))
		}
	}()
	return nil
}

// serveRedirect has the kernel hand TCP connections to us that leave the network.
func (d *daemon) serveRedirect() error {
	var l *net.TCPListener
	err := network.In(d.ns, func() (err error) {
		if l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(network.Gateway(d.subnet), 0))); err != nil {
			return err
		}
		return uplink.RedirectRules(network.Bridge, d.subnet, l.Addr().(*net.TCPAddr).AddrPort().Port()) //nolint:forcetypeassert // of a TCP listener there is no other
	})
	if err != nil {
		if l != nil {
			l.Close()
		}
		return fmt.Errorf("redirect connections: %w", err)
	}
	d.uplink = uplinkRedirect
	go func() {
		if err := uplink.Redirect(d.ctx, l, d.outside()); err != nil {
			d.log(fmt.Errorf("the way out is gone: %w", err))
		}
	}()
	return nil
}

// servePasta has pasta carry what leaves the network.
func (d *daemon) servePasta() error {
	path, err := uplink.FindPasta(d.ctx)
	if err != nil {
		return err
	}
	err = network.In(d.ns, func() error { return errors.Join(network.Forward(), uplink.MasqueradeRules(d.subnet)) })
	if err != nil {
		return err
	}
	d.uplink = uplinkPasta
	go d.keepPasta(uplink.PastaOptions{Path: path, Net: d.ns})
	return nil
}

// keepPasta runs pasta until we end. It is a process, and may be killed; who keeps dying starts less and less often.
func (d *daemon) keepPasta(o uplink.PastaOptions) {
	const first, longest = time.Second, 30 * time.Second
	pause := first
	for {
		began := time.Now()
		err := uplink.Pasta(d.ctx, o)
		if err == nil {
			return
		}
		if time.Since(began) > longest {
			pause = first
		}
		d.log(fmt.Errorf("the way out is gone for %v: %w", pause, err))
		time.Sleep(pause)
		pause = min(2*pause, longest)
	}
}

// outside is what both of ours carry: everything but what is the network's own.
func (d *daemon) outside() uplink.Options {
	return uplink.Options{MTU: network.MTU, Refuse: []netip.Prefix{d.subnet}, Gone: d.gone}
}

// serveNames answers the pods' questions for names, at the gateway's address.
func (d *daemon) serveNames() error {
	var udp *net.UDPConn
	var tcp *net.TCPListener
	at := netip.AddrPortFrom(network.Gateway(d.subnet), dnsPort)
	err := network.In(d.ns, func() (err error) {
		if udp, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at)); err != nil {
			return err
		}
		tcp, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		if udp != nil {
			udp.Close()
		}
		return fmt.Errorf("listen for questions about names: %w", err)
	}
	resolv := dns.HostResolv()
	s := &dns.Server{Lookup: d.lookup, Reverse: d.reverse, Clients: []netip.Prefix{d.subnet}, Resolv: resolv.Config, Log: d.log}
	go func() {
		if err := s.Serve(d.ctx, udp, tcp); err != nil {
			d.log(err)
		}
	}()
	return nil
}

const dnsPort = 53

// nameservers are whom a pod asks for addresses.
func (d *daemon) nameservers() []string { return []string{network.Gateway(d.subnet).String()} }

// search are the domains in which a pod looks for a short name; a container by itself has none.
func search(namespace string) []string {
	if namespace == "" {
		return nil
	}
	return dns.Search(namespace)
}

// namesOf are the names by which everybody knows a, all lower case. A pod's own namespace knows it by its bare name, too.
func namesOf(a *node.Attachment, address netip.Addr) []string {
	var names []string
	if a.Namespace != "" {
		names = dns.Names(a.Name, a.Namespace, a.Hostname, a.Subdomain, address)
	} else {
		const shortID = 12
		names = append(names, a.Name, a.ID[:min(shortID, len(a.ID))])
		if a.Hostname != "" {
			names = append(names, a.Hostname)
		}
	}
	names = append(names, a.Aliases...)
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	return names
}

// lookup finds who has the name, as client sees it.
func (d *daemon) lookup(name string, client netip.Addr) ([]netip.Addr, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	namespace := ""
	for _, a := range d.attached {
		if a.there && a.address == client {
			namespace = a.Namespace
		}
	}
	var found []netip.Addr
	for _, a := range d.attached {
		if !a.there {
			continue
		}
		if a.Namespace != "" && a.Namespace == namespace && strings.EqualFold(a.Name, name) {
			found = append(found, a.address)
			continue
		}
		for _, known := range a.names {
			if known == name {
				found = append(found, a.address)
				break
			}
		}
	}
	return found, len(found) > 0
}

// reverse finds the names of who has the address.
func (d *daemon) reverse(address, _ netip.Addr) ([]string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.attached {
		if a.there && a.address == address {
			return a.names, true
		}
	}
	return nil, false
}

// pass passes on what comes to a published port, until ctx ends. The socket is closed afterwards.
func (d *daemon) pass(ctx context.Context, a *attached, inside *insider, s *socket, p node.Port) {
	to := netip.AddrPortFrom(a.address, p.ContainerPort)
	o := port.Options{
		Listener: s.stream, PacketConn: s.datagram, Room: d.room, Log: func(err error) { d.log(fmt.Errorf("%s: %w", a.Name, err)) },
		Dial: func(ctx context.Context, protocol string, client netip.AddrPort) (port.Socket, error) {
			if d.subnet.Contains(client.Addr()) { // on the host that is no pod's
				client = netip.AddrPort{}
			}
			return inside.dial(ctx, protocol, to, client)
		},
	}
	if err := port.Publish(ctx, o); err != nil && !errors.Is(err, context.Canceled) {
		d.log(fmt.Errorf("publish port %d of %s: %w", p.ContainerPort, a.Name, err))
	}
	s.close()
}

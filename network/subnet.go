package network

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
)

// DefaultSubnet is podman's, too.
const DefaultSubnet = "10.88.0.0/16"

// Routes reads the host's IPv4 routes from /proc/net/route. The default route is not among them.
func Routes(r io.Reader) ([]netip.Prefix, error) {
	var list []netip.Prefix
	lines := bufio.NewScanner(r)
	lines.Scan() // the heading
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		const destination, mask = 1, 7
		if len(fields) <= mask {
			continue
		}
		address, err := hexAddress(fields[destination])
		if err != nil {
			return nil, err
		}
		bits, err := hexAddress(fields[mask])
		if err != nil {
			return nil, err
		}
		ones, _ := net.IPMask(bits.AsSlice()).Size()
		if ones > 0 {
			list = append(list, netip.PrefixFrom(address, ones).Masked())
		}
	}
	return list, lines.Err()
}

// hexAddress reads an address as /proc/net/route has it: a number in the machine's byte order.
func hexAddress(text string) (netip.Addr, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 4 {
		return netip.Addr{}, fmt.Errorf("read the host's routes: %q is no address", text)
	}
	var a [4]byte
	binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(raw))
	return netip.AddrFrom4(a), nil
}

// ParseSubnet reads a subnet for pods, as config.json has it.
func ParseSubnet(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is no subnet: %w", text, err)
	case !p.Addr().Is4():
		return p, fmt.Errorf("%s is no IPv4 subnet", text)
	case p != p.Masked():
		return p, fmt.Errorf("%s has bits behind its prefix: that would be %s", text, p.Masked())
	case p.Bits() < 8 || p.Bits() > 28:
		return p, fmt.Errorf("%s: a subnet for pods is between /8 and /28", text)
	}
	return p, nil
}

// Choose decides which subnet the pods have. configured is the user's choice, "" for none; then another one is taken where the usual one is
// the way to somewhere else on the host. warning says that the user's choice is such a way: pods don't reach what is there.
func Choose(configured string, routes []netip.Prefix) (subnet netip.Prefix, warning, err error) {
	collides := func(p netip.Prefix) (netip.Prefix, bool) {
		for _, r := range routes {
			if r.Overlaps(p) {
				return r, true
			}
		}
		return netip.Prefix{}, false
	}
	if configured != "" {
		if subnet, err = ParseSubnet(configured); err != nil {
			return subnet, nil, err
		}
		if r, yes := collides(subnet); yes {
			warning = hint.Wrap(fmt.Errorf("the pods' subnet %s is also the host's route to %s, which pods don't reach therefore", subnet, r),
				"choose another subnet in config.json: {\"network\": {\"subnet\": \"10.89.0.0/16\"}}")
		}
		return subnet, warning, nil
	}
	usual := netip.MustParsePrefix(DefaultSubnet)
	for _, candidate := range candidates(usual) {
		if _, yes := collides(candidate); !yes {
			return candidate, nil, nil
		}
	}
	return usual, nil, hint.Wrap(errors.New("each subnet that pods could have is the way to somewhere else on this host"),
		"choose one in config.json: {\"network\": {\"subnet\": \"192.168.88.0/24\"}}")
}

// candidates are the usual subnet and those that come next: the rest of 10/8, then some of 172.16/12 and 192.168/16.
func candidates(usual netip.Prefix) []netip.Prefix {
	list := []netip.Prefix{usual}
	for second := 89; second < 256; second++ {
		list = append(list, netip.MustParsePrefix("10."+strconv.Itoa(second)+".0.0/16"))
	}
	for second := 31; second >= 18; second-- {
		list = append(list, netip.MustParsePrefix("172."+strconv.Itoa(second)+".0.0/16"))
	}
	for third := 88; third < 128; third++ {
		list = append(list, netip.MustParsePrefix("192.168."+strconv.Itoa(third)+".0/24"))
	}
	return list
}

// Gateway is the subnet's first address, the bridge's.
func Gateway(subnet netip.Prefix) netip.Addr { return subnet.Addr().Next() }

// A Pool has the addresses of a subnet that nobody has. It goes around: an address is not given to another as soon as it is free, since
// somebody may still think of it as the one who had it.
type Pool struct {
	subnet netip.Prefix
	last   netip.Addr // given last
	taken  map[netip.Addr]bool
}

// NewPool returns the pool of all of the subnet's addresses but the gateway's, its own and the broadcast address.
func NewPool(subnet netip.Prefix) *Pool {
	return &Pool{subnet: subnet, last: Gateway(subnet), taken: map[netip.Addr]bool{}}
}

// ErrFull says that all addresses are taken.
var ErrFull = errors.New("all addresses of the pods' subnet are taken")

// Take returns a free address, which is taken from then on.
func (p *Pool) Take() (netip.Addr, error) {
	first := Gateway(p.subnet).Next()
	a := p.last
	for range uint64(1) << (32 - p.subnet.Bits()) {
		a = a.Next()
		if !p.subnet.Contains(a) || !p.subnet.Contains(a.Next()) { // the last one is for broadcasts
			a = first
		}
		if !p.taken[a] {
			p.taken[a], p.last = true, a
			return a, nil
		}
	}
	return netip.Addr{}, ErrFull
}

// Claim takes an address that somebody has already.
func (p *Pool) Claim(a netip.Addr) {
	p.taken[a] = true
	if p.subnet.Contains(a) && a.Compare(p.last) > 0 {
		p.last = a
	}
}

// Give gives an address back.
func (p *Pool) Give(a netip.Addr) { delete(p.taken, a) }

// MAC is the hardware address that goes with an address, so that nobody's table is out of date when the address has a new owner.
func MAC(a netip.Addr) net.HardwareAddr {
	ip := a.As4()
	return net.HardwareAddr{0x02, 0x6d, ip[0], ip[1], ip[2], ip[3]} // locally administered
}

package network_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/network"
)

const routeTable = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	0	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
docker0	0000580A	00000000	0001	0	0	0	0000FFFF	0	0	0
`

func TestRoutes(t *testing.T) {
	got, err := network.Routes(strings.NewReader(routeTable))
	want := []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("10.88.0.0/16")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if _, err := network.Routes(strings.NewReader("heading\neth0 xyz 0 0 0 0 0 FF\n")); err == nil {
		t.Error("nonsense is read as a route")
	}
}

func TestChoose(t *testing.T) {
	prefixes := func(list ...string) (out []netip.Prefix) {
		for _, s := range list {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	for _, tt := range []struct {
		configured string
		routes     []netip.Prefix
		want       string
		warns      bool
	}{
		{"", nil, "10.88.0.0/16", false},
		{"", prefixes("192.168.1.0/24"), "10.88.0.0/16", false},
		{"", prefixes("10.88.3.0/24"), "10.89.0.0/16", false},
		{"", prefixes("10.88.0.0/16", "10.89.0.0/16"), "10.90.0.0/16", false},
		{"", prefixes("10.0.0.0/8"), "172.31.0.0/16", false},
		{"", prefixes("10.0.0.0/8", "172.16.0.0/12"), "192.168.88.0/24", false},
		{"10.5.0.0/24", nil, "10.5.0.0/24", false},
		{"10.5.0.0/24", prefixes("10.5.0.0/16"), "10.5.0.0/24", true},
	} {
		got, warning, err := network.Choose(tt.configured, tt.routes)
		if err != nil || got.String() != tt.want || (warning != nil) != tt.warns {
			t.Errorf("Choose(%q, %v) = %v, %v, %v; want %s", tt.configured, tt.routes, got, warning, err, tt.want)
		}
		if warning != nil && hint.Of(warning) == "" {
			t.Errorf("no hint in %q", warning)
		}
	}
	if _, _, err := network.Choose("", prefixes("0.0.0.0/1")); err != nil {
		t.Errorf("half of all addresses leave others: %v", err)
	}
	if _, _, err := network.Choose("", prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")); hint.Of(err) == "" {
		t.Errorf("nothing is left: %v", err)
	}
	for _, bad := range []string{"10.88.0.1/16", "10.88.0.0", "fd00::/64", "10.0.0.0/30", "0.0.0.0/0", "x"} {
		if _, _, err := network.Choose(bad, nil); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestPool(t *testing.T) {
	p := network.NewPool(netip.MustParsePrefix("10.1.2.0/28"))
	seen := map[netip.Addr]bool{}
	for range 13 { // 16 less the network's, the gateway's and the broadcast address
		a, err := p.Take()
		if err != nil || seen[a] {
			t.Fatalf("%v, %v after %d", a, err, len(seen))
		}
		seen[a] = true
	}
	for _, bad := range []string{"10.1.2.0", "10.1.2.1", "10.1.2.15"} {
		if seen[netip.MustParseAddr(bad)] {
			t.Errorf("%s was given", bad)
		}
	}
	if _, err := p.Take(); !errors.Is(err, network.ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	p.Give(netip.MustParseAddr("10.1.2.5"))
	if a, err := p.Take(); err != nil || a.String() != "10.1.2.5" {
		t.Errorf("the one that was given back: %v, %v", a, err)
	}
}

// An address that was just given back is not the next to be given, and one that was claimed is not given at all.
func TestPoolGoesAround(t *testing.T) {
	p := network.NewPool(netip.MustParsePrefix("10.1.2.0/24"))
	first, _ := p.Take()
	p.Give(first)
	p.Claim(netip.MustParseAddr("10.1.2.3"))
	if second, err := p.Take(); err != nil || second.String() != "10.1.2.4" {
		t.Errorf("%v, %v", second, err)
	}
}

func TestMAC(t *testing.T) {
	mac := network.MAC(netip.MustParseAddr("10.88.1.2"))
	if mac.String() != "02:6d:0a:58:01:02" || mac[0]&3 != 2 { // local, and of one
		t.Error(mac)
	}
}

package uplink

import (
	"net/netip"
	"testing"
)

// TestTarget is what pods may reach: the outside, not this host's loopback, unless an alias leads there.
func TestTarget(t *testing.T) {
	o := Options{
		Alias:  map[netip.Addr]netip.Addr{netip.MustParseAddr("10.88.0.2"): netip.MustParseAddr("127.0.0.1")},
		Refuse: []netip.Prefix{netip.MustParsePrefix("10.88.0.0/16")},
	}
	for dst, want := range map[string]string{
		"192.0.2.1:80":       "192.0.2.1:80",
		"10.88.0.2:80":       "127.0.0.1:80",
		"10.88.0.9:80":       "",
		"127.0.0.1:80":       "",
		"127.9.9.9:80":       "",
		"0.0.0.0:80":         "",
		"0.1.2.3:80":         "",
		"224.0.0.251:5353":   "",
		"255.255.255.255:67": "",
		"240.0.0.1:1":        "",
	} {
		got, ok := o.target(netip.MustParseAddrPort(dst))
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: %s, %t", dst, got, ok)
		}
	}
}

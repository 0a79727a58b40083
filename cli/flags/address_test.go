package flags

import (
	"net/netip"
	"testing"
)

// TestAddress holds our reading of addresses to net/netip's.
func TestAddress(t *testing.T) {
	for _, s := range []string{
		"1.2.3.4", "0.0.0.0", "255.255.255.255", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1..2.3", "+1.2.3.4", "", "a",
		"::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7::8",
		"fe80::1", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4::", "::1.2.3", "12345::", "g::", ":::", "1::2::3", ":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:",
	} {
		_, err := netip.ParseAddr(s)
		if got, want := isIPv4(s) || isIPv6(s), err == nil; got != want {
			t.Errorf("address %q: %v, netip says %v", s, got, err)
		}
	}
}

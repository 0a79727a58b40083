package network_test

import (
	"os"
	"testing"

	"codeberg.org/minipod/minipod/network"
)

// TestKeepClients: what it sets is set, in the pod alone, and a second time, too.
func TestKeepClients(t *testing.T) {
	if !inside(t) {
		return
	}
	ns := newNamespace(t)
	for range 2 {
		if err := network.In(ns, network.KeepClients); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"tcp_fwmark_accept", "fwmark_reflect", "tcp_tw_reuse"} {
		var value []byte
		err := network.In(ns, func() (err error) {
			value, err = os.ReadFile("/proc/sys/net/ipv4/" + name)
			return err
		})
		if err != nil || string(value) != "1\n" {
			t.Errorf("%s is %q, %v", name, value, err)
		}
	}
}

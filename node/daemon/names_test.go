package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/node"
)

func TestLookup(t *testing.T) {
	d := &daemon{attached: map[string]*attached{}}
	add := func(address string, a node.Attachment) netip.Addr {
		at := netip.MustParseAddr(address)
		d.attached[a.ID] = &attached{Attached: node.Attached{Attachment: a}, address: at, there: true, names: namesOf(&a, at)}
		return at
	}
	web := add("10.88.0.2", node.Attachment{ID: "0123456789abcdef", Name: "Web", Hostname: "shop", Aliases: []string{"www"}})
	pod := add("10.88.0.3", node.Attachment{ID: "b", Name: "web-0", Namespace: "default", Hostname: "web-0", Subdomain: "nginx"})
	other := add("10.88.0.4", node.Attachment{ID: "c", Name: "web-0", Namespace: "test"})
	d.attached["coming"] = &attached{address: netip.MustParseAddr("10.88.0.9"), names: []string{"coming"}}
	for _, tt := range []struct {
		name   string
		client netip.Addr
		want   []netip.Addr
	}{
		{"web", pod, []netip.Addr{web}},
		{"shop", other, []netip.Addr{web}},
		{"www", web, []netip.Addr{web}},
		{"0123456789ab", web, []netip.Addr{web}},
		{"web-0", pod, []netip.Addr{pod}},
		{"web-0", other, []netip.Addr{other}},
		{"web-0", web, nil}, // which namespace?
		{"web-0.default", web, []netip.Addr{pod}},
		{"web-0.test.svc.cluster.local", web, []netip.Addr{other}},
		{"web-0.nginx.default.svc.cluster.local", other, []netip.Addr{pod}},
		{"10-88-0-4.test.pod.cluster.local", web, []netip.Addr{other}},
		{"coming", web, nil},
		{"", web, nil},
	} {
		got, found := d.lookup(tt.name, tt.client)
		if !slices.Equal(got, tt.want) || found != (tt.want != nil) {
			t.Errorf("%s asks for %q: %v, %t; want %v", tt.client, tt.name, got, found, tt.want)
		}
	}
	if names, found := d.reverse(web, pod); !found || names[0] != "web" {
		t.Errorf("who is %s: %v, %t", web, names, found)
	}
	if _, found := d.reverse(netip.MustParseAddr("10.88.0.77"), pod); found {
		t.Error("nobody has that address")
	}
}

func TestExplain(t *testing.T) {
	p := node.Port{HostPort: 80, ContainerPort: 80, Protocol: "tcp"}
	for _, errno := range []error{syscall.EADDRINUSE, syscall.EACCES, syscall.EADDRNOTAVAIL} {
		if err := explain(p, errno); !errors.Is(err, errno) || hint.Of(err) == "" {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

func TestIsID(t *testing.T) {
	for id, want := range map[string]bool{"0123abc": true, "k8s_POD_web_default": true, "": false, ".": false, "..": false, "a/b": false, "../x": false, "a\x00": false, "ü": false} {
		if isID(id) != want {
			t.Errorf("isID(%q) is not %t", id, want)
		}
	}
}

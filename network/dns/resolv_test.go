package dns

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestParseResolv(t *testing.T) {
	for name, test := range map[string]struct {
		text, servers, search string
		timeout               time.Duration
		attempts              int
	}{
		"usual":    {"# made by hand\nnameserver 192.0.2.1\nsearch example.org\n", "192.0.2.1:53", "example.org", 5 * time.Second, 2},
		"many":     {"nameserver 192.0.2.1\nnameserver ::1\nnameserver 192.0.2.3\nnameserver 192.0.2.4", "192.0.2.1:53 [::1]:53 192.0.2.3:53", "", 5 * time.Second, 2},
		"scope":    {"nameserver fe80::1%eth0", "[fe80::1%eth0]:53", "", 5 * time.Second, 2},
		"options":  {"nameserver 192.0.2.1 # router\noptions rotate timeout:1 attempts:99 ndots:5", "192.0.2.1:53", "", time.Second, 5},
		"rubbish":  {"nameserver\nnameserver x\noptions timeout:-3 attempts:x\n\x00\n", "", "", 5 * time.Second, 2},
		"searches": {"domain a\nsearch b c\n", "", "b c", 5 * time.Second, 2},
		"empty":    {"", "", "", 5 * time.Second, 2},
	} {
		c, err := ParseResolv(strings.NewReader(test.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var servers []string
		for _, s := range c.Servers {
			servers = append(servers, s.String())
		}
		if got := strings.Join(servers, " "); got != test.servers || strings.Join(c.Search, " ") != test.search || c.Timeout != test.timeout || c.Attempts != test.attempts {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestResolv: the file is followed as it changes, and systemd-resolved's stub to the servers behind it.
func TestResolv(t *testing.T) {
	dir := t.TempDir()
	etc, run := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "behind.conf")
	r := &Resolv{files: []string{etc, run}}
	expect := func(when, want string) {
		t.Helper()
		if got := r.Config().Servers; len(got) != 1 || got[0].Addr().String() != want {
			t.Errorf("%s: %v, want %s", when, got, want)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	expect("without files", "127.0.0.1")
	write(etc, "nameserver 192.0.2.1\n")
	expect("a server", "192.0.2.1")
	write(run, "nameserver 192.0.2.9\n")
	expect("a server, and an unused file of systemd-resolved", "192.0.2.1")
	write(etc, "nameserver 127.0.0.53\noptions edns0\n")
	expect("the stub", "192.0.2.9")
	write(run, "nameserver 192.0.2.8\n")
	expect("another network", "192.0.2.8")
	if err := os.Remove(run); err != nil {
		t.Fatal(err)
	}
	expect("the stub alone", "127.0.0.53")
}

func FuzzParseResolv(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nsearch a b\noptions timeout:3 attempts:2\n")
	f.Add("nameserver fe80::1%eth0;x\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, _ := ParseResolv(strings.NewReader(text))
		if len(c.Servers) > maxServers || c.Timeout <= 0 || c.Timeout > maxTimeout*time.Second || c.Attempts < 1 || c.Attempts > maxAttempts {
			t.Errorf("%+v", c)
		}
		for _, s := range c.Servers {
			if !s.IsValid() {
				t.Errorf("%+v", c)
			}
		}
	})
}

func TestNames(t *testing.T) {
	got := Names("Web", "default", "", "nginx", netip.MustParseAddr("10.88.0.7"))
	want := []string{"web.default", "web.default.svc.cluster.local", "web.nginx.default", "web.nginx.default.svc.cluster.local", "10-88-0-7.default.pod.cluster.local"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// FuzzReverse compares with the library's own making of such names.
func FuzzReverse(f *testing.F) {
	f.Add("7.0.88.10.in-addr.arpa")
	f.Add("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa")
	f.Add(strings.Repeat(".", 63) + ".ip6.arpa")
	f.Fuzz(func(t *testing.T, name string) {
		addr, ok := reverse(name)
		if !ok {
			return
		}
		again, err := dns.ReverseAddr(addr.String())
		if err == nil && addr.Is4In6() {
			return // the library writes it as IPv4
		}
		if err != nil || again != strings.ToLower(name)+"." {
			t.Errorf("%q is %s, whose name is %q, %v", name, addr, again, err)
		}
	})
}

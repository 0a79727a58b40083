package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var pods = map[string][]netip.Addr{
	"web.default":                           {netip.MustParseAddr("127.8.0.7")},
	"web.default.svc.cluster.local":         {netip.MustParseAddr("127.8.0.7")},
	"web":                                   {netip.MustParseAddr("127.8.0.7")},
	"web-0.nginx.default.svc.cluster.local": {netip.MustParseAddr("127.8.0.7"), netip.MustParseAddr("fd00::7")},
	"pending.default":                       {},
	"crowd.default":                         addrs(300),
}

func addrs(n int) (a []netip.Addr) {
	for i := range n {
		a = append(a, netip.AddrFrom4([4]byte{127, 8, byte(1 + i/250), byte(1 + i%250)}))
	}
	return a
}

func lookup(name string, _ netip.Addr) ([]netip.Addr, bool) {
	a, ok := pods[name]
	return a, ok
}

func reverseLookup(addr, _ netip.Addr) ([]string, bool) {
	if addr == netip.MustParseAddr("127.8.0.7") {
		return []string{"web.default.svc.cluster.local"}, true
	}
	return nil, false
}

func sockets(t *testing.T) (*net.UDPConn, net.Listener) {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: l.Addr().(*net.TCPAddr).Port})
		if err == nil {
			return u, l
		}
		l.Close()
	}
	t.Fatal("no port that is free for both")
	return nil, nil
}

// serve runs s until the test ends, and looks that nothing stays.
func serve(t *testing.T, s *Server) (addr string) {
	t.Helper()
	before := runtime.NumGoroutine()
	udp, tcp := sockets(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, udp, tcp.(*net.TCPListener)) }()
	t.Cleanup(func() {
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error("Serve:", err)
		}
		if d := time.Since(began); d > tcpIdle*3/4 { // it does not wait for who says nothing
			t.Errorf("Serve took %v to end", d)
		}
		for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
			}
		}
	})
	return udp.LocalAddr().String()
}

// upstream is a server on the host that knows example.org, has a long text at long.example.org, does not answer for
// silent.example.org, fails for failing.example.org, and never heard of others.
func upstream(t *testing.T, asked *atomic.Int64) netip.AddrPort {
	t.Helper()
	udp, tcp := sockets(t)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		if asked != nil {
			asked.Add(1)
		}
		m := new(dns.Msg).SetReply(r)
		header := dns.RR_Header{Name: r.Question[0].Name, Rrtype: r.Question[0].Qtype, Class: dns.ClassINET, Ttl: 60}
		switch strings.ToLower(r.Question[0].Name) {
		case "example.org.":
			m.Answer = append(m.Answer, &dns.A{Hdr: header, A: net.IPv4(192, 0, 2, 1)})
		case "long.example.org.":
			for i := range 40 {
				m.Answer = append(m.Answer, &dns.TXT{Hdr: header, Txt: []string{fmt.Sprintf("%03d %s", i, strings.Repeat("x", 200))}})
			}
			if w.RemoteAddr().Network() == "udp" {
				m.Truncate(512)
			}
		case "silent.example.org.":
			return
		case "failing.example.org.":
			m.Rcode = dns.RcodeServerFailure
		case "other.example.org.":
			m.Question[0].Name = "example.org."
		default:
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: handler}, {Listener: tcp, Handler: handler}} {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		go s.ActivateAndServe()
		<-ready
		t.Cleanup(func() { s.Shutdown() })
	}
	return netip.MustParseAddrPort(udp.LocalAddr().String())
}

// config is one of servers that are asked until they answer; hasty is one for those that never do.
func config(servers ...netip.AddrPort) func() Config {
	return func() Config { return Config{Servers: servers, Timeout: try, Attempts: maxAttempts} }
}

func hasty(servers ...netip.AddrPort) func() Config {
	return func() Config { return Config{Servers: servers, Timeout: 100 * time.Millisecond, Attempts: 1} }
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func exchange(t *testing.T, network, server string, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: time.Minute}
	r, _, err := c.Exchange(m, server)
	if err != nil {
		t.Fatalf("ask over %s: %v", network, err)
	}
	return r
}

func question(name string, kind uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, kind) }

func TestAnswers(t *testing.T) {
	up := upstream(t, nil)
	server := serve(t, &Server{Lookup: lookup, Reverse: reverseLookup, Clients: loopback, Resolv: config(up)})
	hurried := serve(t, &Server{Lookup: lookup, Clients: loopback, Resolv: hasty(up)})
	for _, test := range []struct {
		name  string
		kind  uint16
		rcode int
		want  string // the data of the answers
	}{
		{"web.default.", dns.TypeA, dns.RcodeSuccess, "127.8.0.7"},
		{"web.", dns.TypeA, dns.RcodeSuccess, "127.8.0.7"},
		{"WEB.Default.svc.cluster.LOCAL.", dns.TypeA, dns.RcodeSuccess, "127.8.0.7"},
		{"web.default.", dns.TypeAAAA, dns.RcodeSuccess, ""}, // exists, so not NXDOMAIN: musl gives up on that
		{"web.default.", dns.TypeMX, dns.RcodeSuccess, ""},
		{"web.default.", dns.TypeANY, dns.RcodeSuccess, "127.8.0.7"},
		{"web-0.nginx.default.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, "127.8.0.7"},
		{"web-0.nginx.default.svc.cluster.local.", dns.TypeAAAA, dns.RcodeSuccess, "fd00::7"},
		{"pending.default.", dns.TypeA, dns.RcodeSuccess, ""},
		{"nobody.default.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, ""},
		{"example.org.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, ""}, // what a search path makes: never asked outside
		{"svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, ""},
		{"localhost.", dns.TypeA, dns.RcodeSuccess, "127.0.0.1"},
		{"a.localhost.", dns.TypeAAAA, dns.RcodeSuccess, "::1"},
		{"7.0.8.127.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, "web.default.svc.cluster.local."},
		{"8.0.8.127.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"7.0.8.127.in-addr.arpa.", dns.TypeA, dns.RcodeSuccess, ""},
		{"1.2.0.192.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""}, // asked upstream
		{"example.org.", dns.TypeA, dns.RcodeSuccess, "192.0.2.1"},
		{"nobody.", dns.TypeA, dns.RcodeNameError, ""},
		{"failing.example.org.", dns.TypeA, dns.RcodeServerFailure, ""},
		{"silent.example.org.", dns.TypeA, dns.RcodeServerFailure, ""},
		{"other.example.org.", dns.TypeA, dns.RcodeServerFailure, ""}, // answers another question
		{"web.default.", dns.TypeAXFR, dns.RcodeRefused, ""},
	} {
		for _, network := range []string{"udp", "tcp"} {
			at := server
			if test.name == "silent.example.org." {
				at = hurried
			}
			r := exchange(t, network, at, question(test.name, test.kind))
			var data []string
			for _, rr := range r.Answer {
				_, text, _ := strings.Cut(rr.String(), rr.Header().String())
				data = append(data, text)
				if rr.Header().Name != test.name {
					t.Errorf("%s: the answer is about %s", test.name, rr.Header().Name)
				}
			}
			if got := strings.Join(data, " "); r.Rcode != test.rcode || got != test.want {
				t.Errorf("%s %s over %s: %s %q, want %s %q", test.name, dns.TypeToString[test.kind], network,
					dns.RcodeToString[r.Rcode], got, dns.RcodeToString[test.rcode], test.want)
			}
			if r.Authoritative && len(r.Answer) == 0 && r.Rcode != dns.RcodeRefused && (len(r.Ns) != 1 || r.Ns[0].Header().Rrtype != dns.TypeSOA) {
				t.Errorf("%s: a negative answer without an SOA", test.name)
			}
		}
	}
}

// TestTruncated: what is too long for UDP says so, of ours and from outside, and comes whole over TCP or to who takes more.
func TestTruncated(t *testing.T) {
	server := serve(t, &Server{Lookup: lookup, Clients: loopback, Resolv: config(upstream(t, nil))})
	big := question("crowd.default.", dns.TypeA)
	big.SetEdns0(4096, false)
	for _, test := range []struct {
		network   string
		m         *dns.Msg
		truncated bool
		answers   int
	}{
		{"udp", question("crowd.default.", dns.TypeA), true, 0},
		{"udp", big, true, 0},
		{"tcp", question("crowd.default.", dns.TypeA), false, 300},
		{"udp", question("long.example.org.", dns.TypeTXT), true, 0},
		{"tcp", question("long.example.org.", dns.TypeTXT), false, 40},
	} {
		r := exchange(t, test.network, server, test.m)
		if r.Truncated != test.truncated || !r.Truncated && len(r.Answer) != test.answers || r.Truncated && len(r.Answer) == 300 {
			t.Errorf("%s over %s: truncated %t, %d answers", test.m.Question[0].Name, test.network, r.Truncated, len(r.Answer))
		}
		r.Compress = true // as it came
		if size := r.Len(); test.network == "udp" && size > 4096 || test.m.IsEdns0() == nil && test.network == "udp" && size > 512 {
			t.Errorf("%s over %s: %d bytes", test.m.Question[0].Name, test.network, size)
		}
	}
}

// TestStrangers: who is no pod gets nothing from us, and neither does what is no plain question.
func TestStrangers(t *testing.T) {
	var asked atomic.Int64
	up := upstream(t, &asked)
	server := serve(t, &Server{Lookup: lookup, Clients: []netip.Prefix{netip.MustParsePrefix("10.88.0.0/16")}, Resolv: config(up)})
	for _, name := range []string{"web.default.", "example.org."} {
		if r := exchange(t, "udp", server, question(name, dns.TypeA)); r.Rcode != dns.RcodeRefused || len(r.Answer) != 0 {
			t.Errorf("a stranger asks for %s: %s", name, dns.RcodeToString[r.Rcode])
		}
	}
	server = serve(t, &Server{Lookup: lookup, Clients: loopback, Resolv: config(up)})
	chaos := question("version.bind.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	iterative := question("example.org.", dns.TypeA)
	iterative.RecursionDesired = false
	notify := question("example.org.", dns.TypeSOA)
	notify.Opcode = dns.OpcodeNotify
	for name, test := range map[string]struct {
		m     *dns.Msg
		rcode int
	}{
		"chaos": {chaos, dns.RcodeRefused}, "iterative": {iterative, dns.RcodeRefused}, "notify": {notify, dns.RcodeNotImplemented},
	} {
		if r := exchange(t, "udp", server, test.m); r.Rcode != test.rcode {
			t.Errorf("%s: %s", name, dns.RcodeToString[r.Rcode])
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("upstream was asked %d times", n)
	}
}

// TestNextServer: a dead server delays, and the next one answers.
func TestNextServer(t *testing.T) {
	refusing := netip.MustParseAddrPort("127.0.0.1:1")
	servers := []netip.AddrPort{upstreamSilent(t), refusing, upstream(t, nil)}
	server := serve(t, &Server{Lookup: lookup, Clients: loopback, Resolv: func() Config { return Config{Servers: servers, Timeout: time.Second, Attempts: maxAttempts} }})
	if r := exchange(t, "udp", server, question("example.org.", dns.TypeA)); len(r.Answer) != 1 {
		t.Errorf("%s, %d answers", dns.RcodeToString[r.Rcode], len(r.Answer))
	}
}

// TestFlood: more questions at once than one client may have are answered by a failure, not by waiting; others get theirs.
func TestFlood(t *testing.T) {
	var gaveUp atomic.Int64 // questions that were taken, and not answered from outside
	server := serve(t, &Server{
		Lookup: lookup, Clients: loopback, Resolv: config(upstreamSilent(t)), Log: func(error) { gaveUp.Add(1) },
	})
	packet, err := question("silent.example.org.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp4", server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer := make([]byte, maxUDP)
	answers := int64(0)
	for deadline := time.Now().Add(time.Minute); answers <= gaveUp.Load(); {
		if time.Now().After(deadline) {
			t.Fatal("no question was turned away")
		}
		for range 2 * maxQuestionsEach {
			if _, err := c.Write(packet); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		for answers <= gaveUp.Load() {
			n, err := c.Read(answer)
			if err != nil {
				break
			}
			var m dns.Msg
			if err := m.Unpack(answer[:n]); err != nil || m.Rcode != dns.RcodeServerFailure {
				t.Errorf("%v, %v", &m, err)
			}
			answers++
		}
	}
	asksMeanwhile(t, server)
}

// TestFloodOfThousands: who asks and asks, and waits for nothing, holds as many goroutines and sockets as one client may.
func TestFloodOfThousands(t *testing.T) {
	server := serve(t, &Server{Lookup: lookup, Clients: loopback, Resolv: config(upstreamSilent(t))})
	packet, err := question("silent.example.org.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp4", server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	files := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	goroutines, open := runtime.NumGoroutine(), files()
	for range 5000 {
		if _, err := c.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	most := 0
	settles := func(what string, enough func(n, f int) bool) {
		t.Helper()
		var n, f int
		for range 6000 {
			n, f = runtime.NumGoroutine()-goroutines, files()-open
			if most = max(most, f); enough(n, f) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%s: there are %d goroutines and %d descriptors more; a client may have %d questions", what, n, f, maxQuestionsEach)
	}
	settles("it is not asked", func(_, f int) bool { return f >= 10 })
	asksMeanwhile(t, server)
	settles("too much", func(n, _ int) bool { return n <= 2*maxQuestionsEach+10 }) // each that is turned away has one for a moment
	if most > maxQuestionsEach+5 {
		t.Errorf("there were %d descriptors more; a client may have %d questions", most, maxQuestionsEach)
	}
}

// asksMeanwhile asks as another client, as often as one does whose datagrams get lost: the server's socket is full of somebody else's.
func asksMeanwhile(t *testing.T, server string) {
	t.Helper()
	var r *dns.Msg
	var err error
	for range 60 {
		other := dns.Client{Timeout: time.Second, Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}}}
		if r, _, err = other.Exchange(question("web.default.", dns.TypeA), server); err == nil && len(r.Answer) == 1 {
			return
		}
	}
	t.Errorf("another client meanwhile: %v, %v", r, err)
}

// upstreamSilent takes questions, and keeps them.
func upstreamSilent(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

// TestConnections: one client does not get all the TCP connections, and a silent one is ended.
func TestConnections(t *testing.T) {
	const silence = 2 * time.Second // how long the library waits for the first question
	server := serve(t, &Server{Lookup: lookup, Clients: loopback})
	for range 20 {
		began := time.Now()
		for range 2 * maxConnectionsEach {
			c, err := net.Dial("tcp4", server)
			if err != nil {
				continue // reset already
			}
			defer c.Close() //nolint:gocritic // one round, as a rule
		}
		other := dns.Client{Net: "tcp", Timeout: time.Minute, Dialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}}
		if r, _, err := other.Exchange(question("web.default.", dns.TypeA), server); err != nil || len(r.Answer) != 1 {
			t.Errorf("another client meanwhile: %v, %v", r, err)
		}
		mine := dns.Client{Net: "tcp", Timeout: time.Minute}
		r, _, err := mine.Exchange(question("web.default.", dns.TypeA), server)
		if err != nil {
			return
		}
		if time.Since(began) < silence { // else some of them had been ended
			t.Errorf("the client with too many: %v", r)
		}
	}
	t.Error("the client with too many is served each time")
}

// TestGoResolver has the standard library ask, with its own ideas of EDNS and retries.
func TestGoResolver(t *testing.T) {
	server := serve(t, &Server{Lookup: lookup, Reverse: reverseLookup, Clients: loopback, Resolv: config(upstream(t, nil))})
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
	if got, err := r.LookupHost(t.Context(), "crowd.default."); err != nil || len(got) != 300 {
		t.Errorf("crowd.default: %d addresses, %v", len(got), err)
	}
	if got, err := r.LookupAddr(t.Context(), "127.8.0.7"); err != nil || len(got) != 1 || got[0] != "web.default.svc.cluster.local." {
		t.Errorf("127.8.0.7: %v, %v", got, err)
	}
	_, err := r.LookupHost(t.Context(), "nobody.default.svc.cluster.local.")
	if e, ok := err.(*net.DNSError); !ok || !e.IsNotFound { //nolint:errorlint // the resolver's own type, unwrapped
		t.Errorf("nobody: %v", err)
	}
}

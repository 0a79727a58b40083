package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"codeberg.org/minipod/minipod/network/relay"
)

// Bounds of what is under way at once, in all and for each client.
const (
	maxQuestions, maxQuestionsEach     = 512, 128
	maxConnections, maxConnectionsEach = 128, 16
	maxTCPQuestions                    = 128 // of one connection
	tcpIdle                            = 8 * time.Second

	// ttl is how long an answer of ours may be remembered, in seconds: pods come and go.
	ttl = 5
	// maxUDP bounds datagrams: questions, of which no honest one is near it, and answers, if the client takes them.
	maxUDP = 4096
)

// A Server answers questions about pods, and passes others on.
type Server struct {
	// Lookup returns the addresses of name, lower case and without a final dot, as client sees it. Who exists but has no
	// address is found, with none. It must not wait.
	Lookup func(name string, client netip.Addr) (addrs []netip.Addr, found bool)
	// Reverse returns the names that addr has; the first is the one to show. May be nil.
	Reverse func(addr, client netip.Addr) (names []string, found bool)
	// Clients are the pods' subnets: who gets answers, and whose addresses are ours to name.
	Clients []netip.Prefix
	// Resolv returns the servers for all other names: HostResolv().Config. nil: there are none.
	Resolv func() Config
	// Log is told of what went wrong with the host's servers. May be nil.
	Log func(error)

	questions *relay.Limit
}

// Serve answers at both sockets until ctx ends, and closes them. It returns nil then, when nothing of it is left.
func (s *Server) Serve(ctx context.Context, udp *net.UDPConn, tcp *net.TCPListener) error {
	if s.Log == nil {
		s.Log = func(error) {}
	}
	s.questions = relay.NewLimit(maxQuestions, maxQuestionsEach)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) { s.answer(ctx, w, r) })
	servers := []*dns.Server{
		{PacketConn: udp, Handler: handler, UDPSize: maxUDP},
		{
			Listener: &limited{tcp, ctx, relay.NewLimit(maxConnections, maxConnectionsEach)}, Handler: handler,
			MaxTCPQueries: maxTCPQuestions, IdleTimeout: func() time.Duration { return tcpIdle },
		},
	}
	ended := make(chan error, len(servers))
	for _, server := range servers {
		go func() { ended <- run(ctx, server) }()
	}
	var err error
	for range servers {
		if failed := <-ended; failed != nil && ctx.Err() == nil {
			err = fmt.Errorf("serve DNS on %s: %w", udp.LocalAddr(), failed)
		}
		cancel() // a client may need either
	}
	return err
}

// run runs a server of the library, which can be shut down only while it runs.
func run(ctx context.Context, server *dns.Server) error {
	started, ended := make(chan struct{}), make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	defer close(ended)
	defer context.AfterFunc(ctx, func() {
		select {
		case <-started:
			_ = server.Shutdown()
		case <-ended:
		}
	})()
	return server.ActivateAndServe()
}

// answer answers one question. The library has seen to it that there is exactly one, and that it is no answer itself.
func (s *Server) answer(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) {
	client := clientOf(w.RemoteAddr())
	tcp := w.RemoteAddr().Network() == "tcp"
	m := s.reply(ctx, client, r, tcp)
	size := dns.MaxMsgSize
	if !tcp {
		size = dns.MinMsgSize
		if opt := r.IsEdns0(); opt != nil {
			size = min(max(int(opt.UDPSize()), dns.MinMsgSize), maxUDP)
		}
	}
	if opt := r.IsEdns0(); opt != nil && m.IsEdns0() == nil {
		m.SetEdns0(maxUDP, false)
	}
	m.Compress = true
	m.Truncate(size)
	// A client that is gone already needs no answer.
	_ = w.WriteMsg(m)
}

func clientOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (s *Server) reply(ctx context.Context, client netip.Addr, r *dns.Msg, tcp bool) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.RecursionAvailable = s.Resolv != nil
	q := r.Question[0]
	switch {
	case !s.ours(client):
		m.Rcode = dns.RcodeRefused
		return m
	case r.Opcode != dns.OpcodeQuery:
		m.Rcode = dns.RcodeNotImplemented
		return m
	case q.Qclass != dns.ClassINET, q.Qtype == dns.TypeAXFR, q.Qtype == dns.TypeIXFR, r.IsTsig() != nil:
		m.Rcode = dns.RcodeRefused // no zone transfer, no version.bind, and a signature would not survive us
		return m
	}
	if !s.questions.Take(client) {
		m.Rcode = dns.RcodeServerFailure
		return m
	}
	defer s.questions.Give(client)
	if s.local(m, q, client) {
		return m
	}
	if !r.RecursionDesired || s.Resolv == nil {
		m.Rcode = dns.RcodeRefused
		return m
	}
	answer, err := s.forward(ctx, r, tcp)
	if err != nil {
		s.Log(fmt.Errorf("ask the host's name servers for %s: %w", q.Name, err))
		m.Rcode = dns.RcodeServerFailure
		return m
	}
	return answer
}

func (s *Server) ours(a netip.Addr) bool {
	return slices.ContainsFunc(s.Clients, func(p netip.Prefix) bool { return p.Contains(a) })
}

// local answers what only we know, and reports false for anything else.
func (s *Server) local(m *dns.Msg, q dns.Question, client netip.Addr) bool {
	name := strings.ToLower(strings.TrimSuffix(q.Name, "."))
	if addr, ok := reverse(name); ok {
		return s.localReverse(m, q, addr, client)
	}
	addrs, found := s.Lookup(name, client)
	switch {
	case found:
	case below(name, "localhost"): // RFC 6761, 6.3: never asked of others
		addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	case name == Zone, name == "svc."+Zone, name == "pod."+Zone: // exist, as what is below them does
	case below(name, Zone):
		m.Rcode = dns.RcodeNameError
	default:
		return false
	}
	m.Authoritative = true
	for _, a := range addrs {
		header := dns.RR_Header{Name: q.Name, Class: dns.ClassINET, Ttl: ttl}
		switch {
		case a.Is4() && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeANY):
			header.Rrtype = dns.TypeA
			m.Answer = append(m.Answer, &dns.A{Hdr: header, A: a.AsSlice()})
		case a.Is6() && (q.Qtype == dns.TypeAAAA || q.Qtype == dns.TypeANY):
			header.Rrtype = dns.TypeAAAA
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: header, AAAA: a.AsSlice()})
		}
	}
	negative(m, Zone)
	return true
}

func (s *Server) localReverse(m *dns.Msg, q dns.Question, addr, client netip.Addr) bool {
	var names []string
	found := false
	if s.Reverse != nil {
		names, found = s.Reverse(addr, client)
	}
	if !found && !s.ours(addr) {
		return false
	}
	m.Authoritative = true
	if !found {
		m.Rcode = dns.RcodeNameError
	}
	if q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY {
		for _, n := range names {
			header := dns.RR_Header{Name: q.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}
			m.Answer = append(m.Answer, &dns.PTR{Hdr: header, Ptr: dns.Fqdn(n)})
		}
	}
	negative(m, q.Name)
	return true
}

// negative gives an answer without records the SOA that says for how long that may be remembered (RFC 2308, section 5):
// some resolvers ask again and again without it.
func negative(m *dns.Msg, zone string) {
	if len(m.Answer) > 0 {
		return
	}
	m.Ns = []dns.RR{&dns.SOA{
		Hdr: dns.RR_Header{Name: dns.Fqdn(zone), Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  "ns.dns." + Zone + ".", Mbox: "hostmaster." + Zone + ".", Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: ttl,
	}}
}

// limited bounds the TCP connections of each client: each holds a descriptor.
type limited struct {
	*net.TCPListener
	ctx   context.Context
	limit *relay.Limit
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := relay.Accept(l.ctx, l.TCPListener)
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, net.ErrClosed
		}
		client := clientOf(c.RemoteAddr())
		if !l.limit.Take(client) {
			relay.Reset(c)
			continue
		}
		return &counted{Conn: c, give: func() { l.limit.Give(client) }}, nil
	}
}

type counted struct {
	net.Conn
	once sync.Once
	give func()
}

func (c *counted) Close() error {
	c.once.Do(c.give)
	return c.Conn.Close()
}

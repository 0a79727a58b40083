package dns

import (
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"codeberg.org/minipod/minipod/network/relay"
)

// A writer is where an answer goes, and remembers it.
type writer struct {
	dns.ResponseWriter
	from   net.Addr
	answer *dns.Msg
}

func (w *writer) RemoteAddr() net.Addr      { return w.from }
func (w *writer) WriteMsg(m *dns.Msg) error { w.answer = m; return nil }

// FuzzQuestion answers whatever a pod sends: once, about what was asked, in what fits.
func FuzzQuestion(f *testing.F) {
	add := func(m *dns.Msg) {
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, false)
		f.Add(packed, true)
	}
	add(question("web.default.", dns.TypeA))
	add(question("crowd.default.", dns.TypeANY))
	add(question("7.0.8.127.in-addr.arpa.", dns.TypePTR))
	edns := question("nobody.svc.cluster.local.", dns.TypeAAAA)
	edns.SetEdns0(1, true)
	add(edns)
	s := &Server{Lookup: lookup, Reverse: reverseLookup, Clients: loopback, questions: relay.NewLimit(1, 1), Log: func(error) {}}
	local := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:5353"))
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		r := new(dns.Msg)
		if r.Unpack(packet) != nil || r.Response || len(r.Question) != 1 {
			return // the library does not hand us these
		}
		w := &writer{from: local}
		if tcp {
			w.from = &net.TCPAddr{IP: local.IP, Port: local.Port}
		}
		s.answer(t.Context(), w, r)
		if w.answer == nil || !w.answer.Response || w.answer.Id != r.Id || w.answer.Question[0] != r.Question[0] {
			t.Fatalf("%v is answered by %v", r, w.answer)
		}
		packed, err := w.answer.Pack()
		if err != nil {
			t.Fatalf("%v: %v", w.answer, err)
		}
		if !tcp && len(packed) > maxUDP {
			t.Errorf("%d bytes", len(packed))
		}
	})
}

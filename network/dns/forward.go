package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// total is how long a client waits for us at most, and try how long we wait for one server: glibc's clients ask again after
// 5 s and give up after two tries, and until then the next server must have had its turn.
const (
	total = 8 * time.Second
	try   = 2 * time.Second
)

var errMismatch = errors.New("the answer is for another question")

// forward asks the host's servers, one after the other, over the transport that the client chose: so an answer that is too
// long for it is truncated there, and the client comes again over TCP.
func (s *Server) forward(ctx context.Context, r *dns.Msg, tcp bool) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, total)
	defer cancel()
	config := s.Resolv()
	client := dns.Client{Net: "udp", Timeout: min(config.Timeout, try), UDPSize: dns.MaxMsgSize}
	if tcp {
		client.Net = "tcp"
	}
	question := r.Copy()
	question.Id = dns.Id() // the client's would make it easier to guess
	var failed error
	var last *dns.Msg
	for range config.Attempts {
		for _, server := range config.Servers {
			answer, err := ask(ctx, &client, question, server)
			if ctx.Err() != nil && err != nil {
				return last, errors.Join(failed, err)
			}
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			answer.Id = r.Id
			last = answer
			// A server that can't or won't may not know better than the next one.
			switch answer.Rcode {
			case dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented:
				failed = nil
				continue
			}
			return answer, nil
		}
		if last != nil {
			return last, nil
		}
	}
	if failed == nil {
		failed = errors.New("there are none")
	}
	return nil, failed
}

func ask(ctx context.Context, client *dns.Client, question *dns.Msg, server netip.AddrPort) (*dns.Msg, error) {
	conn, err := client.DialContext(ctx, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // the library looks at ctx for its deadline alone
	answer, _, err := client.ExchangeWithConnContext(ctx, question, conn)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", server, err)
	}
	if !answer.Response || len(answer.Question) != 1 || answer.Question[0].Qtype != question.Question[0].Qtype ||
		answer.Question[0].Qclass != question.Question[0].Qclass || !strings.EqualFold(answer.Question[0].Name, question.Question[0].Name) {
		return nil, fmt.Errorf("ask %s: %w", server, errMismatch)
	}
	// A signature is for us, who have no key; and such an answer would not be truncated.
	answer.Extra = slices.DeleteFunc(answer.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeTSIG })
	return answer, nil
}

package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/node"
)

// find returns who is attached by that ID. Its namespace is a copy, which the caller closes: it may be released meanwhile.
func (d *daemon) find(id string) (*attached, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attached[id]
	if a == nil || !a.there {
		return nil, hint.Wrap(fmt.Errorf("%s has no place in the pods' network", id), "see who has: minipod network inspect")
	}
	ns, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", a.ns.Fd()))
	if err != nil {
		return nil, err
	}
	return &attached{Attached: a.Attached, address: a.address, ns: ns}, nil
}

// A dialer connects.
type dialer func(ctx context.Context, protocol, address string) (net.Conn, error)

// inside returns how to connect from inside the network namespace of a sandbox, to its own address where there is no other.
func (a *attached) inside(ctx context.Context, protocol, address string) (net.Conn, error) {
	host, number, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return nil, err
	}
	var to netip.Addr
	switch host {
	case "localhost":
		to = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default: // names would be looked up on the host
		if to, err = netip.ParseAddr(host); err != nil {
			return nil, fmt.Errorf("connect to %s: only addresses and localhost can be reached from inside: %w", host, err)
		}
	}
	return a.dial(ctx, protocol, netip.AddrPortFrom(to, uint16(port)))
}

// dialFile is Node.Dial.
func (d *daemon) dialFile(id, protocol, address string) (*os.File, error) {
	if protocol != "tcp" && protocol != "udp" {
		return nil, fmt.Errorf("connect by %q: there is tcp and udp", protocol)
	}
	a, err := d.find(id)
	if err != nil {
		return nil, err
	}
	defer a.ns.Close()
	if host, _, err := net.SplitHostPort(address); err == nil && host == "" {
		address = "localhost" + address
	}
	ctx, cancel := context.WithTimeout(d.ctx, dialTimeout)
	defer cancel()
	conn, err := a.inside(ctx, protocol, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	file, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, errors.New("the connection has no descriptor")
	}
	return file.File()
}

// probe asks.
func (d *daemon) probe(p *node.Probe) node.Result {
	connect := dialer((&net.Dialer{}).DialContext)
	host := p.Host
	if p.ID != "" {
		a, err := d.find(p.ID)
		if err != nil {
			return node.Result{Message: err.Error()}
		}
		defer a.ns.Close()
		connect = a.inside
		if host == "" {
			host = a.Lease.IP
		}
	}
	if host == "" {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(d.ctx, p.Timeout)
	defer cancel()
	address := net.JoinHostPort(host, strconv.Itoa(int(p.Port)))
	switch {
	case p.HTTP != nil:
		return probeHTTP(ctx, connect, address, p.HTTP)
	case p.GRPC != nil:
		return probeGRPC(ctx, connect, address, *p.GRPC)
	}
	conn, err := connect(ctx, "tcp", address)
	if err != nil {
		return node.Result{Message: err.Error()}
	}
	conn.Close()
	return node.Result{OK: true}
}

// probeHTTP asks as the kubelet does: with its user agent, whatever the certificate, following redirects to the same host only.
func probeHTTP(ctx context.Context, connect dialer, address string, get *node.HTTPGet) node.Result {
	scheme := "http"
	if get.Scheme == "https" || get.Scheme == "HTTPS" {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path(get.Path), http.NoBody)
	if err != nil {
		return node.Result{Message: err.Error()}
	}
	request.Header.Set("User-Agent", "kube-probe/minipod")
	request.Header.Set("Accept", "*/*")
	for _, h := range get.Headers {
		if http.CanonicalHeaderKey(h[0]) == "Host" {
			request.Host = h[1]
			continue
		}
		request.Header.Add(h[0], h[1])
	}
	transport := &http.Transport{
		DialContext: connect, DisableKeepAlives: true, DisableCompression: true, Proxy: nil,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the question is whether it answers, not who it is
	}
	const redirects = 10
	client := &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if next.URL.Hostname() != via[0].URL.Hostname() || len(via) >= redirects {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	response, err := client.Do(request)
	if err != nil {
		return node.Result{Message: err.Error()}
	}
	defer response.Body.Close()
	const most = 10 << 10 // of a body that never ends
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, most)); err != nil {
		return node.Result{Message: err.Error()}
	}
	if response.StatusCode >= http.StatusOK && response.StatusCode < http.StatusBadRequest {
		return node.Result{OK: true}
	}
	return node.Result{Message: fmt.Sprintf("HTTP probe failed with statuscode: %d", response.StatusCode)}
}

func path(p string) string {
	if len(p) == 0 || p[0] != '/' {
		return "/" + p
	}
	return p
}

// probeGRPC asks grpc.health.v1.Health, by hand: the question and its answer are two fields.
func probeGRPC(ctx context.Context, connect dialer, address, service string) node.Result {
	var question []byte
	if service != "" { // field 1, a string
		question = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service))), service...)
	}
	body := append([]byte{0, 0, 0, 0, 0}, question...) // not compressed, and its length
	binary.BigEndian.PutUint32(body[1:5], uint32(len(question)))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/grpc.health.v1.Health/Check", bytes.NewReader(body))
	if err != nil {
		return node.Result{Message: err.Error()}
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	request.Header.Set("User-Agent", "kube-probe/minipod")
	transport := &http.Transport{DialContext: connect, Proxy: nil, Protocols: &http.Protocols{}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return node.Result{Message: "error: health rpc failed: " + err.Error()}
	}
	defer response.Body.Close()
	const most = 4 << 10
	answer, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return node.Result{Message: "error: health rpc failed: " + err.Error()}
	}
	code := response.Trailer.Get("Grpc-Status")
	if code == "" { // an answer of trailers only
		code = response.Header.Get("Grpc-Status")
	}
	const unimplemented = "12"
	switch {
	case code == unimplemented:
		return node.Result{Message: "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"}
	case code != "0" || response.StatusCode != http.StatusOK:
		return node.Result{Message: fmt.Sprintf("error: health rpc failed: HTTP status %d, gRPC status %s", response.StatusCode, code)}
	case !serving(answer):
		return node.Result{Message: fmt.Sprintf("service unhealthy (responded with %q)", status(answer))}
	}
	return node.Result{OK: true}
}

func serving(answer []byte) bool { return status(answer) == "SERVING" }

// status reads a HealthCheckResponse: field 1, a number.
func status(answer []byte) string {
	const prefix = 5
	names := []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}
	if len(answer) < prefix+2 || answer[prefix] != 1<<3 {
		return names[0]
	}
	if n, _ := binary.Uvarint(answer[prefix+1:]); n < uint64(len(names)) {
		return names[n]
	}
	return names[0]
}

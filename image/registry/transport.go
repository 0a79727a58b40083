package registry

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	connectTimeout = 12 * time.Second // one place; long enough for a slow link, short enough to wait for with a mirror next
	headerTimeout  = 30 * time.Second // from the request to the first byte of its answer; there is no timeout for the whole of it
	bodyBlock      = 256 << 10
)

// transports are the connection pools that all places of a Repository share: one that verifies and one that doesn't.
type transports struct{ verified, insecure *guard }

func (t transports) close() {
	t.verified.inner.CloseIdleConnections()
	t.insecure.inner.CloseIdleConnections()
}

func newTransports(dial Dial) transports {
	return transports{
		verified: &guard{inner: newTransport(dial, nil)},
		insecure: &guard{inner: newTransport(dial, &tls.Config{InsecureSkipVerify: true}), plain: true}, // the user's own word, or loopback
	}
}

func newTransport(dial Dial, tlsConfig *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment, // HTTP_PROXY, HTTPS_PROXY, NO_PROXY; never for loopback
		DialContext:            dial,
		TLSHandshakeTimeout:    connectTimeout,
		TLSClientConfig:        tlsConfig,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: 256 << 10,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // a digest is of the bytes as stored
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
		ReadBufferSize:         bodyBlock, // the default, 4 KiB, costs a system call for each
	}
}

// A guard refuses what must not be asked for, whoever wants it: go-containerregistry tries plain HTTP on private
// addresses of its own accord, and any registry may redirect to http.
type guard struct {
	inner *http.Transport
	plain bool
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "http" && !g.plain {
		return nil, fmt.Errorf("%s: %w", req.URL.Host, errPlainHTTP)
	}
	return g.inner.RoundTrip(req)
}

// isLoopback reports whether host, with or without a port, is this machine. Names other than localhost are not
// looked up: what DNS answers now it may not answer later.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (ip != nil && ip.IsLoopback())
}

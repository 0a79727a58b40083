package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/node"
)

func plain(ctx context.Context, protocol, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, protocol, address)
}

func TestProbeHTTP(t *testing.T) {
	handler := http.NewServeMux()
	handler.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "shop.example" || r.Header.Get("X-Who") != "me" || !strings.HasPrefix(r.UserAgent(), "kube-probe/") {
			http.Error(w, "who?", http.StatusBadRequest)
		}
	})
	handler.HandleFunc("/fails", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	handler.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/fails", http.StatusFound) })
	handler.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
	})
	handler.HandleFunc("/for-ever", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("x", 4096)); err != nil {
				return
			}
		}
	})
	handler.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for scheme, server := range map[string]*httptest.Server{"http": httptest.NewServer(handler), "HTTPS": httptest.NewTLSServer(handler)} {
		t.Cleanup(server.Close)
		for path, want := range map[string]struct {
			ok      bool
			message string
		}{
			"/ok":        {true, ""},
			"ok":         {true, ""},
			"/fails":     {false, "HTTP probe failed with statuscode: 503"},
			"/moved":     {false, "HTTP probe failed with statuscode: 503"},
			"/elsewhere": {true, ""}, // as the kubelet: a redirect to another host is an answer
			"/for-ever":  {true, ""},
			"/none":      {false, "HTTP probe failed with statuscode: 404"},
			"/hangs":     {false, "context deadline exceeded"},
			"/%zz":       {false, "invalid URL escape"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), map[bool]time.Duration{true: 200 * time.Millisecond, false: time.Minute}[path == "/hangs"])
			get := &node.HTTPGet{Scheme: scheme, Path: path, Headers: [][2]string{{"Host", "shop.example"}, {"X-Who", "me"}}}
			got := probeHTTP(ctx, plain, server.Listener.Addr().String(), get)
			cancel()
			if got.OK != want.ok || !strings.Contains(got.Message, want.message) {
				t.Errorf("%s %s: %+v, want %+v", scheme, path, got, want)
			}
		}
	}
}

// healthServer is a gRPC server of which nothing is gRPC's own library.
func healthServer(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		if r.URL.Path != "/grpc.health.v1.Health/Check" || r.ProtoMajor != 2 || r.Header.Get("Content-Type") != "application/grpc" {
			w.Header().Set("Grpc-Status", "12")
			return
		}
		switch string(body) {
		case "\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x04\x0a\x02db": // all of it, and the service db
			_, _ = w.Write([]byte{0, 0, 0, 0, 2, 1 << 3, 1})
		case "\x00\x00\x00\x00\x05\x0a\x03bad":
			_, _ = w.Write([]byte{0, 0, 0, 0, 2, 1 << 3, 2})
		case "\x00\x00\x00\x00\x06\x0a\x04none":
			w.Header().Set("Grpc-Status", "5")
			return
		default:
			w.Header().Set("Grpc-Status", "12")
			return
		}
		w.Header().Set("Grpc-Status", "0")
	}))
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestProbeGRPC(t *testing.T) {
	address := healthServer(t)
	for service, want := range map[string]struct {
		ok      bool
		message string
	}{
		"":      {true, ""},
		"db":    {true, ""},
		"bad":   {false, `service unhealthy (responded with "NOT_SERVING")`},
		"none":  {false, "gRPC status 5"},
		"other": {false, "does not implement the grpc health protocol"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		got := probeGRPC(ctx, plain, address, service)
		cancel()
		if got.OK != want.ok || !strings.Contains(got.Message, want.message) {
			t.Errorf("service %q: %+v, want %+v", service, got, want)
		}
	}
}

// Without an ID a probe is asked from the host. Nobody there, or nobody who answers, is a failure and no error.
func TestProbeFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	d := &daemon{ctx: t.Context(), attached: map[string]*attached{}}
	if got := d.probe(&node.Probe{Host: "127.0.0.1", Port: port, Timeout: time.Minute}); !got.OK {
		t.Errorf("a listener: %+v", got)
	}
	silent := &node.Probe{Host: "127.0.0.1", Port: port, HTTP: &node.HTTPGet{Path: "/"}, Timeout: 100 * time.Millisecond}
	if got := d.probe(silent); got.OK || got.Message == "" {
		t.Errorf("a server that says nothing: %+v", got)
	}
	l.Close()
	if got := d.probe(&node.Probe{Host: "127.0.0.1", Port: port, Timeout: time.Minute}); got.OK || !strings.Contains(got.Message, "refused") {
		t.Errorf("nobody: %+v", got)
	}
	if got := d.probe(&node.Probe{ID: "nobody", Port: port, Timeout: time.Minute}); got.OK || !strings.Contains(got.Message, "no place in the pods' network") {
		t.Errorf("a pod that is not there: %+v", got)
	}
}

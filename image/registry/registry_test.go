package registry_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/image/registry"
	"codeberg.org/minipod/minipod/image/registry/registrytest"
	"codeberg.org/minipod/minipod/internal/hint"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestMain keeps a proxy of the environment out: net/http asks it for each host but loopback.
func TestMain(m *testing.M) {
	os.Setenv("NO_PROXY", "*")
	m.Run()
}

func open(t *testing.T, host, repository string, c *config.Config, env map[string]string) *registry.Repository {
	t.Helper()
	r, err := registry.Open(host, repository, registry.Options{
		Config:  c,
		Getenv:  func(k string) string { return env[k] },
		Retries: registry.Retries{Attempts: 3, First: time.Millisecond, Longest: time.Second, Stall: 200 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func push(t *testing.T, r *registrytest.Server) ocispec.Descriptor {
	return r.Push("team/app", "v1", ocispec.Platform{OS: "linux", Architecture: "amd64"}, registrytest.Tar(t, map[string][]byte{"a": []byte("a")}))
}

// wantToken protects s as Docker Hub does: a token for who asks anonymously if anonymous, for user:secret always.
func wantToken(s *registrytest.Server, anonymous bool) {
	secret := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:secret"))
	s.Break(func(w http.ResponseWriter, r *http.Request) bool {
		switch given := r.Header.Get("Authorization"); {
		case r.URL.Path == "/token":
			if given == secret || given == "" && anonymous && r.URL.Query().Get("scope") == "repository:team/app:pull" {
				fmt.Fprint(w, `{"token": "opensesame"}`)
			} else {
				http.Error(w, `{"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]}`, http.StatusUnauthorized)
			}
		case given != "Bearer opensesame":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, s.Host))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			return false
		}
		return true
	})
}

func TestTokens(t *testing.T) {
	s := registrytest.New(t)
	desc := push(t, s)
	wantToken(s, true)
	m, err := open(t, s.Host, "team/app", nil, nil).Manifest(t.Context(), "v1")
	if err != nil || m.Desc.Digest != desc.Digest {
		t.Fatalf("anonymous: %v, %v", m, err)
	}
	wantToken(s, false)
	_, err = open(t, s.Host, "team/app", nil, nil).Manifest(t.Context(), "v1")
	if !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), "wants a login") || !strings.Contains(hint.Of(err), "podman login "+s.Host) {
		t.Errorf("without credentials: %v (%s)", err, hint.Of(err))
	}

	dir := t.TempDir()
	login := func(file, key, auth string) {
		name := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf(`{"auths": {"other.example": {"auth": "eDp5"}, %q: {"auth": %q}}}`, key, base64.StdEncoding.EncodeToString([]byte(auth)))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(name) })
	}
	for _, test := range []struct {
		name, file, key string
		env             map[string]string
	}{
		{"docker", "home/.docker/config.json", s.Host, map[string]string{"HOME": dir + "/home"}},
		{"$DOCKER_CONFIG", "docker/config.json", "http://" + s.Host + "/v1/", map[string]string{"DOCKER_CONFIG": dir + "/docker"}},
		{"podman", "run/containers/auth.json", s.Host, map[string]string{"XDG_RUNTIME_DIR": dir + "/run"}},
		{"podman, by namespace", "home2/.config/containers/auth.json", s.Host + "/team", map[string]string{"HOME": dir + "/home2"}},
		{"$REGISTRY_AUTH_FILE", "mine.json", s.Host + "/team/app", map[string]string{"REGISTRY_AUTH_FILE": dir + "/mine.json"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			login(test.file, test.key, "user:secret")
			if _, err := open(t, s.Host, "team/app", nil, test.env).Manifest(t.Context(), "v1"); err != nil {
				t.Error(err)
			}
			login(test.file, test.key, "user:wrong")
			_, err := open(t, s.Host, "team/app", nil, test.env).Manifest(t.Context(), "v1")
			if !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), filepath.Join(dir, test.file)) || !strings.Contains(err.Error(), "incorrect username") {
				t.Errorf("wrong password: %v", err)
			}
		})
	}
	t.Run("another's namespace", func(t *testing.T) {
		login("mine.json", s.Host+"/other", "user:secret")
		_, err := open(t, s.Host, "team/app", nil, map[string]string{"REGISTRY_AUTH_FILE": dir + "/mine.json"}).Manifest(t.Context(), "v1")
		if !errors.Is(err, registry.ErrDenied) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a helper", func(t *testing.T) {
		bin := filepath.Join(dir, "bin")
		os.MkdirAll(bin, 0o700)
		script := "#!/bin/sh\n" + `read host; printf '{"ServerURL": "%s", "Username": "user", "Secret": "secret"}' "$host"` + "\n"
		if err := os.WriteFile(filepath.Join(bin, "docker-credential-minipodtest"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "helper.json")
		env := map[string]string{"REGISTRY_AUTH_FILE": file}
		os.WriteFile(file, fmt.Appendf(nil, `{"credHelpers": {%q: "minipodtest"}}`, s.Host), 0o600)
		if _, err := open(t, s.Host, "team/app", nil, env).Manifest(t.Context(), "v1"); !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), file) {
			t.Errorf("helper is missing: %v", err)
		}
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		if _, err := open(t, s.Host, "team/app", nil, env).Manifest(t.Context(), "v1"); err != nil {
			t.Error(err)
		}
	})
	t.Run("a broken file", func(t *testing.T) {
		os.WriteFile(filepath.Join(dir, "mine.json"), []byte("{"), 0o600)
		_, err := open(t, s.Host, "team/app", nil, map[string]string{"REGISTRY_AUTH_FILE": dir + "/mine.json"}).Manifest(t.Context(), "v1")
		if !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), dir+"/mine.json") {
			t.Errorf("got %v", err)
		}
	})
}

// Credentials for a registry must not reach the host that it redirects to.
func TestRedirectKeepsCredentials(t *testing.T) {
	var seen []string
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		fmt.Fprint(w, "blob")
	}))
	defer storage.Close()
	s := registrytest.New(t)
	d := s.PutBlob("team/app", "", []byte("blob"))
	s.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if registrytest.IsBlob(r, "") {
			// localhost and 127.0.0.1 are two hosts to an HTTP client.
			http.Redirect(w, r, strings.Replace(storage.URL, "127.0.0.1", "localhost", 1), http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	file := filepath.Join(t.TempDir(), "auth.json")
	os.WriteFile(file, fmt.Appendf(nil, `{"auths": {%q: {"auth": "dXNlcjpzZWNyZXQ="}}}`, s.Host), 0o600)
	body := open(t, s.Host, "team/app", nil, map[string]string{"REGISTRY_AUTH_FILE": file}).Blob(t.Context(), d, 0, nil)
	defer body.Close()
	if data, err := io.ReadAll(body); err != nil || string(data) != "blob" {
		t.Fatalf("%q, %v", data, err)
	}
	if len(seen) != 1 || seen[0] != "" {
		t.Errorf("the storage saw the credentials %q", seen)
	}
}

func TestTLS(t *testing.T) {
	s := registrytest.New(t)
	push(t, s)
	secure := httptest.NewTLSServer(s)
	defer secure.Close()
	host := strings.TrimPrefix(secure.URL, "https://")
	if _, err := open(t, host, "team/app", nil, nil).Manifest(t.Context(), "v1"); err != nil {
		t.Errorf("loopback with a certificate that nobody knows: %v", err)
	}
}

// Elsewhere than on loopback, plain HTTP wants the user's word. "Elsewhere" is what the addresses say: the connections
// lead to loopback. go-containerregistry itself would speak plain HTTP with the private one.
func TestInsecure(t *testing.T) {
	for _, host := range []string{"10.1.2.3:5000", "registry.example:5000"} {
		t.Run(host, func(t *testing.T) { testInsecure(t, host) })
	}
}

func testInsecure(t *testing.T, host string) {
	s := registrytest.New(t)
	push(t, s)
	s.Requests()
	manifest := func(registryHost, repository string, c *config.Config) error {
		r, err := registry.Open(registryHost, repository, registry.Options{
			Config: c,
			Getenv: func(string) string { return "" },
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if address != host {
					t.Errorf("connects to %s", address)
				}
				return (&net.Dialer{}).DialContext(ctx, network, s.Host)
			},
			Retries: registry.Retries{Attempts: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_, err = r.Manifest(t.Context(), "v1")
		return err
	}
	err := manifest(host, "team/app", nil)
	if !errors.Is(err, registry.ErrUnreachable) || !strings.Contains(hint.Of(err), `{"registries": {"`+host+`": {"insecure": true}}}`) {
		t.Errorf("got %v (%s)", err, hint.Of(err))
	}
	if asked := s.Requests(); len(asked) != 0 {
		t.Errorf("sent in the clear: %q", asked)
	}
	c := config.Default()
	c.Registries[host] = config.Registry{Insecure: true}
	if err := manifest(host, "team/app", c); err != nil {
		t.Errorf("insecure: %v", err)
	}
	c = config.Default()
	c.Registries["docker.example"] = config.Registry{Mirrors: []string{"http://" + host + "/team"}}
	if err := manifest("docker.example", "app", c); err != nil {
		t.Errorf("a mirror by http://: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
	listener.Close()
	_, err = open(t, host, "team/app", nil, nil).Manifest(t.Context(), "v1")
	if !errors.Is(err, registry.ErrUnreachable) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
	if advice := hint.Of(err); !strings.Contains(advice, "config.json") || !strings.Contains(advice, `{"registries": {"`+host+`": {"mirrors": [`) {
		t.Errorf("advice %q", advice)
	}
}

func TestBlobStalls(t *testing.T) {
	s := registrytest.New(t)
	data := []byte(strings.Repeat("0123456789", 1000))
	d := s.PutBlob("team/app", "", data)
	stalls := 0
	s.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if stalls++; !registrytest.IsBlob(r, "") || stalls > 3 {
			return false
		}
		w.Header().Set("Content-Length", "10000")
		w.Write(data[:4000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	var reported []error
	body := open(t, s.Host, "team/app", nil, nil).Blob(t.Context(), d, 0, func(err error, _ time.Duration) { reported = append(reported, err) })
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil || string(got) != string(data) || len(reported) == 0 {
		t.Errorf("%d bytes, %v, reported %v", len(got), err, reported)
	}
}

// A place that refuses ranges with 416 is asked for the whole blob, once for each try.
func TestBlobRangeRefused(t *testing.T) {
	s := registrytest.New(t)
	data := []byte(strings.Repeat("0123456789", 1000))
	d := s.PutBlob("team/app", "", data)
	s.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if !registrytest.IsBlob(r, "") || r.Header.Get("Range") == "" {
			return false
		}
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return true
	})
	body := open(t, s.Host, "team/app", nil, nil).Blob(t.Context(), d, 4000, nil)
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || string(got) != string(data[4000:]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	s.Requests()
	s.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if registrytest.IsBlob(r, "") {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}
		return registrytest.IsBlob(r, "")
	})
	body = open(t, s.Host, "team/app", nil, nil).Blob(t.Context(), d, 4000, nil)
	defer body.Close()
	if _, err := io.ReadAll(body); !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("refused without a range, too: %v", err)
	}
	if asked := s.Requests(); len(asked) != 3 { // /v2/, the range, the whole
		t.Errorf("asked for %q", asked)
	}
}

func TestCancel(t *testing.T) {
	s := registrytest.New(t)
	s.Break(func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := open(t, s.Host, "team/app", nil, nil).Manifest(ctx, "v1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// A registry's words end up on a terminal.
func TestErrorTextIsPrintable(t *testing.T) {
	s := registrytest.New(t)
	s.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/" {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors": [{"code": "X", "message": "\u001b[2J\u0007gone\nhint: run rm -rf"}]}`)
		return true
	})
	_, err := open(t, s.Host, "team/app", nil, nil).Manifest(t.Context(), "v1")
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\a\n") {
		t.Errorf("got %q", err)
	}
}

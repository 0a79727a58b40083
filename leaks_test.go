package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A machine is a home for minipod and the means to run it there. Its containers have no network, unless a test asks for it: the processes that
// look after that one come and go, and the tests here count processes. Those in network_test.go count these, too.
type machine struct {
	t    *testing.T
	home string
	env  []string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	m := &machine{t, home, append(os.Environ(), environment(home)...)}
	if err := os.MkdirAll(filepath.Dir(m.config()), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.config(), []byte(`{"network": {"default": "none"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeAll(home); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *machine) config() string { return filepath.Join(m.home, ".config/minipod/config.json") }

func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command("minipod", args...)
	cmd.Env = m.env
	return cmd
}

// run runs minipod and returns its exit status and what it wrote.
func (m *machine) run(args ...string) (status int, stdout, stderr string) {
	m.t.Helper()
	return finish(m.t, m.command(args...))
}

func finish(t *testing.T, cmd *exec.Cmd) (status int, stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &err
	cmd.WaitDelay = 5 * time.Second // a leaked child would hold our pipe for ever
	failure := cmd.Run()
	var ended *exec.ExitError
	if failure != nil && !errors.As(failure, &ended) {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), failure, err.String())
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// must runs minipod, which has to succeed, and returns what it wrote on standard output.
func (m *machine) must(args ...string) string {
	m.t.Helper()
	status, stdout, stderr := m.run(args...)
	if status != 0 {
		m.t.Fatalf("minipod %s: status %d\n%s", strings.Join(args, " "), status, stderr)
	}
	return stdout
}

func alpine() string { return os.Getenv("MINIPOD_REGISTRY") + "/library/alpine:3.20.3" }

// TestBadInput gives minipod what it cannot work with. Each must be one clear error with docker's exit status and a hint, and
// nothing may be left of it: no process, no mount, no file.
func TestBadInput(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	image := alpine()
	m.must("pull", image)
	m.must("run", "--rm", image, "true") // what is cached at the first run is no leak

	registry := os.Getenv("MINIPOD_REGISTRY")
	corrupt := brokenRegistry(t, registry, func(body []byte) []byte { body[len(body)/2] ^= 0xff; return body })
	short := brokenRegistry(t, registry, func(body []byte) []byte { return body[:len(body)/2] })
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
	}))
	t.Cleanup(refusing.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	host := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	missing := filepath.Join(m.home, "no-such-folder")

	for _, tt := range []struct {
		name   string
		args   []string
		status int
		stderr string
	}{
		{"unknown image", []string{"run", "--rm", registry + "/library/no-such-image", "true"}, 125, `no-such-image`},
		{"unknown tag", []string{"run", "--rm", registry + "/library/alpine:no-such-tag", "true"}, 125, `no-such-tag`},
		{"bad reference", []string{"run", "--rm", "UPPER/case", "true"}, 125, `UPPER/case`},
		{"unreachable registry", []string{"run", "--rm", host(closed) + "/library/alpine", "true"}, 125, `refused`},
		{"refused credentials", []string{"run", "--rm", host(refusing) + "/library/alpine", "true"}, 125, `(?i)credentials|unauthorized|log ?in`},
		{"wrong digest", []string{"run", "--rm", host(corrupt) + "/library/debian-busybox", "true"}, 125, `(?i)digest|sha256`},
		{"truncated layer", []string{"run", "--rm", host(short) + "/library/debian-busybox", "true"}, 125, `(?i)EOF|bytes|size|digest|short`},
		{"no such platform", []string{"run", "--rm", "--pull", "always", "--platform", "plan9/mips", registry + "/library/debian-busybox", "true"}, 125, `plan9/mips`},
		{"missing command", []string{"run", "--rm", image, "no-such-command"}, 127, `no-such-command`},
		{"folder as command", []string{"run", "--rm", image, "/etc"}, 126, `/etc`},
		{"not executable", []string{"run", "--rm", image, "/etc/passwd"}, 126, `/etc/passwd`},
		{"unknown user", []string{"run", "--rm", "--user", "ghost", image, "true"}, 125, `ghost`},
		{"unknown group", []string{"run", "--rm", "--user", "root:ghosts", image, "true"}, 125, `ghosts`},
		{"bad flag", []string{"run", "--rm", "--colour", image, "true"}, 125, `--colour`},
		{"bad value", []string{"run", "--rm", "--network", "moon", image, "true"}, 125, `moon`},
		{"bad capability", []string{"run", "--rm", "--cap-add", "FLY", image, "true"}, 125, `(?i)fly`},
		{"bad limit", []string{"run", "--rm", "--ulimit", "dreams=1", image, "true"}, 125, `dreams`},
		{"bind source missing", []string{"run", "--rm", "--mount", "type=bind,source=" + missing + ",target=/x", image, "true"}, 125, `no-such-folder`},
		{"seccomp profile missing", []string{"run", "--rm", "--security-opt", "seccomp=" + missing, image, "true"}, 125, `no-such-folder`},
		{"environment file missing", []string{"run", "--rm", "--env-file", missing, image, "true"}, 125, `no-such-folder`},
		{"no image", []string{"run"}, 125, `image`},
		{"unknown verb", []string{"rum", image}, 125, `rum`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := takeCensus(t, m.home)
			status, stdout, stderr := m.run(tt.args...)
			if status != tt.status && (tt.args[0] == "run" || status == 0) {
				t.Errorf("exit status %d, want %d", status, tt.status)
			}
			checkError(t, stderr, tt.stderr)
			if stdout != "" {
				t.Errorf("stdout: %q", stdout)
			}
			if tt.name == "truncated layer" { // kept, to be resumed: the next pull takes it over
				m.must("pull", registry+"/library/debian-busybox")
				m.must("rmi", registry+"/library/debian-busybox")
			}
			if tt.name == "no such platform" { // the configuration that says so is whole, and stays until a prune
				m.must("image", "prune", "--force")
			}
			before.settles(t, m.home)
			if err := nothingLeft(m.home); err != nil {
				t.Error(err)
			}
		})
	}
	if out := m.must("run", "--rm", image, "echo", "still works"); out != "still works\n" {
		t.Errorf("after all that: %q", out)
	}
}

// checkError wants one error line that matches pattern and one hint, and nothing of Go's insides.
func checkError(t *testing.T, stderr, pattern string) {
	t.Helper()
	var problems, hints []string
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "minipod: ") && !strings.HasPrefix(line, "minipod: warning: ") {
			problems = append(problems, line)
		}
		if strings.HasPrefix(line, "hint: ") {
			hints = append(hints, line)
		}
	}
	if len(problems) != 1 || len(hints) == 0 {
		t.Errorf("want one error with its hint, got:\n%s", stderr)
		return
	}
	if !regexp.MustCompile(pattern).MatchString(problems[0]) {
		t.Errorf("error %q does not match %q", problems[0], pattern)
	}
	if regexp.MustCompile(`goroutine |panic:|0x[0-9a-f]{6,}`).MatchString(stderr) {
		t.Errorf("not for a person's eyes:\n%s", stderr)
	}
}

// brokenRegistry is the registry at address, whose layers spoil has been at. Configs and manifests stay whole.
func brokenRegistry(t *testing.T, address string, spoil func([]byte) []byte) *httptest.Server {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			proxy.ServeHTTP(w, r)
			return
		}
		recorded := httptest.NewRecorder()
		r.Header.Del("Range")
		proxy.ServeHTTP(recorded, r)
		body := recorded.Body.Bytes()
		if len(body) > 64<<10 {
			body = spoil(body)
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	return server
}

// TestForbidden takes away what rootless containers need. The namespaces around minipod are unshare(1)'s.
func TestForbidden(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	image := alpine()
	m.must("pull", image)
	m.must("run", "--rm", image, "true")

	t.Run("no user namespaces", func(t *testing.T) {
		before := takeCensus(t, m.home)
		cmd := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c",
			`echo 0 >/proc/sys/user/max_user_namespaces && exec minipod run --rm "$0" true`, image)
		cmd.Env = m.env
		status, _, stderr := finish(t, cmd)
		if status != 125 {
			t.Errorf("exit status %d, want 125", status)
		}
		checkError(t, stderr, `namespace`)
		before.settles(t, m.home)
	})

	t.Run("newuidmap refuses", func(t *testing.T) {
		before := takeCensus(t, m.home)
		bin := t.TempDir()
		for _, name := range []string{"newuidmap", "newgidmap"} {
			script := "#!/bin/sh\necho " + name + ": uid range [1-65537) not allowed >&2\nexit 1\n"
			if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := m.command("run", "--rm", image, "true")
		cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
		status, _, stderr := finish(t, cmd)
		if status != 125 {
			t.Errorf("exit status %d, want 125", status)
		}
		checkError(t, stderr, `new[ug]idmap`)
		before.settles(t, m.home)
	})

	t.Run("full disk", func(t *testing.T) {
		before := takeCensus(t, m.home)
		disk := t.TempDir()
		cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
			`mount -t tmpfs -o size=1m,mode=700 full "$1" && MINIPOD_ROOT=$1/data minipod pull "$0"; echo $?; find "$1" -type f -size +0 | grep -v json >&3`,
			os.Getenv("MINIPOD_REGISTRY")+"/library/debian-busybox", disk)
		cmd.Env = m.env
		left, err := os.Create(filepath.Join(t.TempDir(), "left"))
		if err != nil {
			t.Fatal(err)
		}
		defer left.Close()
		cmd.ExtraFiles = []*os.File{left}
		_, stdout, stderr := finish(t, cmd)
		if strings.TrimSpace(stdout) == "0" {
			t.Errorf("pulled a whole image into 1 MB")
		}
		checkError(t, stderr, `no space left`)
		before.settles(t, m.home)
	})
}

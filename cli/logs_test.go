package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/logs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
)

// supervised makes a container that this process supervises, without a process in it.
func supervised(t *testing.T, name string) *runtime.Container {
	t.Helper()
	dirs, err := state.Find(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	c, err := runtime.Create(dirs, runtime.Record{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const record = `{"log":"` // begins each

func TestLogs(t *testing.T) {
	home(t)
	web, silent := supervised(t, "web"), supervised(t, "silent")
	defer silent.Close()
	if err := web.Close(); err != nil {
		t.Fatal(err)
	}
	text := record + `one\n","stream":"stdout","time":"2026-11-27T11:00:00Z"}` + "\n" +
		record + `oops\n","stream":"stderr","time":"2026-11-27T11:01:00.5Z"}` + "\n" +
		record + `three\n","stream":"stdout","time":"2026-11-27T11:02:00Z"}` + "\n"
	if err := os.WriteFile(filepath.Join(web.Dir, logs.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line, out, err string
		status         int
	}{
		{"logs web", "one\nthree\n", "oops\n", 0},
		{"logs " + web.ID[:12], "one\nthree\n", "oops\n", 0},
		{"logs web --follow", "one\nthree\n", "oops\n", 0}, // nobody supervises it
		{"logs -fn1 web", "three\n", "", 0},
		{"logs --tail=all web", "one\nthree\n", "oops\n", 0},
		{"logs -n 2 -t web", "2026-11-27T11:02:00.000000000Z three\n", "2026-11-27T11:01:00.500000000Z oops\n", 0},
		{"logs --since 2026-11-27T11:01:00Z --until 2026-11-27T11:01:30Z web", "", "oops\n", 0},
		{"logs --since 1795778520 web", "", "", 0},
		{"logs silent", "", "", 0},
		{"logs", "", "minipod: \"minipod logs\" requires exactly 1 argument, got 0\nhint: run `minipod logs --help`\n", 125},
		{"logs nope", "", "minipod: no such container: nope\nhint: list them: minipod ps -a\n", 1},
		{"logs --tail many web", "", "minipod: invalid value \"many\" for --tail\nhint: write a number of lines, or all\n", 1},
		{
			"logs --since yesterday web", "",
			"minipod: --since: invalid time \"yesterday\"\nhint: write 42m, 2006-01-02, 2006-01-02T15:04:05Z or seconds since 1970\n", 1,
		},
	} {
		out, err, status := typed(t, strings.Fields(c.line)...)
		if out != c.out || err != c.err || status != c.status {
			t.Errorf("minipod %s\nstdout %q, want %q\nstderr %q, want %q\nstatus %d, want %d", c.line, out, c.out, err, c.err, status, c.status)
		}
	}
	if out, _, _ := typed(t, completeVerb, "logs", "si"); out != "silent\n" {
		t.Errorf("completed: %q", out)
	}
}

// shared is a buffer that is written to by one and read by another.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) until(t *testing.T, part string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		got := s.b.String()
		s.mu.Unlock()
		if strings.Contains(got, part) {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q, want %q", got, part)
		}
	}
}

// TestLogsFollow follows a container until its supervisor lets go of it.
func TestLogsFollow(t *testing.T) {
	home(t)
	web := supervised(t, "web")
	log, err := logs.OpenWriter(filepath.Join(web.Dir, logs.FileName), logs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	copied := make(chan error, 1)
	go func() { copied <- logs.NewCopier(log, r, logs.Stdout, nil).Run() }()
	var out shared
	status := make(chan int, 1)
	go func() {
		a := &app{in: strings.NewReader(""), out: &out, err: &out}
		status <- a.main(t.Context(), []string{"logs", "-f", "web"})
	}()
	_, _ = w.WriteString("hello\n")
	out.until(t, "hello\n")
	_, _ = w.WriteString("the end")
	w.Close()
	if err := <-copied; err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-status:
		t.Fatalf("it ended with %d before the container did", s)
	default:
	}
	if err := web.Close(); err != nil {
		t.Fatal(err)
	}
	if s := <-status; s != 0 || out.until(t, "the end") != "hello\nthe end" {
		t.Errorf("status %d, %q", s, out.b.String())
	}
}

// Ctrl-C is how these verbs are meant to end: nothing is said.
func TestInterrupted(t *testing.T) {
	home(t)
	defer supervised(t, "web").Close()
	for _, line := range []string{"logs -f web", "events"} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var out bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, err: &out}
		if status := a.main(ctx, strings.Fields(line)); status != exitInterrupted || out.Len() > 0 {
			t.Errorf("%s: %d, %q", line, status, out.String())
		}
	}
}

func TestEvents(t *testing.T) {
	home(t)
	dirs, err := state.Find(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	log := events.Open(dirs)
	for _, e := range []events.Event{
		events.Container("start", "4a5b", "web", "alpine", map[string]string{"tier": "a,b"}, nil),
		events.Container("die", "4a5b", "web", "alpine", nil, map[string]string{"exitCode": "3"}),
		events.Image("pull", "sha256:12", "alpine:latest"),
	} {
		if err := log.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		line, out, err string
		status         int
	}{
		{"events --since 0 --until 0s --format {{.Action}}:{{.Actor.Attributes.name}}", "start:web\ndie:web\npull:alpine:latest\n", "", 0},
		{"events --until 0s", "", "", 0},
		{"events --since 1h --until 0s --filter event=die --format {{.Actor.Attributes.exitCode}}", "3\n", "", 0},
		{"events --since 1h --until 0s --filter label=tier=a,b --format {{.Status}}", "start\n", "", 0},
		{"events --since 1h --until 30m", "", "", 0},
		{"events --filter size=1", "", "invalid filter \"size\": use one of container, event", 125},
		{"events --since 0 --until 0s --format {{.Nope}}", "", "minipod: run the template: ", 1},
		{"events --format {{", "", "minipod: parse the template: ", 64},
		{"events --until tomorrow", "", "minipod: --until: invalid time", 1},
		{"events x", "", "requires no arguments, got 1", 125},
	} {
		out, err, status := typed(t, strings.Fields(c.line)...)
		if out != c.out || !strings.Contains(err, c.err) || c.err == "" && err != "" || status != c.status {
			t.Errorf("minipod %s\nstdout %q, want %q\nstderr %q, want %q\nstatus %d, want %d", c.line, out, c.out, err, c.err, status, c.status)
		}
	}
	out, _, _ := typed(t, "events", "--since", "0", "--until", "0s", "--filter", "type=image")
	if !strings.HasSuffix(out, " image pull sha256:12 (name=alpine:latest)\n") {
		t.Errorf("%q", out)
	}
	out, _, _ = typed(t, "events", "--since", "0", "--until", "0s", "--filter", "event=die", "--format", "json")
	var e events.Event
	if err := json.Unmarshal([]byte(out), &e); err != nil || e.From != "alpine" || e.Actor.ID != "4a5b" || e.Scope != "local" || e.TimeNano == 0 {
		t.Errorf("%q: %v", out, err)
	}
}

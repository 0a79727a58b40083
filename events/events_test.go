package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/jsonl"
	"codeberg.org/minipod/minipod/state"
)

func newLog(t *testing.T) *Log {
	t.Helper()
	return Open(state.Dirs{Data: t.TempDir()})
}

func since(t *testing.T, l *Log, o ReadOptions) []Event {
	t.Helper()
	if o.Since.IsZero() {
		o.Since = time.Unix(1, 0)
	}
	if o.Until.IsZero() {
		o.Until = time.Now()
	}
	var got []Event
	if err := l.Read(t.Context(), o, func(e Event) error { got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestForm holds the JSON and the line to docker's.
func TestForm(t *testing.T) {
	e := Container("start", "4a5b", "web", "alpine:3", map[string]string{"tier": "front\n\x1b[2J", "name": "not this"}, nil)
	e.Time, e.TimeNano, e.Scope = 1795778553, 1795778553123456780, "local"
	got, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"status":"start","id":"4a5b","from":"alpine:3","Type":"container","Action":"start","Actor":{"ID":"4a5b","Attributes":` +
		`{"image":"alpine:3","name":"web","tier":"front\n\u001b[2J"}},"scope":"local","time":1795778553,"timeNano":1795778553123456780}`
	if string(got) != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	line := "2026-11-27T12:22:33.123456780+01:00 container start 4a5b (image=alpine:3, name=web, tier=front\ufffd\ufffd[2J)"
	if got := e.in(time.FixedZone("", 3600)); got != line {
		t.Errorf("%s, want\n%s", got, line)
	}
	if got := (Event{Type: TypeImage, Action: "pull", Time: 5}).in(time.UTC); got != "1970-01-01T00:00:05.000000000Z image pull " {
		t.Errorf("%q", got)
	}
}

func TestFilter(t *testing.T) {
	web := Container("die", "4a5bc6", "web", "registry.lan:5000/app:v1", map[string]string{"tier": "front", "x": ""}, map[string]string{"exitCode": "3"})
	exec := Container("exec_create: sh -c true", "4a5bc6", "web", "alpine", nil, nil)
	pull, mount := Image("pull", "sha256:12", "alpine:latest"), Volume("mount", "data", "4a5bc6")
	for _, c := range []struct {
		filter string
		e      Event
		want   bool
	}{
		{"", web, true},
		{"type=container", web, true},
		{"type=image", web, false},
		{"type=image type=container", web, true},
		{"event=die", web, true},
		{"event=di", web, false},
		{"event=start event=die", web, true},
		{"event=exec_create", exec, true},
		{"container=web", web, true},
		{"container=4a5b", web, true},
		{"container=we", web, true}, // docker's match, too, is of a beginning
		{"container=other", web, false},
		{"container=", web, false},
		{"container=4a5bc6", mount, true},
		{"container=alpine:latest", pull, false},
		{"image=registry.lan:5000/app:v1", web, true},
		{"image=registry.lan:5000/app", web, true},
		{"image=registry.lan", web, false},
		{"image=alpine", exec, true},
		{"image=alpine", pull, true},
		{"image=sha256:12", pull, true},
		{"image=data", mount, false},
		{"volume=data", mount, true},
		{"volume=data", web, false},
		{"label=tier", web, true},
		{"label=tier=front", web, true},
		{"label=tier=back", web, false},
		{"label=tier label=x", web, true},
		{"label=tier label=y", web, false},
		{"label=x=", web, true},
		{"container=web event=start", web, false},
	} {
		f := Filter{}
		for _, condition := range strings.Fields(c.filter) {
			name, value, _ := strings.Cut(condition, "=")
			f[name] = append(f[name], value)
		}
		if got := f.Match(c.e); got != c.want {
			t.Errorf("%s of %s: %v", c.filter, c.e, got)
		}
	}
}

func TestAppendAndRead(t *testing.T) {
	l := newLog(t)
	if got := since(t, l, ReadOptions{}); len(got) != 0 {
		t.Errorf("no log: %v", got)
	}
	before := time.Now()
	for i := range 3 {
		if err := l.Append(Container("start", fmt.Sprint(i), "web", "alpine", nil, nil)); err != nil {
			t.Fatal(err)
		}
	}
	old := Image("pull", "sha256:1", "alpine")
	old.TimeNano = time.Unix(100, 5).UnixNano()
	if err := l.Append(old); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(l.name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("somebody else's\n{}\n\n{\"Type\":\"torn")
	f.Close()
	if err := l.Append(Volume("create", "data", "")); err != nil {
		t.Fatal(err)
	}
	got := since(t, l, ReadOptions{Since: before})
	if len(got) != 4 || got[2].ID != "2" || got[3].Actor.ID != "data" || got[0].Scope != "local" || got[0].TimeNano/1e9 != got[0].Time {
		t.Errorf("%v", got)
	}
	if got := since(t, l, ReadOptions{Until: before}); len(got) != 1 || got[0].Time != 100 {
		t.Errorf("until: %v", got)
	}
	if err := l.Append(Container("create", "x", "x", "x", map[string]string{"big": strings.Repeat("x", jsonl.MaxLine)}, nil)); err == nil {
		t.Error("an event that nobody could read")
	}
}

func TestFollow(t *testing.T) {
	l := Open(state.Dirs{Data: filepath.Join(t.TempDir(), "new")})
	for _, o := range []ReadOptions{{}, {Since: time.Unix(1, 0)}} {
		seen := make(chan string, 100)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Read(ctx, o, func(e Event) error { seen <- e.Actor.ID; return nil }) }()
		if o.Since.IsZero() {
			if err := os.MkdirAll(filepath.Dir(l.name), 0o700); err != nil { // as Read does, perhaps later
				t.Fatal(err)
			}
			for i := 0; len(seen) == 0; i++ { // until it follows
				if err := l.Append(Volume("create", "early", "")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
		}
		if err := l.Append(Volume("create", "last", "")); err != nil {
			t.Fatal(err)
		}
		for timeout := time.After(time.Minute); ; {
			select {
			case id := <-seen:
				if id == "last" {
					cancel()
				}
				if id == "last" || id == "early" {
					continue
				}
				t.Fatalf("%q", id)
			case err := <-done:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
			case <-timeout:
				t.Fatal("nothing is seen")
			}
			break
		}
		cancel()
	}
	if err := l.Read(t.Context(), ReadOptions{Until: time.Now().Add(20 * time.Millisecond)}, func(Event) error { return errors.New("old") }); err != nil {
		t.Errorf("until a moment from now: %v", err)
	}
	told := errors.New("told")
	if err := l.Read(t.Context(), ReadOptions{Since: time.Unix(1, 0)}, func(Event) error { return told }); !errors.Is(err, told) {
		t.Errorf("%v", err)
	}
}

// TestManyWriters has several append at once, as different processes do (each opens the file for itself): across one rotation, after
// which all events are there, and across many that follow one another as fast as they can.
func TestManyWriters(t *testing.T) {
	const writers, each = 4, 300
	for maxSize, rotations := range map[int64]string{250_000: "one", 20_000: "many"} {
		l := newLog(t)
		l.maxSize = maxSize
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					if err := l.Append(Container("start", fmt.Sprintf("%d-%d", w, i), "web", "alpine", nil, nil)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		next := map[int]int{}
		got := since(t, l, ReadOptions{})
		for _, e := range got {
			var w, i int
			if _, err := fmt.Sscanf(e.ID, "%d-%d", &w, &i); err != nil {
				t.Fatal(err)
			}
			if before, ok := next[w]; ok && i != before {
				t.Errorf("%s: writer %d: event %d, want %d", rotations, w, i, before)
			}
			next[w] = i + 1
		}
		if rotations == "one" && len(got) != writers*each || len(got) < int(maxSize)/500 {
			t.Errorf("%s: %d events are kept", rotations, len(got))
		}
		files, err := filepath.Glob(l.name + "*")
		if err != nil || len(files) > 2 || len(files) < 2 && rotations == "one" {
			t.Errorf("%s: %q, %v", rotations, files, err)
		}
		for _, name := range files {
			if info, err := os.Stat(name); err != nil || info.Size() > 2*maxSize+writers*400 {
				t.Errorf("%s: %s: %v, %v", rotations, name, info.Size(), err)
			}
		}
	}
}

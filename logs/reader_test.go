package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/jsonl"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// sample is a log in two parts, a record a minute from noon on.
func sample(t *testing.T) string {
	t.Helper()
	name := logName(t)
	minute := 0
	rec := func(stream Stream, text string) []byte {
		at := noon.Add(time.Duration(minute) * time.Minute)
		minute++
		return appendRecord(nil, []byte(text), appendTail(nil, stream, at))
	}
	older := bytes.Join([][]byte{rec(Stdout, "0\n"), rec(Stderr, "e1\n"), rec(Stdout, "2\n"), []byte("foreign\n"), rec(Stdout, "3a")}, nil)
	newer := bytes.Join([][]byte{rec(Stdout, "3b\n"), rec(Stderr, "e5\n"), rec(Stdout, "6\n"), rec(Stdout, "7 no end"), []byte(`{"log":"torn`)}, nil)
	for part, text := range map[string][]byte{name + ".1": older, name: newer} {
		if err := os.WriteFile(part, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

func TestRead(t *testing.T) {
	name := sample(t)
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	for _, c := range []struct {
		what     string
		o        ReadOptions
		out, err string
	}{
		{"all", ReadOptions{Tail: -1}, "0\n2\n3a3b\n6\n7 no end", "e1\ne5\n"},
		{"none", ReadOptions{Tail: 0}, "", ""},
		{"1", ReadOptions{Tail: 1}, "7 no end", ""},
		{"3", ReadOptions{Tail: 3}, "6\n7 no end", "e5\n"},
		{"4: a line in two records, and two files", ReadOptions{Tail: 4}, "3a3b\n6\n7 no end", "e5\n"},
		{"5", ReadOptions{Tail: 5}, "2\n3a3b\n6\n7 no end", "e5\n"},
		{"more than there are", ReadOptions{Tail: 100}, "0\n2\n3a3b\n6\n7 no end", "e1\ne5\n"},
		{"since", ReadOptions{Tail: -1, Since: at(2)}, "2\n3a3b\n6\n7 no end", "e5\n"},
		{"until", ReadOptions{Tail: -1, Until: at(2)}, "0\n2\n", "e1\n"},
		{"since and until", ReadOptions{Tail: -1, Since: at(1), Until: at(2)}, "2\n", "e1\n"},
		{"the last of a time", ReadOptions{Tail: 2, Until: at(2)}, "2\n", "e1\n"},
		{"the last since", ReadOptions{Tail: 9, Since: at(6)}, "6\n7 no end", ""},
		{
			"times",
			ReadOptions{Tail: 5, Timestamps: true},
			"2026-11-27T12:02:00.000000000Z 2\n2026-11-27T12:03:00.000000000Z 3a3b\n2026-11-27T12:06:00.000000000Z 6\n2026-11-27T12:07:00.000000000Z 7 no end",
			"2026-11-27T12:05:00.000000000Z e5\n",
		},
	} {
		var out, err bytes.Buffer
		if e := Read(t.Context(), name, c.o, &out, &err); e != nil {
			t.Errorf("%s: %v", c.what, e)
		}
		if out.String() != c.out || err.String() != c.err {
			t.Errorf("%s: %q, %q; want %q, %q", c.what, out.String(), err.String(), c.out, c.err)
		}
	}
	var both bytes.Buffer
	if err := Read(t.Context(), name, ReadOptions{Tail: -1}, &both, &both); err != nil || both.String() != "0\ne1\n2\n3a3b\ne5\n6\n7 no end" {
		t.Errorf("both streams to one place: %q, %v", both.String(), err)
	}
	if err := Read(t.Context(), logName(t), ReadOptions{Tail: 5}, nil, nil); err != nil {
		t.Errorf("no log: %v", err)
	}
}

// A reader is a Read that follows in the background.
type reader struct {
	mu    sync.Mutex
	out   strings.Builder
	ended chan struct{}
	err   chan error
}

func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

func followLog(ctx context.Context, t *testing.T, name string, o ReadOptions) *reader {
	t.Helper()
	r := &reader{ended: make(chan struct{}), err: make(chan error, 1)}
	o.Follow, o.Ended = true, r.ended
	go func() { r.err <- Read(ctx, name, o, r, r) }()
	return r
}

func (r *reader) end(t *testing.T) {
	t.Helper()
	close(r.ended)
	if err := <-r.err; err != nil {
		t.Error(err)
	}
}

// until waits for the output to be that.
func (r *reader) until(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		got := r.out.String()
		r.mu.Unlock()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

func TestFollow(t *testing.T) {
	name := logName(t)
	early := followLog(t.Context(), t, name, ReadOptions{Tail: -1}) // before there is a log
	c := start(t, name, Options{})
	c.print(Stdout, "one\ntwo\n")
	early.until(t, "one\ntwo\n")
	late := followLog(t.Context(), t, name, ReadOptions{Tail: 1})
	late.until(t, "two\n")
	c.print(Stderr, "password: ")
	early.until(t, "one\ntwo\npassword: ")
	late.until(t, "two\npassword: ")
	c.print(Stderr, "\nlast")
	c.end()
	early.end(t)
	late.end(t)
	early.until(t, "one\ntwo\npassword: \nlast")
	late.until(t, "two\npassword: \nlast")
}

func TestFollowEnds(t *testing.T) {
	name := sample(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := followLog(ctx, t, name, ReadOptions{Tail: 1})
	r.until(t, "7 no end")
	cancel()
	if err := <-r.err; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, until := range []time.Time{noon.Add(2 * time.Minute), time.Now().Add(50 * time.Millisecond)} {
		if err := <-followLog(t.Context(), t, name, ReadOptions{Tail: 1, Until: until}).err; err != nil {
			t.Errorf("until %s: %v", until, err)
		}
	}
}

// TestFollowAcrossRotations rotates every few lines, and expects to see each line once. The command waits for a follower that is
// a whole file behind: one that is slower than that is told so, see TestLapped.
func TestFollowAcrossRotations(t *testing.T) {
	for _, o := range []Options{{MaxSize: 3000, MaxFile: 3}, {MaxSize: 100_000}} {
		name := logName(t)
		c := start(t, name, o)
		const lines = 20_000
		var seen atomic.Int64
		failed := make(chan error, 1)
		ended := make(chan struct{})
		go func() {
			next := 0
			failed <- Read(t.Context(), name, ReadOptions{Tail: -1, Follow: true, Ended: ended}, writerTo(func(text string) error {
				for line := range strings.Lines(text) {
					if line != strconv.Itoa(next)+"\n" {
						return fmt.Errorf("%q, want %d", line, next)
					}
					next++
				}
				seen.Store(int64(next))
				return nil
			}), writerTo(func(note string) error { return errors.New(note) }))
		}()
		for i := range lines {
			for int64(i)-seen.Load() > o.MaxSize/100 && len(failed) == 0 {
				time.Sleep(10 * time.Microsecond)
			}
			c.print(Stdout, strconv.Itoa(i)+"\n")
		}
		c.end()
		close(ended)
		if err := <-failed; err != nil || seen.Load() != lines {
			t.Errorf("%+v: %d lines, %v", o, seen.Load(), err)
		}
	}
}

type writerTo func(string) error

func (w writerTo) Write(p []byte) (int, error) { return len(p), w(string(p)) }

// A follower whose terminal is stuck while the log is rotated away learns of it.
func TestLapped(t *testing.T) {
	name := logName(t)
	c := start(t, name, Options{MaxSize: 200, MaxFile: 2})
	stuck, read := make(chan struct{}), make(chan struct{})
	var out, notes strings.Builder
	ended, failed := make(chan struct{}), make(chan error)
	go func() {
		failed <- Read(t.Context(), name, ReadOptions{Tail: -1, Follow: true, Ended: ended}, writerTo(func(text string) error {
			if text == "first\n" {
				close(read)
				<-stuck
			}
			out.WriteString(text)
			return nil
		}), &notes)
	}()
	c.print(Stdout, "first\n")
	<-read
	for i := range 20 {
		c.print(Stdout, fmt.Sprintf("line %d\n", i))
	}
	c.log.mu.Lock()
	number := jsonl.Number(c.log.f)
	c.log.mu.Unlock()
	c.end()
	close(stuck)
	close(ended)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "first\n") || !strings.HasSuffix(out.String(), "line 18\nline 19\n") || strings.Contains(out.String(), "line 10\n") {
		t.Errorf("%q", out.String())
	}
	if number == 0 {
		t.Skip("this file system has no extended attributes for users")
	}
	if !strings.Contains(notes.String(), "lines are missing here") {
		t.Errorf("%q", notes.String())
	}
}

func TestParseTime(t *testing.T) {
	berlin := time.FixedZone("", 3600)
	now := noon
	for text, want := range map[string]time.Time{
		"42m":                                 noon.Add(-42 * time.Minute),
		"1h30m":                               noon.Add(-90 * time.Minute),
		"-5s":                                 noon.Add(5 * time.Second),
		"0":                                   time.Unix(0, 0),
		"1136073845":                          time.Unix(1136073845, 0),
		"1136073845.5":                        time.Unix(1136073845, 500_000_000),
		"1136073845.000000001":                time.Unix(1136073845, 1),
		"-1.5":                                time.Unix(-1, -500_000_000),
		"2026-11-27T12:00:00Z":                noon,
		"2026-11-27T13:00:00.000000005+01:00": noon.Add(5),
		"2026-11-27T13:00:00.25":              noon.Add(250 * time.Millisecond),
		"2026-11-27T13:00":                    noon,
		"2026-11-27T13":                       noon,
		"2026-11-27T12:00Z":                   noon,
		"2026-11-27T14+02:00":                 noon,
		"2026-11-27":                          noon.Add(-13 * time.Hour),
		"2026-11-27Z":                         noon.Add(-12 * time.Hour),
		"2026-11-27+02:00":                    noon.Add(-14 * time.Hour),
	} {
		if got, err := ParseTime(text, now, berlin); err != nil || !got.Equal(want) {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "5 m", "2026-13-01", "1.", "1.x", "1.1234567890", "99999999999999999999", "2026-11-27 12:00:00"} {
		if got, err := ParseTime(text, now, berlin); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

package jsonl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// rotate keeps the parts up to name.2.
func rotate(t *testing.T, name string) {
	t.Helper()
	_ = os.Rename(name+".1", name+".2")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, name string) *Files {
	t.Helper()
	s, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func lines(t *testing.T, s *Files) []string {
	t.Helper()
	var got []string
	if err := s.Read(func(line []byte) error { got = append(got, string(line)); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestReadAcrossParts(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	if got := lines(t, open(t, name)); len(got) != 0 {
		t.Errorf("a log that is not there: %q", got)
	}
	write(t, name+".2", "1\n2\ntorn")
	write(t, name+".1", "3\n"+strings.Repeat("x", MaxLine)+"\n4\n")
	write(t, name, "\n5\nnot whole")
	write(t, name+".x", "no\n")
	write(t, name+".01", "no\n")
	s := open(t, name)
	write(t, name, " yet\n6\n") // after Open: not read
	if got := lines(t, s); !slices.Equal(got, []string{"1", "2", "3", "4", "", "5"}) {
		t.Errorf("%q", got)
	}
	if err := os.Mkdir(name+".9", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(name); err == nil || !strings.Contains(err.Error(), "log.9: it is not a regular file") {
		t.Errorf("a folder for a part: %v", err)
	}
}

// TestRewind asks for the last n lines, of files in which lines lie across blocks, and compares with reading forwards.
func TestRewind(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	var want []string
	for part := 3; part >= 0; part-- {
		var text strings.Builder
		for i := range 40 {
			line := fmt.Sprintf("%d-%d %s", part, i, strings.Repeat("y", i*i*41))
			if i == 20 && part == 1 {
				line = strings.Repeat("long", MaxLine/2)
			} else {
				want = append(want, line)
			}
			text.WriteString(line + "\n")
		}
		text.WriteString("torn" + strings.Repeat("z", part*firstBuffer))
		write(t, partName(name, part), text.String())
	}
	for _, n := range []int{0, 1, 2, 39, 40, 41, 58, 59, 60, 79, 80, 100, len(want) - 1, len(want), len(want) + 1} {
		s := open(t, name)
		left := n
		if err := s.Rewind(func(line []byte) bool {
			if n > left && string(line) != want[len(want)-1-n+left] {
				t.Fatalf("the last %d: line %d from the end is %.20q", n, n-left, line)
			}
			left--
			return left >= 0
		}); err != nil {
			t.Fatal(err)
		}
		if got := lines(t, s); !slices.Equal(got, want[max(len(want)-n, 0):]) {
			t.Fatalf("the last %d: %d lines", n, len(got))
		}
	}
}

func TestSkipBefore(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	write(t, name+".2", "1\n")
	write(t, name+".1", "2\n")
	write(t, name, "3\n")
	hour := time.Now().Add(-time.Hour)
	for _, old := range []string{name + ".2", name} {
		if err := os.Chtimes(old, hour, hour); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, name)
	s.SkipBefore(hour.Add(time.Minute))
	if got := lines(t, s); !slices.Equal(got, []string{"2", "3"}) {
		t.Errorf("%q", got)
	}
}

// A follower is a Follow in the background.
type follower struct {
	lines chan string
	idle  chan struct{} // gets an element whenever the follower begins to sleep
	ended chan struct{}
	err   chan error
}

func follow(ctx context.Context, t *testing.T, s *Files) *follower {
	t.Helper()
	f := &follower{make(chan string, 1000), make(chan struct{}, 1000), make(chan struct{}), make(chan error, 1)}
	go func() {
		f.err <- s.Follow(ctx, f.ended, func(line []byte) error { f.lines <- string(line); return nil },
			func() error { f.idle <- struct{}{}; return nil })
		close(f.lines)
	}()
	return f
}

func (f *follower) want(t *testing.T, want ...string) {
	t.Helper()
	for _, line := range want {
		select {
		case got := <-f.lines:
			if got != line {
				t.Fatalf("followed %q, want %q", got, line)
			}
		case <-time.After(time.Minute):
			t.Fatalf("waiting for %q", line)
		}
	}
}

func (f *follower) end(t *testing.T) {
	t.Helper()
	close(f.ended)
	if err := <-f.err; err != nil {
		t.Error(err)
	}
	for line := range f.lines {
		t.Errorf("and %q", line)
	}
}

func TestFollow(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	f := follow(t.Context(), t, open(t, name))
	<-f.idle
	write(t, name, "1\n2")
	f.want(t, "1")
	write(t, name, "2\n3\n")
	f.want(t, "22", "3")
	rotate(t, name)
	write(t, name, "4\n")
	f.want(t, "4")
	rotate(t, name) // two at once
	write(t, name, "5\n")
	rotate(t, name)
	write(t, name, "6, which is long\n")
	f.want(t, "5", "6, which is long")
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	write(t, name, "7\n")
	f.want(t, "7")
	write(t, name, "8\nnever whole")
	f.want(t, "8")
	f.end(t)
}

// Whoever waits for the end gets everything before it.
func TestFollowEndsDrained(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	write(t, name, strings.Repeat("x\n", 500))
	s := open(t, name)
	f := follow(t.Context(), t, s)
	close(f.ended)
	if err := <-f.err; err != nil {
		t.Fatal(err)
	}
	n := 0
	for range f.lines {
		n++
	}
	if n != 500 {
		t.Errorf("%d lines", n)
	}
}

func TestFollowCancelledAndRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "container")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "log")
	ctx, cancel := context.WithCancel(t.Context())
	cancelled, removed := follow(ctx, t, open(t, name)), follow(t.Context(), t, open(t, name))
	<-cancelled.idle
	cancel()
	if err := <-cancelled.err; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	<-removed.idle
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := <-removed.err; err != nil {
		t.Errorf("removed: %v", err)
	}
	if err := open(t, name).Follow(t.Context(), nil, nil, func() error { return nil }); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// TestLapped rotates faster than the follower reads, and expects it to notice.
func TestLapped(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	number := uint64(0)
	begin := func(text string) {
		number++
		write(t, name, text)
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		SetNumber(f, number)
		if Number(f) != number {
			t.Skip("this file system has no extended attributes for users")
		}
	}
	begin("1\n")
	s := open(t, name)
	lapped := 0
	s.Lapped = func() { lapped++ }
	read := func(want string) {
		t.Helper()
		var got []string
		if err := s.readOn(func(line []byte) error { got = append(got, string(line)); return nil }); err != nil || strings.Join(got, " ") != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	read("1")
	for i := 2; i < 4; i++ {
		rotate(t, name)
		begin(strconv.Itoa(i) + "\n")
	}
	if read("2 3"); lapped != 0 {
		t.Error("nothing was missed")
	}
	for i := 4; i < 8; i++ {
		rotate(t, name)
		begin(strconv.Itoa(i) + "\n")
	}
	if read("5 6 7"); lapped != 1 {
		t.Error("4 was missed, and nobody noticed")
	}
	if err := os.Remove(name); err != nil { // by hand: what is older is not read again
		t.Fatal(err)
	}
	begin("8\n")
	read("8")
}

func TestComplete(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	for _, c := range []struct {
		text string
		want bool
	}{{"", true}, {"{}\n", true}, {"{", false}} {
		write(t, name, c.text)
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got, err := Complete(f); err != nil || got != c.want {
			t.Errorf("after %q: %v, %v", c.text, got, err)
		}
	}
}

package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A command is what a container's command is to us: the other ends of two pipes.
type command struct {
	*testing.T
	name string
	log  *Writer
	to   [2]*os.File
	from [2]*Copier
	done sync.WaitGroup
}

func start(t *testing.T, name string, o Options) *command {
	t.Helper()
	return startPatient(t, name, o, patience)
}

// startPatient is start with a Copier that waits as long as that for the end of a line.
func startPatient(t *testing.T, name string, o Options, wait time.Duration) *command {
	t.Helper()
	c := &command{T: t, name: name}
	var err error
	if c.log, err = OpenWriter(name, o); err != nil {
		t.Fatal(err)
	}
	for stream := range c.to {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c.to[stream], c.from[stream] = w, NewCopier(c.log, r, Stream(stream), nil)
		c.from[stream].wait = wait
		c.done.Go(func() {
			if err := c.from[stream].Run(); err != nil {
				t.Error(err)
			}
			r.Close()
		})
	}
	return c
}

func (c *command) print(stream Stream, text string) {
	c.Helper()
	if _, err := c.to[stream].WriteString(text); err != nil {
		c.Fatal(err)
	}
}

func (c *command) end() {
	c.Helper()
	c.to[Stdout].Close()
	c.to[Stderr].Close()
	c.done.Wait()
	if err := c.log.Close(); err != nil {
		c.Fatal(err)
	}
}

// texts are the records' texts of a file, each of which must be valid.
func texts(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range bytes.Lines(data) {
		var r struct {
			Log, Stream string
			Time        time.Time
		}
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if since := time.Since(r.Time); since < 0 || since > time.Minute {
			t.Errorf("%s: it is not now", line)
		}
		got = append(got, r.Log)
	}
	return got
}

// until waits for the log to hold so many records.
func (c *command) until(records int) {
	c.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		data, err := os.ReadFile(c.name)
		if err != nil {
			c.Fatal(err)
		}
		if bytes.Count(data, []byte("\n")) == records {
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("waiting for %d records:\n%s", records, data)
		}
	}
}

func logName(t testing.TB) string { return filepath.Join(t.TempDir(), FileName) }

func TestLines(t *testing.T) {
	c := startPatient(t, logName(t), Options{}, time.Hour)
	long := strings.Repeat("x", maxText)
	c.print(Stdout, "one\ntwo\n\n"+long+"\n"+long+"yz\n")
	wide := strings.Repeat("x", maxText-1) + "é and more"
	c.print(Stdout, wide+"\n")
	c.end()
	c = start(t, c.name, Options{})
	c.print(Stdout, "no end")
	c.until(9) // after a moment
	c.print(Stdout, "\n")
	c.end()
	c = startPatient(t, c.name, Options{}, time.Hour)
	c.print(Stdout, "c\xc3")
	c.print(Stdout, "\xa9\nend\xe4")
	c.end()
	want := []string{"one\n", "two\n", "\n", long + "\n", long, "yz\n", wide[:maxText-1], "é and more\n", "no end", "\n", "cé\n", "end\ufffd"}
	if got := texts(t, c.name); !slices.Equal(got, want) {
		t.Errorf("%.40q", got)
	}
}

// What a command writes in pieces is one record, if it doesn't take its time.
func TestPieces(t *testing.T) {
	c := startPatient(t, logName(t), Options{}, time.Hour)
	for _, piece := range []string{"error", ": ", "no such file", "\n"} {
		c.print(Stderr, piece)
	}
	c.end()
	if got := texts(t, c.name); !slices.Equal(got, []string{"error: no such file\n"}) {
		t.Errorf("%q", got)
	}
}

// Both streams at once, and more than any buffer holds: nothing is lost, and a log that was there is kept.
func TestBurst(t *testing.T) {
	name := logName(t)
	if err := os.WriteFile(name, []byte(`{"log":"before\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}`+"\n"+`{"log":"torn`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, name, Options{})
	const lines = 100_000
	var writers sync.WaitGroup
	for _, stream := range []Stream{Stdout, Stderr} {
		writers.Go(func() {
			var text strings.Builder
			for i := range lines {
				fmt.Fprintf(&text, "%s %d %s\n", stream, i, strings.Repeat(".", i%211))
				if text.Len() > 10_000+i%50_000 {
					c.print(stream, text.String())
					text.Reset()
				}
			}
			c.print(stream, text.String())
		})
	}
	writers.Wait()
	c.end()
	var out, err bytes.Buffer
	if e := Read(t.Context(), name, ReadOptions{Tail: -1}, &out, &err); e != nil {
		t.Fatal(e)
	}
	if rest, ok := bytes.CutPrefix(out.Bytes(), []byte("before\n")); !ok {
		t.Errorf("what was there is lost: %.80q", rest)
	}
	for stream, text := range map[Stream]string{Stdout: strings.TrimPrefix(out.String(), "before\n"), Stderr: err.String()} {
		i := 0
		for line := range strings.Lines(text) {
			if want := fmt.Sprintf("%s %d %s\n", stream, i, strings.Repeat(".", i%211)); line != want {
				t.Fatalf("line %d: %q, want %q", i, line, want)
			}
			i++
		}
		if i != lines {
			t.Errorf("%s: %d lines of %d", stream, i, lines)
		}
	}
}

func TestTee(t *testing.T) {
	for _, kept := range []bool{true, false} {
		var log *Writer
		name := logName(t)
		if kept {
			var err error
			if log, err = OpenWriter(name, Options{}); err != nil {
				t.Fatal(err)
			}
			defer log.Close()
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var seen bytes.Buffer
		text := strings.Repeat("some text\xff\nwithout end", 50_000)
		go func() { _, _ = w.WriteString(text); w.Close() }()
		if err := NewCopier(log, r, Stdout, func(chunk []byte) { seen.Write(chunk) }).Run(); err != nil {
			t.Fatal(err)
		}
		if seen.String() != text {
			t.Errorf("with a log: %v: the tee saw something else", kept)
		}
		if _, err := os.Stat(name); (err == nil) != kept {
			t.Errorf("with a log: %v: %v", kept, err)
		}
	}
}

// The other end of the pipe stays open: Stop ends the Copier all the same, and what was written before is in the log.
func TestStop(t *testing.T) {
	c := start(t, logName(t), Options{})
	defer c.to[Stdout].Close()
	text := strings.Repeat("line\n", 10_000) + "no end"
	c.print(Stdout, text)
	c.from[Stdout].Stop()
	c.from[Stderr].Stop()
	c.done.Wait()
	if err := c.log.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(texts(t, c.name), ""); got != text {
		t.Errorf("%d bytes of %d", len(got), len(text))
	}
}

func TestRotation(t *testing.T) {
	for _, o := range []Options{{MaxSize: 4096, MaxFile: 3}, {MaxSize: 4096}, {MaxSize: 1, MaxFile: 2}} {
		name := logName(t)
		for _, old := range []string{".1", ".7"} { // of a container that ran with other options
			if err := os.WriteFile(name+old, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := start(t, name, o)
		for i := range 1000 {
			c.print(Stdout, fmt.Sprintf("line %d\n", i))
		}
		c.end()
		files, err := filepath.Glob(name + "*")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			if o.MaxSize > 1 && info.Size() > o.MaxSize || o.MaxSize == 1 && len(texts(t, f)) > 1 {
				t.Errorf("%+v: %s has %d bytes", o, f, info.Size())
			}
		}
		want := map[int]int{3: 4, 2: 3, 0: 3}[o.MaxFile] // and .7; without older parts .1 stays, too
		if len(files) != want {
			t.Errorf("%+v: %q", o, files)
		}
		var got []string
		for i := max(o.MaxFile, 1) - 1; i >= 0; i-- {
			part := name
			if i > 0 {
				part = fmt.Sprintf("%s.%d", name, i)
			}
			got = append(got, texts(t, part)...)
		}
		for i, line := range got {
			if line != fmt.Sprintf("line %d\n", 1000-len(got)+i) {
				t.Fatalf("%+v: the last %d: %q", o, len(got)-i, line)
			}
		}
	}
}

func TestRotationImpossible(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write anywhere")
	}
	name := logName(t)
	c := start(t, name, Options{MaxSize: 100, MaxFile: 2})
	dir := filepath.Dir(name)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	for range 10 {
		c.print(Stdout, "a line\n")
	}
	c.end()
	if got := texts(t, name); len(got) != 10 {
		t.Errorf("%q", got)
	}
}

// BenchmarkWriter measures pipe to file, the writing into the pipe included, for lines of several kinds. MB/cpu-s is what a core does
// that has nothing else to do.
func BenchmarkWriter(b *testing.B) {
	for name, line := range map[string]string{
		"line100": strings.Repeat("x", 99) + "\n", "line1000": strings.Repeat("a word \"or\" two; ", 59)[:999] + "\n",
		"utf8": strings.Repeat("中文é", 12) + "\n", "binary": strings.Repeat("\xff\x00\x1b[31m", 14) + "\n", "line10": "123456789\n",
	} {
		b.Run(name, func(b *testing.B) {
			log, err := OpenWriter(logName(b), Options{MaxSize: 256 << 20})
			if err != nil {
				b.Fatal(err)
			}
			defer log.Close()
			r, w, err := os.Pipe()
			if err != nil {
				b.Fatal(err)
			}
			chunk := []byte(strings.Repeat(line, (1<<20)/len(line)))
			b.SetBytes(int64(len(chunk)))
			done := make(chan error)
			before := cpuTime(b)
			go func() { done <- NewCopier(log, r, Stdout, nil).Run() }()
			for b.Loop() {
				if _, err := w.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
			w.Close()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)*float64(len(chunk))/1e6/(cpuTime(b)-before).Seconds(), "MB/cpu-s")
		})
	}
}

// cpuTime is what this process has used so far, in the kernel and out of it.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func BenchmarkRead(b *testing.B) {
	name := logName(b)
	line := appendRecord(nil, []byte(strings.Repeat("x", 99)+"\n"), appendTail(nil, Stdout, time.Now()))
	if err := os.WriteFile(name, bytes.Repeat(line, 100_000), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(100 * 100_000)
	for b.Loop() {
		if err := Read(b.Context(), name, ReadOptions{Tail: -1}, io.Discard, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

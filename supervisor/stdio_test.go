package supervisor

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/logs"
)

// TestHarmless: the command gets our own descriptor where that gives it no more than the right to read or write at its end.
func TestHarmless(t *testing.T) {
	dir := t.TempDir()
	must := func(f *os.File, err error) *os.File {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	r, w, err := os.Pipe()
	must(r, err)
	must(w, err)
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	master, slave, err := pty.Open()
	must(master, err)
	must(slave, err)
	ours, theirs, err := linux.SocketPair()
	must(ours, err)
	must(theirs, err)
	for _, tt := range []struct {
		name string
		file *os.File
		want bool
	}{
		{"a pipe's reading end", r, true},
		{"a pipe's writing end", w, true},
		{"a named pipe", must(os.OpenFile(filepath.Join(dir, "fifo"), os.O_RDWR, 0)), true},
		{"a socket", ours, true},
		{"/dev/null", must(os.OpenFile("/dev/null", os.O_RDWR, 0)), true},
		{"/dev/zero", must(os.Open("/dev/zero")), false},
		{"a terminal", slave, false},
		{"a terminal's master", master, false},
		{"a file", must(os.Create(filepath.Join(dir, "file"))), false},
		{"a folder", must(os.Open(dir)), false},
	} {
		if got := harmless(tt.file); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	closed := must(os.Open(dir))
	closed.Close()
	if harmless(closed) {
		t.Error("a closed file")
	}
}

// TestProxied writes to a file through what the command gets, and reads from one: a pipe, each time, and the file is whole
// when finish returns.
func TestProxied(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := &Stdio{}
	theirs, err := s.out(logs.Stdout, file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := linux.StatFD(int(theirs.Fd())); err != nil || !info.IsFIFO {
		t.Errorf("the command gets %+v, %v", info, err)
	}
	text := strings.Repeat("line\n", 100_000)
	held, err := linux.DupHigh(theirs) // by a process that outlives the command: finish does not wait for it
	if err != nil {
		t.Fatal(err)
	}
	defer linux.Close(held)
	if _, err := theirs.WriteString(text); err != nil {
		t.Fatal(err)
	}
	s.Started(nil)
	if err := s.Finish(nil); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(file.Name()); err != nil || string(got) != text {
		t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	s = &Stdio{}
	in, err := s.in(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); err != nil || string(got) != text {
		t.Errorf("read %d bytes of %d, %v", len(got), len(text), err)
	}
	s.Started(nil)
}

// TestNotRead: who does not read our output holds up the end until somebody asks for it, and a while longer; what the log gets is whole.
func TestNotRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	name := filepath.Join(t.TempDir(), logs.FileName)
	log, err := logs.OpenWriter(name, logs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &Stdio{o: StdioOptions{Log: log}, late: make(chan struct{})}
	theirs, err := s.out(logs.Stdout, w)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, w)
	const lines = 1500 // fit into the smallest pipe, which is what a user gets who has many (man 7 pipe, pipe-user-pages-soft)
	if _, err := theirs.WriteString(strings.Repeat("line\n", lines)); err != nil {
		t.Fatal(err)
	}
	s.Started(nil)
	asked, finished := make(chan struct{}), make(chan error, 1)
	go func() { finished <- s.Finish(asked) }()
	select {
	case err := <-finished:
		t.Fatalf("finished before anybody asked: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(asked)
	select {
	case err := <-finished:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience + 10*time.Second):
		t.Fatal("who does not read holds up the end for ever")
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(name); err != nil || strings.Count(string(got), "line") != lines {
		t.Errorf("%d of %d lines in the log, %v", strings.Count(string(got), "line"), lines, err)
	}
}

// fill writes to a pipe until nothing more goes in.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	conn, err := pipe.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, os.Getpagesize())
	if e := conn.Write(func(fd uintptr) bool {
		for err == nil {
			_, err = syscall.Write(int(fd), page)
		}
		return true
	}); e != nil || !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("fill a pipe: %v, %v", e, err)
	}
}

package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/logs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listening is a supervisor that answers, of a container that was never started.
func listening(t testing.TB) (*Supervisor, *Peer) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	dirs := state.Dirs{Data: dir, Run: dir, Config: dir}
	c, err := runtime.Create(dirs, runtime.Record{Name: "c", Ready: true})
	must(t, err)
	s := &Supervisor{Container: c, Bundle: &runtime.Bundle{
		Spec: &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{}}, StopSignal: 15, StopTimeout: 10,
	}}
	peer := Of(dirs, c.Record) // before anybody can change it
	must(t, s.Listen())
	return s, peer
}

// within fails where do takes longer than it may.
func within(t *testing.T, limit time.Duration, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { do(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s takes more than %v", what, limit)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// TestHalfCallers: those who say nothing, or nonsense, or leave at once are in nobody's way, and neither in that of the end.
func TestHalfCallers(t *testing.T) {
	before := openFiles(t)
	s, peer := listening(t)
	connect := func() *linux.Socket {
		conn, err := peer.connect()
		must(t, err)
		return conn
	}
	null, err := os.Open("/dev/null")
	must(t, err)
	r, w, err := os.Pipe()
	must(t, err)
	var kept []*linux.Socket
	for range 50 {
		kept = append(kept, connect()) // silent
		connect().Close()
	}
	for _, record := range []string{"x", "{", "null", "[]", `{"Op":7}`, `{"Op":""}`, `{"Op":"dance"}`, `{"Op":"exec"}`, `{"Op":"attach","Stdin":true}`, `{"Op":"wait"}`, strings.Repeat("x", linux.MaxRecord)} {
		conn := connect()
		must(t, conn.Send([]byte(record)))
		kept = append(kept, conn)
	}
	huge := connect()
	must(t, huge.Send(make([]byte, linux.MaxRecord+1)))
	if n, _, err := huge.Receive(make([]byte, 10)); n != 0 || err != nil {
		t.Errorf("after a huge record: %d bytes, %v", n, err)
	}
	kept = append(kept, huge)
	for _, files := range [][]*os.File{{null}, {null, null, null, null}, {r, null, null, null}, {null, null, null, null, null}, {null, null, null, null, null, null, null, null}} {
		conn := connect()
		must(t, conn.Send([]byte(`{"Op":"exec"}`), files...))
		var answer reply
		if _, err := receiveJSON(conn, &answer); len(files) <= 4 && (err != nil || answer.Error == "") {
			t.Errorf("exec with %d files: %+v, %v", len(files), answer, err)
		}
		conn.Close()
	}
	if err := peer.do(request{Op: opRename, Name: "../x"}); err == nil {
		t.Error("renamed to ../x")
	}
	must(t, peer.do(request{Op: opRename, Name: "other"}))
	if _, err := peer.Exec(ExecRequest{Args: []string{"true"}}, [3]*os.File{null, null, null}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("exec: %v", err)
	}
	waited := make(chan error, 1)
	go func() { _, err := peer.Wait(); waited <- err }()
	stopped := make(chan error, 1)
	go func() { stopped <- peer.do(request{Op: opStop}) }()
	for !s.isAsked() {
		time.Sleep(time.Millisecond)
	}
	within(t, time.Minute, "the end", func() { must(t, s.Close()) })
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := <-waited; !errors.Is(err, ErrNotRunning) {
		t.Errorf("wait: %v", err)
	}
	if _, err := peer.Wait(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("wait after the end: %v", err)
	}
	must(t, s.Container.Close())
	for _, conn := range kept {
		conn.Close()
	}
	for _, f := range []*os.File{null, r, w} {
		f.Close()
	}
	var after int
	for range 3000 {
		if after = openFiles(t); after <= before+2 { // Go's poller has come
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d files were open, and %d are", before, after)
}

// pair is a caller's connection and our end of it.
func pair(t testing.TB) (caller, ours *linux.Socket) {
	t.Helper()
	a, b, err := linux.SocketPair()
	must(t, err)
	caller, err = linux.AsSocket(a)
	must(t, err)
	ours, err = linux.AsSocket(b)
	must(t, err)
	t.Cleanup(func() { caller.Close() })
	return caller, ours
}

// TestDeafClient: of two who are attached one does not read. While the command runs the other waits for it, too; at the end it gets all,
// and the end.
func TestDeafClient(t *testing.T) {
	c := &clients{}
	_, deaf := pair(t)
	caller, ours := pair(t)
	for _, s := range []*linux.Socket{deaf, ours} {
		if !c.attach(s) {
			t.Fatal("not attached")
		}
	}
	var got bytes.Buffer
	var status *int
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, linux.MaxRecord)
		for {
			n, _, err := caller.Receive(buf)
			if n == 0 || err != nil {
				return
			}
			switch buf[0] {
			case frameStdout:
				got.Write(buf[1:n])
			case frameExit:
				var r reply
				if json.Unmarshal(buf[1:n], &r) == nil {
					status = r.Status
				}
			}
		}
	})
	chunk := bytes.Repeat([]byte("x"), 100_000)
	written := make(chan struct{})
	go func() {
		for range 20 {
			c.output(logs.Stdout, chunk)
		}
		close(written)
	}()
	select {
	case <-written:
		t.Error("output does not wait")
	case <-time.After(300 * time.Millisecond):
	}
	c.hurry(true)
	within(t, time.Minute, "the rest of the output", func() { <-written })
	c.hurry(false)
	_, deaf = pair(t)
	if !c.attach(deaf) {
		t.Fatal("not attached")
	}
	must(t, deaf.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
	for deaf.Send(chunk[:60_000]) == nil { // until its buffer is full
	}
	nine := 9
	within(t, time.Minute, "the end", func() { c.end(reply{Status: &nine}) })
	reading.Wait()
	if got.Len() != 20*len(chunk) || status == nil || *status != nine {
		t.Errorf("got %d bytes of %d, and status %v", got.Len(), 20*len(chunk), status)
	}
	if late, _ := pair(t); c.attach(late) {
		t.Error("attached after the end")
	}
}

// FuzzRequest answers whatever a caller may send.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"Op":"stop","Timeout":0}`, `{"Op":"signal","Signal":9}`, `{"Op":"attach","Stdin":true}`, `{"Op":"exec"}`, `{"Op":"wait"}`, `{"Op":"pause"}`,
		`{"Op":"rename","Name":"../x"}`, `{"Op":"update","Resources":{"memory":{"limit":1}},"Restart":{"Name":"no"}}`, `{`, "\x00", `{"Op":"stop","Timeout":-99999999999}`,
	} {
		f.Add([]byte(seed))
	}
	s, _ := listening(f)
	close(s.over)
	s.clients.gone = true
	f.Fuzz(func(t *testing.T, record []byte) {
		if len(record) > linux.MaxRecord {
			return
		}
		caller, ours := pair(t)
		must(t, caller.Send(record))
		if err := caller.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		go s.answer(ours)
		var r reply
		if _, err := receiveJSON(caller, &r); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("no answer to %q", record)
		}
	})
}

// FuzzFrames takes whatever somebody who is attached may send, and whatever a supervisor may answer.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{"itext", "c", `w{"Rows":1,"Cols":2}`, "w", `x{"Status":3}`, `x{"Error":"e"}`, "x", "z", `w{"Rows":-1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) == 0 || len(frame) > linux.MaxRecord {
			return
		}
		r, w, err := os.Pipe()
		must(t, err)
		defer r.Close()
		defer w.Close()
		c := &clients{}
		if c.setStdin(w, nil); frame[0] != frameStdin || len(frame) < 4096 {
			c.input(frame[0], frame[1:])
		}
		c.setStdin(w, w)
		if frame[0] != frameStdin {
			c.input(frame[0], frame[1:])
		}
		if frame[0] == frameStdout || frame[0] == frameStderr { // which it prints
			return
		}
		caller, ours := pair(t)
		must(t, ours.Send(frame))
		ours.Close()
		a := &Attached{conn: caller}
		if status, err := a.receive(); err != nil && status == 0 {
			t.Errorf("%q: status 0 with %v", frame, err)
		}
	})
}

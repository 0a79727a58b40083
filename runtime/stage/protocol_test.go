package stage

import (
	"errors"
	"io"
	"os"
	"reflect"
	"regexp"
	stdruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/internal/wire"
)

// drawing returns the words of doc.go's picture in their order: → for what the parent says, ← for what the child does.
func drawing(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for line := range strings.Lines(string(text)) {
		if m := regexp.MustCompile(`^//\t +([a-z]+)[^─]*─+►`).FindStringSubmatch(line); m != nil && m[1] != "clone" {
			words = append(words, "→"+m[1])
		}
		if m := regexp.MustCompile(`◄─+ ?([A-Za-z]+)`).FindStringSubmatch(line); m != nil {
			words = append(words, "←"+m[1])
		}
	}
	return words
}

// A fakeChild is the other end of a Sandbox: the test's own process, over a real socket.
type fakeChild struct {
	*testing.T
	control *os.File
}

// fake is a sandbox whose child is a process that just waits, while the test speaks for it.
func fake(t *testing.T) (*Sandbox, *fakeChild) {
	t.Helper()
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	prog := &linux.Program{}
	prog.CloseFrom(3) // at execve
	prog.Execve("/bin/sleep", []string{"sleep", "60"}, nil)
	stdruntime.LockOSThread()
	child, err := linux.Fork(0, prog)
	if err != nil {
		t.Fatal(err)
	}
	p := &Sandbox{PID: child.PID, control: ours, child: child, mapped: make(chan error, 1)}
	p.mapped <- nil
	return p, &fakeChild{t, theirs}
}

func (c *fakeChild) hear(word string) (passed int) {
	c.Helper()
	buf := make([]byte, 100)
	n, fd, err := linux.Receive(int(c.control.Fd()), buf)
	if err != nil || string(buf[:n]) != word {
		c.Errorf("heard %q, %v; want %q", buf[:n], err, word)
	}
	return fd
}

func (c *fakeChild) tell(m message, fd int) {
	c.Helper()
	if err := linux.Send(int(c.control.Fd()), wire.Encode(m.fields), fd); err != nil {
		c.Errorf("tell %s: %v", m.Kind, err)
	}
}

// TestDrawing walks the picture of the package comment, word by word, against the parent's code.
func TestDrawing(t *testing.T) {
	want := []string{"→plan", "→mapped", "←alive", "←step", "→go", "←console", "←exec", "←EOF", "←failed"}
	if got := drawing(t); !slices.Equal(got, want) {
		t.Fatalf("doc.go draws %q\nthis test walks %q", got, want)
	}
	plan := &Plan{Name: "p", Explain: true, Step: true, Terminal: true}
	for _, fails := range []bool{false, true} {
		p, child := fake(t)
		var told, paused []string
		result := make(chan error, 1)
		go func() {
			result <- p.Start(Options{
				Plan:    plan,
				Narrate: func(e Event) { told = append(told, e.Who+" "+e.Step) },
				Pause:   func(e Event) error { paused = append(paused, e.Step); return nil },
			})
		}()
		fd := child.hear("plan")
		f := os.NewFile(uintptr(fd), "plan")
		data, err := io.ReadAll(f)
		received := &Plan{}
		if err != nil || wire.Decode(data, received.fields) != nil || !reflect.DeepEqual(received, plan) {
			t.Errorf("the plan is %s, %v", data, err)
		}
		if w, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), os.O_WRONLY, 0); err == nil {
			if _, err := w.Write([]byte("x")); !errors.Is(err, syscall.EPERM) {
				t.Errorf("the plan is not sealed: %v", err)
			}
			w.Close()
		}
		f.Close()
		child.hear("mapped")
		child.tell(message{Kind: "alive"}, -1)
		child.tell(message{Kind: "step", Event: &Event{Step: "overlay", Who: Role, Before: true}}, -1)
		child.hear("go")
		child.tell(message{Kind: "step", Event: &Event{Step: "overlay", Who: Role}}, -1)
		terminal, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		child.tell(message{Kind: "console"}, int(terminal.Fd()))
		terminal.Close()
		child.tell(message{Kind: "exec"}, -1)
		if fails {
			child.tell(message{Kind: "failed", Fail: &Failure{Step: "exec", Text: "no", Hint: "do", Exit: 127, Errno: syscall.ENOENT}}, -1)
		}
		child.control.Close()
		err = <-result
		if !slices.Equal(told, []string{"minipod id-map", "sandbox overlay"}) || !slices.Equal(paused, []string{"overlay"}) {
			t.Errorf("told %q, paused at %q", told, paused)
		}
		if fails {
			var failure *Failure
			if !errors.As(err, &failure) || failure.Step != "exec" || hint.ExitStatus(err, 0) != 127 || hint.Of(err) != "do" || !errors.Is(err, syscall.ENOENT) {
				t.Errorf("the child failed: %#v", err)
			}
			continue
		}
		if err != nil || p.Console == nil {
			t.Errorf("start: %v, console %v", err, p.Console)
		}
		if err := p.Abandon(); err != nil {
			t.Error(err)
		}
	}
}

// TestBrokenChild ends the conversation at each point, or says what is not in the picture: Start returns an error at once, and
// the process is gone.
func TestBrokenChild(t *testing.T) {
	for name, talk := range map[string]func(*fakeChild){
		"silent":            func(*fakeChild) {},
		"after plan":        func(c *fakeChild) { linux.Close(c.hear("plan")) },
		"after mapped":      func(c *fakeChild) { linux.Close(c.hear("plan")); c.hear("mapped") },
		"after alive":       func(c *fakeChild) { c.tell(message{Kind: "alive"}, -1) },
		"announced exec":    func(c *fakeChild) { c.tell(message{Kind: "step", Event: &Event{Step: "exec", Before: true}}, -1) },
		"unknown":           func(c *fakeChild) { c.tell(message{Kind: "hello"}, -1) },
		"no kind":           func(c *fakeChild) { c.tell(message{}, -1) },
		"no JSON":           func(c *fakeChild) { _ = linux.Send(int(c.control.Fd()), []byte("{"), -1) },
		"half a step":       func(c *fakeChild) { c.tell(message{Kind: "step"}, -1) },
		"half a failure":    func(c *fakeChild) { c.tell(message{Kind: "failed"}, -1) },
		"console, no fd":    func(c *fakeChild) { c.tell(message{Kind: "console"}, -1) },
		"a stray fd":        func(c *fakeChild) { c.tell(message{Kind: "exec"}, 0) },
		"a stray fd, alive": func(c *fakeChild) { c.tell(message{Kind: "alive"}, 0) },
		"a long record": func(c *fakeChild) {
			_ = linux.Send(int(c.control.Fd()), []byte(`{"kind":"`+strings.Repeat("x", 70<<10)+`"}`), -1)
		},
	} {
		before := descriptors(t)
		p, child := fake(t)
		began := time.Now()
		result := make(chan error, 1)
		go func() { result <- p.Start(Options{Plan: &Plan{}}) }()
		talk(child)
		child.control.Close()
		if err := <-result; err == nil || time.Since(began) > time.Minute {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
		if err := syscall.Kill(p.PID, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s: the process is still there: %v", name, err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%s: descriptors before %d, after %d", name, before, after)
		}
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestNotExecuted forks a child whose first calls fail: the error names the call, however fast the child ended.
func TestNotExecuted(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("needs an ordinary user: minipod never runs as root (make test makes one)")
	}
	for _, wait := range []time.Duration{0, 50 * time.Millisecond} {
		stdruntime.LockOSThread()
		o := Options{Plan: &Plan{}, MapIDs: func(int) error { return nil }, Stdio: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}}
		p, err := Fork(o) // in our own namespaces it may raise no ambient capability
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(wait)
		var call *linux.CallError
		if err := p.Start(o); !errors.As(err, &call) || !errors.Is(err, syscall.EPERM) {
			t.Errorf("after %v: %v is not the call's error", wait, err)
		}
	}
}

// TestEveryField fills each type that goes over the socket with values, and expects all of them at the other end: a field that
// somebody adds to the type alone would stay behind.
func TestEveryField(t *testing.T) {
	count := 0
	check := func(sent, got any, encode, decode func(*wire.Codec)) {
		t.Helper()
		fill(t, reflect.ValueOf(sent).Elem(), &count)
		if err := wire.Decode(wire.Encode(encode), decode); err != nil || !reflect.DeepEqual(sent, got) {
			t.Errorf("%#v came back as %#v: %v", sent, got, err)
		}
	}
	var plan, planGot Plan
	check(&plan, &planGot, plan.fields, planGot.fields)
	var m, mGot message
	check(&m, &mGot, m.fields, mGot.fields)
	var e, eGot entry
	check(&e, &eGot, e.fields, eGot.fields)
	var answer, answerGot entered
	check(&answer, &answerGot, answer.fields, answerGot.fields)
	if count < 80 {
		t.Errorf("only %d values were filled in", count)
	}
}

// fill gives every field a value of its own.
func fill(t *testing.T, v reflect.Value, count *int) {
	t.Helper()
	*count++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), count)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), count)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), count)
		fill(t, v.Index(1), count)
	case reflect.String:
		v.SetString("value " + strconv.Itoa(*count))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(-*count))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(uint64(*count))
	default:
		t.Fatalf("a field of kind %s: teach this test and package wire about it", v.Kind())
	}
}

// FuzzDecode reads records from a child that is not ours: none may panic, and no descriptor that came along stays open.
func FuzzDecode(f *testing.F) {
	for _, m := range []message{
		{Kind: "alive"},
		{Kind: "exec"},
		{Kind: "console"},
		{Kind: "step", Event: &Event{Step: "overlay", Calls: []CallResult{{"mount", "ok"}}, Micros: 7, Before: true}},
		{Kind: "failed", Fail: &Failure{Step: "user", Text: "no", Exit: 125, Errno: syscall.ENOENT}},
	} {
		data := wire.Encode(m.fields)
		f.Add(data, false)
		f.Add(data, true)
		f.Add(data[:len(data)/2], true)
	}
	for _, m := range []message{{Kind: "step"}, {Kind: "failed"}, {Kind: "failed", Fail: &Failure{}}, {Kind: "failed", Fail: &Failure{Errno: ^syscall.Errno(0)}}} {
		f.Add(wire.Encode(m.fields), true)
	}
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, record []byte, withFD bool) {
		fd := -1
		if withFD {
			file, err := os.Open("/dev/null")
			if err != nil {
				t.Fatal(err)
			}
			if fd, err = linux.DupHigh(file); err != nil {
				t.Fatal(err)
			}
			file.Close()
		}
		sent := fd
		m, fd, err := decode(record, fd)
		if fd >= 0 {
			if m.Kind != "console" || err != nil {
				t.Errorf("%q with a descriptor: %v", m.Kind, err)
			}
			linux.Close(fd)
		} else if sent >= 0 {
			if _, e := linux.StatFD(sent); e == nil {
				t.Errorf("the descriptor that came with %q is still open", record)
			}
		}
		if err == nil && (m.Kind == "step" && m.Event == nil || m.Kind == "failed" && m.Fail.Error() == "") {
			t.Errorf("%+v", m)
		}
	})
}

// FuzzPlan: a plan survives its way through the file.
func FuzzPlan(f *testing.F) {
	f.Add("name", "sh", "PATH=/bin", "/", "root", uint64(0xa80425fb), []byte{6, 0, 0, 0, 0, 0, 0xff, 0x7f})
	f.Add("", "\x00\xff\xfe", "=\u2028", "\\", ":", uint64(1)<<63, []byte(nil))
	f.Fuzz(func(t *testing.T, name, arg, env, cwd, user string, set uint64, filter []byte) {
		plan := Plan{Name: name, Process: Process{Args: []string{arg}, Env: []string{env}, Cwd: cwd, User: user, Bounding: set, Seccomp: filter}}
		var got Plan
		if err := wire.Decode(wire.Encode(plan.fields), got.fields); err != nil {
			t.Fatal(err)
		}
		if len(filter) == 0 {
			plan.Process.Seccomp = nil
		}
		if !reflect.DeepEqual(got, plan) {
			t.Errorf("%+v came back as %+v", plan, got)
		}
	})
}

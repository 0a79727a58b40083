package cgroup

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"codeberg.org/minipod/minipod/internal/dbus"
)

// A manager answers like systemd's at a socket without a bus, by a script: what it says to each call of a member, in turn.
type manager struct {
	mu     sync.Mutex
	calls  []dbus.Message
	script map[string][]reply
}

type reply struct {
	signals []dbus.Message // sent before the answer
	err     string         // the name of an error, or
	sig     string         // the answer's values
	body    []byte
	act     func() // done before the answer
	later   []dbus.Message
}

func (m *manager) listen(t *testing.T) (socket string) {
	dir, err := os.MkdirTemp("", "bus") // t.TempDir's names are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "private")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go m.serve(c)
		}
	}()
	return socket
}

func (m *manager) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	in.ReadString('\n')
	io.WriteString(c, "OK 0\r\n")
	in.ReadString('\n')
	for {
		call, err := dbus.Read(in)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.calls = append(m.calls, *call)
		r := reply{err: "org.freedesktop.DBus.Error.UnknownMethod"}
		if script := m.script[call.Member]; len(script) > 0 {
			r, m.script[call.Member] = script[0], script[1:]
		}
		m.mu.Unlock()
		if r.act != nil {
			r.act()
		}
		answer := dbus.Message{Kind: dbus.MethodReturn, Serial: 1, ReplySerial: call.Serial, Signature: r.sig, Body: r.body}
		if r.err != "" {
			answer.Kind, answer.Error = dbus.ErrorReply, r.err
		}
		for _, message := range slices.Concat(r.signals, []dbus.Message{answer}, r.later) {
			c.Write(message.Marshal())
		}
	}
}

func values(f func(e *dbus.Encoder)) []byte {
	var e dbus.Encoder
	f(&e)
	return e.Bytes()
}

func signal(member, signature string, body []byte) dbus.Message {
	return dbus.Message{
		Kind: dbus.Signal, Serial: 1, Path: managerPath, Interface: managerType, Member: member, Signature: signature, Body: body,
	}
}

func removed(job, result string) dbus.Message {
	return signal("JobRemoved", "uoss", values(func(e *dbus.Encoder) { e.Uint32(1); e.String(job); e.String("x.scope"); e.String(result) }))
}

const (
	job  = "/org/freedesktop/systemd1/job/7"
	unit = "minipod-0123456789ab.scope"
)

// started is systemd's answer when it works: here the signal comes after it.
func started(act func()) reply {
	return reply{sig: "o", body: values(func(e *dbus.Encoder) { e.String(job) }), later: []dbus.Message{removed(job, "done")}, act: act}
}

func TestScope(t *testing.T) {
	gone := signal("UnitRemoved", "so", values(func(e *dbus.Encoder) { e.String(unit); e.String("/x") }))
	other := signal("UnitRemoved", "so", values(func(e *dbus.Encoder) { e.String("a.scope"); e.String("/x") }))
	for name, tt := range map[string]struct {
		script map[string][]reply
		want   string // in the error
		parent string
	}{
		"works":      {map[string][]reply{"StartTransientUnit": {started(nil)}}, "", ""},
		"in a slice": {map[string][]reply{"StartTransientUnit": {started(nil)}}, "", "my.slice"},
		"signals come early": {map[string][]reply{"StartTransientUnit": {
			{sig: "o", body: values(func(e *dbus.Encoder) { e.String(job) }), signals: []dbus.Message{removed("/job/6", "failed"), other, removed(job, "done")}},
		}}, "", ""},
		"the job fails": {map[string][]reply{"StartTransientUnit": {
			{sig: "o", body: values(func(e *dbus.Encoder) { e.String(job) }), later: []dbus.Message{removed(job, "timeout")}},
		}}, "result is timeout", ""},
		"an earlier scope goes": {map[string][]reply{
			"StartTransientUnit": {{err: "org.freedesktop.systemd1.UnitExists"}, started(nil)},
			"ResetFailedUnit":    {{}},
			"GetUnit":            {{sig: "o", body: values(func(e *dbus.Encoder) { e.String("/x") }), later: []dbus.Message{other, gone}}},
		}, "", ""},
		"an earlier scope went": {map[string][]reply{
			"StartTransientUnit": {{err: "org.freedesktop.systemd1.UnitExists"}, started(nil)},
			"GetUnit":            {{err: "org.freedesktop.systemd1.NoSuchUnit"}},
		}, "", ""},
		"a unit of that name": {map[string][]reply{
			"StartTransientUnit": {{err: "org.freedesktop.systemd1.UnitExists"}, {err: "org.freedesktop.systemd1.UnitExists"}},
			"GetUnit":            {{err: "org.freedesktop.systemd1.NoSuchUnit"}},
		}, "UnitExists", ""},
		"refuses":    {map[string][]reply{"StartTransientUnit": {{err: "org.freedesktop.DBus.Error.AccessDenied"}}}, "AccessDenied", ""},
		"nonsense":   {map[string][]reply{"StartTransientUnit": {{sig: "u", body: make([]byte, 4)}}}, "malformed", ""},
		"no manager": {map[string][]reply{"StartTransientUnit": {{err: "org.freedesktop.DBus.Error.ServiceUnknown"}}}, ErrNoBus.Error(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := &manager{script: tt.script}
			o := Options{PID: 4711, Description: "words", Parent: tt.parent, Buses: []string{"unix:path=/no/such", m.listen(t)}}
			err := o.startScope(unit)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			call := m.calls[0]
			if call.Path != managerPath || call.Interface != managerType || call.Destination != managerName || call.Signature != "ssa(sv)a(sa(sv))" {
				t.Errorf("it was asked %+v", call)
			}
			if has := strings.Contains(string(call.Body), "my.slice"); has != (tt.parent != "") || !strings.Contains(string(call.Body), unit) {
				t.Errorf("it was asked %q", call.Body)
			}
		})
	}
}

// TestNewInScope: the whole way with a manager that does what systemd does to the tree.
func TestNewInScope(t *testing.T) {
	f := newTree(t, "/session-1.scope")
	scope := filepath.Join("user@1.service", unit)
	m := &manager{script: map[string][]reply{"StartTransientUnit": {started(func() {
		f.group(scope, "cpu memory")
		f.write(filepath.Join(f.proc, strconv.Itoa(os.Getpid()), "cgroup"), "0::/"+scope+"\n")
		// What the kernel puts into groups that we make, a folder can't.
		f.write(filepath.Join(f.mount, scope, "supervisor/cgroup.procs"), "")
	})}}}
	o := f.options()
	o.Buses = []string{m.listen(t)}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(f.mount, scope)
	if g.Unit != unit || g.Path != filepath.Join(base, "container") {
		t.Errorf("%+v", g)
	}
	if text, _ := read(base, "supervisor/cgroup.procs"); text != strconv.Itoa(os.Getpid()) {
		t.Errorf("the supervisor's group got %q", text)
	}
	if text, _ := read(base, "cgroup.subtree_control"); text != "+memory" && text != "+cpu+memory" && !strings.Contains(text, "+") {
		t.Errorf("handed down: %q", text)
	}
	if err := errors.Join(g.Remove(), g.Remove()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(g.Path); err == nil {
		t.Error("the container's group is still there")
	}
}

func TestAttachByManager(t *testing.T) {
	m := &manager{script: map[string][]reply{"AttachProcessesToUnit": {{}, {err: "org.freedesktop.DBus.Error.InvalidArgs"}}}}
	socket := []string{m.listen(t)}
	if err := attachByManager(socket, unit, "/container", 5); err != nil {
		t.Error(err)
	}
	if call := m.calls[0]; call.Signature != "ssau" || !strings.Contains(string(call.Body), "/container\x00") {
		t.Errorf("it was asked %+v", call)
	}
	if err := attachByManager(socket, unit, "/container", 5); err == nil || errors.Is(err, ErrNoBus) {
		t.Errorf("refused: %v", err)
	}
	if err := attachByManager(nil, unit, "/container", 5); !errors.Is(err, ErrNoBus) {
		t.Errorf("nobody: %v", err)
	}
}

func TestUserManagers(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:abstract=x")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	if got := userManagers(); !slices.Equal(got, []string{"unix:abstract=x", "unix:path=/run/user/7/bus", "/run/user/7/systemd/private"}) {
		t.Errorf("%q", got)
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	dir := "/run/user/" + strconv.Itoa(os.Geteuid())
	if got := userManagers(); !slices.Equal(got, []string{"unix:path=" + dir + "/bus", dir + "/systemd/private"}) {
		t.Errorf("%q", got)
	}
}

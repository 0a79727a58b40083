package dbus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// shortDir is a t.TempDir whose name leaves room for a socket's: both together may have 107 bytes.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "bus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func soon() time.Time { return time.Now().Add(time.Minute) }

// TestMessageOnTheWire compares with bytes that were worked out by hand from the specification.
func TestMessageOnTheWire(t *testing.T) {
	var body Encoder
	body.String("minipod")
	body.Array(8, func() { // a(sv)
		body.Struct()
		body.String("Delegate")
		body.Signature("b")
		body.Bool(true)
	})
	m := &Message{Kind: MethodCall, Serial: 7, Path: "/a", Interface: "b.c", Member: "D", Destination: "e.f", Signature: "sa(sv)", Body: body.Bytes()}
	wire := m.Marshal()
	const want = "l\x01\x00\x01" + "\x24\x00\x00\x00" + "\x07\x00\x00\x00" + "\x4c\x00\x00\x00" +
		"\x01\x01o\x00" + "\x02\x00\x00\x00/a\x00" + "\x00\x00\x00\x00\x00" +
		"\x02\x01s\x00" + "\x03\x00\x00\x00b.c\x00" + "\x00\x00\x00\x00" +
		"\x03\x01s\x00" + "\x01\x00\x00\x00D\x00" + "\x00\x00\x00\x00\x00\x00" +
		"\x06\x01s\x00" + "\x03\x00\x00\x00e.f\x00" + "\x00\x00\x00\x00" +
		"\x08\x01g\x00" + "\x06sa(sv)\x00" + "\x00\x00\x00\x00" +
		"\x07\x00\x00\x00minipod\x00" + "\x14\x00\x00\x00" +
		"\x08\x00\x00\x00Delegate\x00" + "\x01b\x00" + "\x01\x00\x00\x00"
	if string(wire) != want {
		t.Errorf("wrote\n%q, want\n%q", wire, want)
	}
	got, err := decode(wire)
	if err != nil {
		t.Fatal(err)
	}
	m.order = binary.LittleEndian
	if !reflect.DeepEqual(got, m) {
		t.Errorf("read %+v, want %+v", got, m)
	}
}

func TestDecodeBigEndian(t *testing.T) {
	const signal = "B\x04\x01\x01" + "\x00\x00\x00\x08" + "\x00\x00\x00\x09" + "\x00\x00\x00\x1f" +
		"\x05\x01u\x00" + "\x00\x00\x00\x03" + // REPLY_SERIAL
		"\x77\x01t\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x05" + // a field that does not exist yet
		"\x08\x01g\x00" + "\x01s\x00" + "\x00" + // SIGNATURE
		"\x00\x00\x00\x03abc\x00"
	m, err := decode([]byte(signal))
	if err != nil || m.Kind != Signal || m.Serial != 9 || m.ReplySerial != 3 {
		t.Fatalf("%+v, %v", m, err)
	}
	values := m.Values("s")
	if text := values.String(); text != "abc" || values.Err() != nil {
		t.Errorf("%q, %v", text, values.Err())
	}
	if values.Uint32(); !errors.Is(values.Err(), errMalformed) {
		t.Errorf("behind the end: %v", values.Err())
	}
	if other := m.Values("u"); other.Uint32() != 0 || !errors.Is(other.Err(), errMalformed) {
		t.Errorf("as another type: %v", other.Err())
	}
}

func FuzzDecode(f *testing.F) {
	f.Add((&Message{Kind: MethodCall, Serial: 1, Path: "/a", Member: "B", Signature: "s", Body: []byte("\x01\x00\x00\x00x\x00")}).Marshal())
	f.Add([]byte("B\x04\x01\x01\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x08\x05\x01u\x00\x00\x00\x00\x03"))
	f.Add([]byte("l\x02\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decode(data)
		if err != nil {
			return
		}
		if len(m.Body) > len(data) {
			t.Error("the body is longer than the message")
		}
		d := m.Values(m.Signature)
		for d.Err() == nil && d.pos < len(d.data) { // whatever the bytes are, it comes to an end within them
			before := d.pos
			_, _, _ = d.Uint32(), d.String(), d.Signature()
			if d.pos <= before {
				t.Fatal("it stands still")
			}
		}
	})
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string][]string{
		"unix:path=/run/user/1000/bus":                       {"/run/user/1000/bus"},
		"unix:abstract=/tmp/dbus-x,guid=00":                  {"@/tmp/dbus-x"},
		"tcp:host=h,port=1;unix:path=/a%20b;unix:path=/c,k=": {"/a b", "/c"},
		"":                   nil,
		"unix:path=":         nil,
		"unix:path=/x%2":     nil,
		"unix:path=/x%zz":    nil,
		"unixexec:path=/bin": nil,
	} {
		if got, err := sockets(address); !reflect.DeepEqual(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%q: %q, %v", address, got, err)
		}
	}
}

// TestBus talks with the reference implementation.
func TestBus(t *testing.T) {
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skip("dbus-daemon is not installed")
	}
	socket := filepath.Join(shortDir(t), "bus")
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address", "--address=unix:path="+socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}

	c, err := DialBus("unix:path=/no/such/bus;"+strings.TrimSpace(address), soon())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reply, err := c.Call(busName, busPath, busName, "GetId", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if id := reply.Values("s").String(); len(id) != 32 {
		t.Errorf("the bus's id is %q", id)
	}
	if err := c.Match("type='signal',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.example.minipod'"); err != nil {
		t.Fatal(err)
	}
	var name Encoder
	name.String("org.example.minipod")
	name.Uint32(0)
	if _, err := c.Call(busName, busPath, busName, "RequestName", "su", name.Bytes()); err != nil {
		t.Fatal(err)
	}
	for { // NameAcquired comes to everybody, unasked
		signal, err := c.NextSignal()
		if err != nil {
			t.Fatal(err)
		}
		if signal.Member != "NameOwnerChanged" {
			continue
		}
		values := signal.Values("sss")
		if who, old, now := values.String(), values.String(), values.String(); who != "org.example.minipod" || old != "" || now == "" || values.Err() != nil {
			t.Errorf("%q from %q to %q, %v", who, old, now, values.Err())
		}
		break
	}
	_, err = c.Call("org.example.nobody", "/", "org.example", "Nothing", "", nil)
	var refused *Error
	if !errors.As(err, &refused) || refused.Name != "org.freedesktop.DBus.Error.ServiceUnknown" || refused.Message == "" {
		t.Errorf("to nobody: %v", err)
	}
}

// TestHostilePeers: whatever they answer, there is an error, and in time.
func TestHostilePeers(t *testing.T) {
	for name, tt := range map[string]struct{ login, answer, want string }{
		"refuses":          {"REJECTED EXTERNAL\r\n", "", "refused"},
		"hangs up":         {"", "", "EOF"},
		"no line's end":    {strings.Repeat("O", 1<<13), "", "full"},
		"garbage":          {"OK x\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "byte order"},
		"too long":         {"OK x\r\n", "l\x02\x00\x01\xff\xff\xff\xff\x01\x00\x00\x00\xff\xff\xff\xff", "too many"},
		"cut":              {"OK x\r\n", "l\x02\x00\x01\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00abc", "EOF"},
		"another version":  {"OK x\r\n", "l\x02\x00\x02\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00", "version"},
		"a bad field":      {"OK x\r\n", "l\x02\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00\x01\x01s\x00\xff\xff\xff\xff", "does not fit"},
		"a field of a (s)": {"OK x\r\n", "l\x02\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00\x01\x03(s)\x00\x00\x00", "does not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(shortDir(t), "s")
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			go func() {
				peer, err := listener.Accept()
				if err != nil {
					return
				}
				defer peer.Close()
				in := bufio.NewReader(peer)
				in.ReadString('\n')
				io.WriteString(peer, tt.login)
				if tt.answer != "" {
					in.ReadString('\n')
					io.WriteString(peer, tt.answer)
				}
				peer.(*net.UnixConn).CloseWrite()
				io.Copy(io.Discard, in) // or what the client still writes breaks its pipe
			}()
			c, err := DialPeer(socket, soon())
			if err == nil {
				_, err = c.Call("", "/", "a.b", "C", "", nil)
				c.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want something about %q", err, tt.want)
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	socket := filepath.Join(shortDir(t), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if _, err := DialPeer(socket, time.Now().Add(20*time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a peer that says nothing: %v", err)
	}
	if _, err := DialPeer(filepath.Join(t.TempDir(), "none"), soon()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no peer: %v", err)
	}
}

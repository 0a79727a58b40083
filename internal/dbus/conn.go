package dbus

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A Conn is a connection, for one goroutine. Its owner calls Close.
type Conn struct {
	file    *os.File
	in      *bufio.Reader
	serial  uint32
	pending []*Message // signals that came while we waited for something else
}

// The bus itself, as a destination, an object and an interface.
const (
	busName = "org.freedesktop.DBus"
	busPath = "/org/freedesktop/DBus"
)

// An Error is the answer to a call that did not work.
type Error struct {
	Name    string // org.freedesktop.systemd1.UnitExists
	Message string
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Name
	}
	return e.Message + " (" + e.Name + ")"
}

// DialBus connects to a message bus by its address, as DBUS_SESSION_BUS_ADDRESS has it. All of the conversation must be over
// at the deadline.
func DialBus(address string, deadline time.Time) (*Conn, error) {
	paths, err := sockets(address)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		c, dialErr := DialPeer(path, deadline)
		if dialErr != nil {
			err = errors.Join(err, dialErr)
			continue
		}
		if _, dialErr = c.Call(busName, busPath, busName, "Hello", "", nil); dialErr != nil {
			c.Close()
			return nil, fmt.Errorf("greet the bus at %s: %w", path, dialErr)
		}
		return c, nil
	}
	return nil, err
}

// DialPeer connects to a program that speaks D-Bus at the socket path without a bus in between: there is nobody to greet
// and nothing to subscribe to, and it ignores destinations.
func DialPeer(path string, deadline time.Time) (*Conn, error) {
	file, err := linux.DialUnix(path)
	if err != nil {
		return nil, err
	}
	c := &Conn{file: file, in: bufio.NewReader(file)}
	if err := file.SetDeadline(deadline); err != nil {
		c.Close()
		return nil, err
	}
	if err := c.authenticate(); err != nil {
		c.Close()
		return nil, fmt.Errorf("log in at %s: %w", path, err)
	}
	return c, nil
}

// sockets returns those of an address's alternatives that we can connect to: "unix:path=/run/user/1000/bus;tcp:…".
func sockets(address string) (paths []string, err error) {
	for alternative := range strings.SplitSeq(address, ";") {
		values, isUnix := strings.CutPrefix(alternative, "unix:")
		if !isUnix {
			continue
		}
		for pair := range strings.SplitSeq(values, ",") {
			key, value, _ := strings.Cut(pair, "=")
			path, ok := unescape(value)
			switch {
			case !ok || path == "":
			case key == "path":
				paths = append(paths, path)
			case key == "abstract":
				paths = append(paths, "@"+path)
			}
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("the D-Bus address %q names no unix socket", address)
	}
	return paths, nil
}

// unescape undoes the %XX of an address.
func unescape(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), true
}

// authenticate is the only text in the protocol: a NUL, which once carried credentials, and lines.
func (c *Conn) authenticate() error {
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid())))
	if _, err := c.file.WriteString("\x00AUTH EXTERNAL " + uid + "\r\n"); err != nil {
		return err
	}
	line, err := c.in.ReadSlice('\n') // at most the reader's 4 KiB
	if err != nil {
		return err
	}
	if answer := strings.TrimSpace(string(line)); answer != "OK" && !strings.HasPrefix(answer, "OK ") {
		return fmt.Errorf("refused: %q", answer)
	}
	_, err = c.file.WriteString("BEGIN\r\n")
	return err
}

// SetDeadline sets another time by which the conversation must be over.
func (c *Conn) SetDeadline(deadline time.Time) error { return c.file.SetDeadline(deadline) }

// Close ends the connection.
func (c *Conn) Close() { c.file.Close() }

// Call calls a method and returns its answer. An *Error is the callee's. The body must fit the signature.
func (c *Conn) Call(destination, path, iface, member, signature string, body []byte) (*Message, error) {
	c.serial++
	call := Message{
		Kind: MethodCall, Serial: c.serial, Destination: destination, Path: path, Interface: iface, Member: member,
		Signature: signature, Body: body,
	}
	if _, err := c.file.Write(call.Marshal()); err != nil {
		return nil, fmt.Errorf("call %s: %w", member, err)
	}
	for {
		m, err := Read(c.in)
		switch {
		case err != nil:
			return nil, fmt.Errorf("call %s: %w", member, err)
		case m.Kind == Signal:
			c.pending = append(c.pending, m)
		case m.ReplySerial != call.Serial:
		case m.Kind == MethodReturn:
			return m, nil
		case m.Kind == ErrorReply:
			reply := &Error{Name: m.Error}
			if strings.HasPrefix(m.Signature, "s") { // by convention the text for a person
				reply.Message = m.Values(m.Signature).String()
			}
			return nil, fmt.Errorf("call %s: %w", member, reply)
		}
	}
}

// Match has the bus send us the signals that the rule describes.
func (c *Conn) Match(rule string) error {
	var e Encoder
	e.String(rule)
	_, err := c.Call(busName, busPath, busName, "AddMatch", "s", e.Bytes())
	return err
}

// NextSignal returns the next signal, one that has come already or the first to come.
func (c *Conn) NextSignal() (*Message, error) {
	if len(c.pending) > 0 {
		m := c.pending[0]
		c.pending = c.pending[1:]
		return m, nil
	}
	for {
		if m, err := Read(c.in); err != nil || m.Kind == Signal {
			return m, err
		}
	}
}

package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// ErrDetached says that the user typed the keys that leave a container alone.
var ErrDetached = errors.New("detached")

// AttachOptions say what of us takes part.
type AttachOptions struct {
	Stdin bool
	TTY   bool   // the container's command has a terminal
	Keys  string // typed at a terminal, they leave the container alone: see ParseKeys
}

// An Attached is a connection to a container's stdin, stdout and stderr. Its owner calls Run.
type Attached struct {
	conn *linux.Socket
	o    AttachOptions
}

// Attach connects our stdin, stdout and stderr with the container's. What the command writes from now on is kept until Run.
func (p *Peer) Attach(o AttachOptions) (*Attached, error) {
	conn, _, err := p.ask(request{Op: opAttach, Stdin: o.Stdin})
	if err != nil {
		return nil, err
	}
	if o.TTY && o.Stdin && !linux.IsTerminal(0) {
		err := hint.Wrap(errors.New("the input device is not a TTY"), "the container has a terminal: attach from one, or leave stdin out")
		return nil, errors.Join(err, conn.Close())
	}
	return &Attached{conn, o}, nil
}

// Run copies until the container ends, and returns its command's exit status; or until the user types the keys: ErrDetached.
func (a *Attached) Run() (status int, err error) {
	var raw *rawTerminal
	if a.o.TTY {
		a.Resize()
		if a.o.Stdin {
			if raw, err = makeRaw(); err != nil {
				return hint.ExitRuntime, err
			}
			defer func() { err = errors.Join(err, raw.restore()) }()
		}
	}
	detached := make(chan struct{})
	if a.o.Stdin {
		go a.send(detached)
	}
	ended := make(chan struct{})
	go func() {
		status, err = a.receive()
		close(ended)
	}()
	select {
	case <-ended:
		return status, err
	case <-detached:
		a.conn.Close()
		<-ended
		return 0, ErrDetached
	}
}

// Resize gives the container's terminal the size of ours.
func (a *Attached) Resize() {
	size, err := linux.WindowSizeOf(1)
	if err != nil || !a.o.TTY {
		return
	}
	if data, err := json.Marshal(size); err == nil {
		_ = a.conn.Send(append([]byte{frameWindow}, data...))
	}
}

// send hands our stdin on until its end or the keys. A read of a terminal can't be called off, so it may outlive Run.
func (a *Attached) send(detached chan struct{}) {
	keys := keyWatch{keys: []byte(a.o.Keys)}
	if !a.o.TTY {
		keys.keys = nil
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := os.Stdin.Read(buf[1:])
		data, typed := keys.pass(buf[1 : 1+n])
		if len(data) > 0 && a.conn.Send(append([]byte{frameStdin}, data...)) != nil {
			return
		}
		if typed {
			close(detached)
			return
		}
		if err != nil {
			_ = a.conn.Send([]byte{frameClose})
			return
		}
	}
}

// receive prints what the command writes, and learns its end.
func (a *Attached) receive() (int, error) {
	defer a.conn.Close()
	buf := make([]byte, linux.MaxRecord)
	for {
		n, files, err := a.conn.Receive(buf)
		closeAll(files)
		if err != nil {
			return hint.ExitRuntime, err
		}
		if n == 0 {
			return hint.ExitRuntime, errGone
		}
		switch buf[0] {
		case frameStdout:
			_, err = os.Stdout.Write(buf[1:n])
		case frameStderr:
			_, err = os.Stderr.Write(buf[1:n])
		case frameExit:
			var r reply
			if err := json.Unmarshal(buf[1:n], &r); err != nil || r.Status == nil {
				return hint.ExitRuntime, errors.Join(errGone, err)
			}
			return *r.Status, nil
		}
		if err != nil {
			return hint.ExitRuntime, fmt.Errorf("write the container's output: %w", err)
		}
	}
}

// A keyWatch looks for a sequence of keys in what is typed. The beginning of one is held back until it is clear what it is.
type keyWatch struct {
	keys []byte
	seen int
}

// pass returns what of typed goes on to the command, and whether the keys were typed.
func (k *keyWatch) pass(typed []byte) (rest []byte, found bool) {
	if len(k.keys) == 0 {
		return typed, false
	}
	for _, b := range typed {
		held := append(slices.Clone(k.keys[:k.seen]), b)
		first := 0 // of held: from here on it may be the beginning of the keys
		for !bytes.HasPrefix(k.keys, held[first:]) {
			first++
		}
		rest = append(rest, held[:first]...)
		if k.seen = len(held) - first; k.seen == len(k.keys) {
			k.seen = 0
			return rest, true
		}
	}
	return rest, false
}

// ParseKeys reads docker's notation of a sequence of keys: single characters and ctrl-X, separated by commas. X is a letter or one of
// @ [ \ ] ^ _. "" is no keys.
func ParseKeys(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	var keys strings.Builder
	for _, word := range strings.Split(text, ",") {
		control, isControl := strings.CutPrefix(strings.ToLower(word), "ctrl-")
		switch {
		case len(word) == 1:
			keys.WriteString(word)
		case isControl && len(control) == 1 && (control[0] >= 'a' && control[0] <= 'z' || strings.Contains(`@[\]^_`, control)):
			keys.WriteByte(control[0] & 0x1f)
		default:
			return "", hint.Wrap(fmt.Errorf("invalid detach keys %q", text), "use characters and ctrl-X, separated by commas: ctrl-p,ctrl-q")
		}
	}
	return keys.String(), nil
}

// DefaultKeys are docker's.
const DefaultKeys = "ctrl-p,ctrl-q"

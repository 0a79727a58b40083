package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// SocketName is the socket's name in the node's folder.
const SocketName = "control"

// The operations that a request may ask for.
const (
	OpHello   = "hello"
	OpAttach  = "attach"
	OpDetach  = "detach"
	OpProbe   = "probe"
	OpDial    = "dial"
	OpInspect = "inspect"
)

// A Request is what a client wants. A connection carries as many as it likes, one after another.
type Request struct {
	Op         string
	Attachment *Attachment `json:",omitempty"`
	Probe      *Probe      `json:",omitempty"`
	ID         string      `json:",omitempty"`
	Network    string      `json:",omitempty"` // dial
	Address    string      `json:",omitempty"`
}

// A Reply answers a request.
type Reply struct {
	Error string        `json:",omitempty"`
	Hint  string        `json:",omitempty"`
	Exit  int           `json:",omitempty"`
	Errno syscall.Errno `json:",omitempty"`

	Self    *Self    `json:",omitempty"` // hello
	Notices []Notice `json:",omitempty"` // hello: what nobody was told before
	Lease   *Lease   `json:",omitempty"`
	Result  *Result  `json:",omitempty"`
	State   *State   `json:",omitempty"`
}

// Failed turns an error into a reply.
func Failed(err error) Reply {
	r := Reply{Error: err.Error(), Hint: hint.Of(err), Exit: hint.ExitStatus(err, 0)}
	errors.As(err, &r.Errno)
	return r
}

// Err turns a reply into the error that it was.
func (r *Reply) Err() error {
	if r.Error == "" {
		return nil
	}
	var err error = &remoteError{r.Error, r.Errno}
	if r.Hint != "" {
		err = hint.Wrap(err, r.Hint)
	}
	if r.Exit != 0 {
		err = hint.Exit(err, r.Exit)
	}
	return err
}

// A remoteError is an error of another process of ours. It unwraps to the errno of the call that the kernel refused.
type remoteError struct {
	text  string
	errno syscall.Errno
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// ErrGone says that the peer ended without an answer.
var ErrGone = errors.New("the node ended")

// Send sends a record, and copies of files with it.
func Send(s *linux.Socket, v any, files ...*os.File) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a record: %w", err)
	}
	if len(data) > linux.MaxRecord {
		return fmt.Errorf("a record of %d bytes is too long", len(data))
	}
	return s.Send(data, files...)
}

// Receive receives a record into v, and the files that came along, which the caller closes. ErrGone says that there will be none.
func Receive(s *linux.Socket, v any) ([]*os.File, error) {
	buf := make([]byte, linux.MaxRecord)
	n, files, err := s.Receive(buf)
	if err == nil && n == 0 {
		err = ErrGone
	}
	if err == nil {
		if err = json.Unmarshal(buf[:n], v); err != nil {
			err = fmt.Errorf("decode a record: %w", err)
		}
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

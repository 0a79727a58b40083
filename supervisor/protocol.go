package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
)

// socketName is the socket's name in the container's folder.
const socketName = "control"

// The operations that a request may ask for.
const (
	opSignal  = "signal"
	opStop    = "stop"
	opPause   = "pause"
	opUnpause = "unpause"
	opWait    = "wait"
	opExec    = "exec"
	opAttach  = "attach"
	opRename  = "rename"
	opUpdate  = "update"
)

// A request is what a caller wants.
type request struct {
	Op      string
	Signal  int    `json:",omitempty"` // signal; stop: instead of the container's own
	Timeout *int   `json:",omitempty"` // stop: seconds until it is killed, nil for the container's own, -1 for never
	Keep    bool   `json:",omitempty"` // stop: for a restart, so --rm does not count
	Stdin   bool   `json:",omitempty"` // attach: frames of stdin will come
	Name    string `json:",omitempty"` // rename

	Resources *specs.LinuxResources  `json:",omitempty"` // update: what changes
	Restart   *runtime.RestartPolicy `json:",omitempty"` // update
}

// A reply answers a request, or tells how what it began ended.
type reply struct {
	Error  string        `json:",omitempty"`
	Hint   string        `json:",omitempty"`
	Exit   int           `json:",omitempty"` // the status that Error asks for, if any
	Errno  syscall.Errno `json:",omitempty"`
	Status *int          `json:",omitempty"` // the command's

	NotRunning bool `json:",omitempty"` // there is no command to do it to
}

// An ExecRequest says what to run in a container that runs.
type ExecRequest struct {
	Args       []string
	Env        []string // NAME=VALUE, over the container's
	Workdir    string   // "" for the container's
	User       string   // "" for the container's
	Terminal   bool
	Detach     bool `json:",omitempty"` // nobody is there to have the terminal's master
	Privileged bool `json:",omitempty"` // with all the powers that the container's user namespace has
}

// failed turns an error into a reply.
func failed(err error) reply {
	r := reply{Error: err.Error(), Hint: hint.Of(err), Exit: hint.ExitStatus(err, 0)}
	errors.As(err, &r.Errno)
	r.NotRunning = errors.Is(err, errNotRunning)
	return r
}

// err turns a reply into the error that it was.
func (r *reply) err() error {
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

func sendJSON(s *linux.Socket, v any, files ...*os.File) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a record: %w", err)
	}
	return s.Send(data, files...)
}

// errGone says that the peer ended without an answer.
var errGone = errors.New("the container's supervisor ended")

func receiveJSON(s *linux.Socket, v any) ([]*os.File, error) {
	buf := make([]byte, linux.MaxRecord)
	n, files, err := s.Receive(buf)
	if err == nil && n == 0 {
		err = errGone
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

// Kinds of frame once somebody is attached: the first byte of a record.
const (
	frameStdin  = 'i'
	frameClose  = 'c' // the end of stdin
	frameWindow = 'w' // a size, as JSON
	frameStdout = 'o'
	frameStderr = 'e'
	frameExit   = 'x' // a reply with the status, as JSON
)

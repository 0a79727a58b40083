package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/state"
)

// A Node is the node, as others ask it. Its calls may not be made at the same time. The caller closes it.
type Node struct {
	dirs    state.Dirs
	socket  *linux.Socket
	users   *os.File // U
	self    Self
	Notices []Notice // what a person should know and was not told before, by this connection
}

// Folder is where the node keeps what it knows.
func Folder(dirs state.Dirs) string { return path.Join(dirs.Data, "node") }

// ErrNone says that no node runs.
var ErrNone = errors.New("no node runs")

// Open connects to the node, and starts it where none answers.
func Open(dirs state.Dirs) (*Node, error) {
	return open(dirs, func(lock *state.Lock) error { return start(dirs, lock) })
}

// open is Open, with another way to start the node.
func open(dirs state.Dirs, start func(*state.Lock) error) (*Node, error) {
	n, err := Connect(dirs)
	if !errors.Is(err, ErrNone) {
		return n, err
	}
	folder := Folder(dirs)
	if err := state.Make(folder); err != nil {
		return nil, fmt.Errorf("make the node's folder: %w", err)
	}
	lock, err := state.LockFile(path.Join(folder, lockName))
	if err != nil {
		return nil, fmt.Errorf("start the node: %w", err)
	}
	defer lock.Unlock()
	if n, err = Connect(dirs); !errors.Is(err, ErrNone) { // somebody else was faster
		return n, err
	}
	if err := start(lock); err != nil {
		return nil, fmt.Errorf("start the node: %w", err)
	}
	return Connect(dirs)
}

// Connect connects to the node. ErrNone says that there is none.
func Connect(dirs state.Dirs) (*Node, error) {
	dir, err := linux.OpenDir(Folder(dirs))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	s, err := linux.Connect(dir, SocketName)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	n := &Node{dirs: dirs, socket: s}
	if err := n.hello(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// patience is how long a node may take for an answer that needs nobody else's.
const patience = 20 * time.Second

func (n *Node) hello() error {
	answer, files, err := n.ask(Request{Op: OpHello}, patience)
	switch {
	case errors.Is(err, ErrGone), errors.Is(err, syscall.EPIPE): // it was just leaving
		return ErrNone
	case err != nil:
		return err
	case len(files) != 1 || answer.Self == nil:
		closeAll(files)
		return errors.New("the node does not say who owns the network: it is of another version of minipod")
	}
	n.users, n.self, n.Notices = files[0], *answer.Self, answer.Notices
	return nil
}

// ask sends a request and returns its answer, with the files that came along.
func (n *Node) ask(r Request, wait time.Duration) (*Reply, []*os.File, error) {
	if err := Send(n.socket, r); err != nil {
		return nil, nil, err
	}
	if err := n.socket.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, nil, err
	}
	var answer Reply
	files, err := Receive(n.socket, &answer)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = hint.Wrap(fmt.Errorf("the node does not answer: %w", err), "end it, no pod is lost: pkill -9 -u $USER -x -f 'minipod node'")
	}
	if err == nil {
		if err = answer.Err(); err != nil {
			closeAll(files)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return &answer, files, nil
}

// Close lets go of the node.
func (n *Node) Close() error {
	if n.users != nil {
		n.users.Close()
	}
	return n.socket.Close()
}

// UserNamespace returns U. It is closed with the Node.
func (n *Node) UserNamespace() *os.File { return n.users }

// Attach gives the sandbox a.PID its place in the network. Where the node has ended meanwhile the next one does it: the network is the same.
func (n *Node) Attach(a Attachment) (Lease, error) {
	answer, files, err := n.ask(Request{Op: OpAttach, Attachment: &a}, patience)
	if errors.Is(err, ErrGone) || errors.Is(err, syscall.EPIPE) {
		if err := n.again(); err != nil {
			return Lease{}, err
		}
		answer, files, err = n.ask(Request{Op: OpAttach, Attachment: &a}, patience)
	}
	closeAll(files)
	if err == nil && answer.Lease == nil {
		err = errors.New("the node answers without a lease")
	}
	if err != nil {
		return Lease{}, fmt.Errorf("attach %s to the network: %w", a.Name, err)
	}
	answer.Lease.by, answer.Lease.in = n.self, n.dirs
	return *answer.Lease, nil
}

// again connects to the node that has taken the place of one that ended.
func (n *Node) again() error {
	next, err := Open(n.dirs)
	if err != nil {
		return err
	}
	before, err := n.users.Stat()
	now, e := next.users.Stat()
	if err = errors.Join(err, e); err == nil && !os.SameFile(before, now) {
		err = errors.New("the network has ended, and another one was made")
	}
	if err != nil {
		return errors.Join(err, next.Close())
	}
	err = n.Close()
	*n = *next
	return err
}

// Detach takes back the place of a sandbox, whose ports are free afterwards. One that has none is no error.
func (n *Node) Detach(id string) error {
	_, files, err := n.ask(Request{Op: OpDetach, ID: id}, patience)
	closeAll(files)
	return err
}

// Probe asks a pod from inside of its network namespace.
func (n *Node) Probe(p Probe) (Result, error) {
	answer, files, err := n.ask(Request{Op: OpProbe, Probe: &p}, p.Timeout+patience)
	closeAll(files)
	if err == nil && answer.Result == nil {
		err = errors.New("the node answers without a result")
	}
	if err != nil {
		return Result{}, err
	}
	return *answer.Result, nil
}

// Dial returns a connected socket that was made inside of a pod's network namespace. network is tcp or udp; an address without a host
// is the pod's loopback.
func (n *Node) Dial(id, network, address string) (*os.File, error) {
	_, files, err := n.ask(Request{Op: OpDial, ID: id, Network: network, Address: address}, time.Minute)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		closeAll(files)
		return nil, errors.New("the node answers without a connection")
	}
	return files[0], nil
}

// Inspect tells of the network as it is.
func (n *Node) Inspect() (State, error) {
	answer, files, err := n.ask(Request{Op: OpInspect}, patience)
	closeAll(files)
	if err == nil && answer.State == nil {
		err = errors.New("the node answers without a state")
	}
	if err != nil {
		return State{}, err
	}
	return *answer.State, nil
}

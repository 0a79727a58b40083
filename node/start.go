package node

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime/cgroup"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/runtime/userns"
	"codeberg.org/minipod/minipod/state"
)

// Role is argv[1] of the node.
const Role = "node"

// Files in the node's folder.
const (
	lockName    = "lock"        // held by who starts the node, by the node until it listens, and by a node that leaves
	anchorName  = "anchor.json" // an Anchor
	LogName     = "node.log"    // what the node has to say: its panics, mostly
	MaxLogBytes = 1 << 20
)

// An Anchor is the process that owns U and the network namespace with the bridge.
type Anchor struct {
	PID   int
	Birth uint64
}

// Alive tells whether the anchor is still there.
func (a Anchor) Alive() bool { return linux.Alive(a.PID, a.Birth) }

// dying tells whether it was killed a moment ago: a process gives up its memory first, and its namespaces some milliseconds later.
func (a Anchor) dying() bool {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(a.PID) + "/cmdline")
	return err != nil || len(line) == 0
}

// Open opens one of the anchor's namespaces: user or net. That its start time is the same afterwards proves that it was the anchor's.
func (a Anchor) Open(kind string) (*os.File, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(a.PID) + "/ns/" + kind)
	if err != nil {
		return nil, fmt.Errorf("open the network's %s namespace: %w", kind, err)
	}
	if birth, err := linux.StartTime(a.PID); err != nil || birth != a.Birth {
		return nil, errors.Join(errors.New("the network has just ended"), err, f.Close())
	}
	return f, nil
}

// A Birth is what the node is told first.
type Birth struct {
	Dirs   state.Dirs
	Anchor Anchor
}

// The descriptors that the node is born with.
const (
	BirthFD = 3
	LockFD  = 4
)

// start starts the node, whose caller has the lock.
func start(dirs state.Dirs, lock *state.Lock) error {
	anchor, isNew, err := findAnchor(dirs)
	if err != nil {
		return err
	}
	err = startNode(dirs, anchor, isNew, lock)
	if err != nil && isNew { // nobody lives in it
		if e := linux.KillProcess(anchor.PID, anchor.Birth, syscall.SIGKILL); !errors.Is(e, syscall.ESRCH) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// findAnchor returns the anchor that there is, or makes one.
func findAnchor(dirs state.Dirs) (a Anchor, isNew bool, err error) {
	file := path.Join(Folder(dirs), anchorName)
	err = state.ReadJSON(file, &a)
	if err == nil && a.Alive() {
		if !a.dying() {
			return a, false, nil
		}
		if err := linux.AwaitEnd(a.PID, a.Birth); err != nil {
			return a, false, err
		}
	}
	uids, gids, _, err := idmap.ForUser(os.Geteuid(), os.Getegid()) // of too few ids run has warned
	if err != nil {
		return a, false, err
	}
	anchored, err := stage.Drop(func(pid int) error { return idmap.Write(pid, uids, gids) })
	if call := (*linux.CallError)(nil); errors.As(err, &call) && strings.HasPrefix(call.Call, "clone(") {
		exe, _ := os.Executable() // only for the advice
		err = userns.Diagnose(err, os.ReadFile, exe)
	}
	if err != nil {
		return a, false, fmt.Errorf("make the pods' user and network namespace: %w", err)
	}
	a = Anchor{PID: anchored.PID, Birth: anchored.Birth}
	if err := state.WriteJSON(file, a); err != nil { // unwritten it would never be found again
		return a, false, errors.Join(err, anchored.Abandon())
	}
	return a, true, anchored.Stay(Folder(dirs))
}

// startNode starts the node as root of the anchor's user namespace, and returns when it listens.
func startNode(dirs state.Dirs, anchor Anchor, isNew bool, lock *state.Lock) error {
	users, err := anchor.Open("user")
	if err != nil {
		return err
	}
	defer users.Close()
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		return err
	}
	control, err := linux.AsSocket(ours)
	if err != nil {
		return errors.Join(err, theirs.Close())
	}
	defer control.Close()
	pid, err := spawn(dirs, users, theirs, lock)
	theirs.Close()
	if err != nil {
		return err
	}
	outlive(anchor, pid, isNew)
	if err := Send(control, Birth{dirs, anchor}); err != nil {
		return err
	}
	var answer Reply
	files, err := Receive(control, &answer)
	closeAll(files)
	if errors.Is(err, ErrGone) {
		return fmt.Errorf("it ended: see %s", path.Join(Folder(dirs), LogName))
	}
	if err != nil {
		return err
	}
	return answer.Err()
}

// outlive moves the two into a group of their own, where systemd runs: who starts them is some container's `minipod run`, in a session or a
// service that may end, and they are everybody's. Without systemd nobody ends groups.
func outlive(anchor Anchor, node int, isNew bool) {
	unit := "minipod-network-" + strconv.Itoa(anchor.PID) + ".scope"
	if isNew {
		_ = cgroup.Scope(unit, "minipod's network", anchor.PID, node)
		return
	}
	_ = cgroup.JoinScope(unit, node)
}

func spawn(dirs state.Dirs, users, birth *os.File, lock *state.Lock) (pid int, err error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	log, err := openLog(dirs)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	p := &linux.Program{}
	p.Setsid()
	for i, f := range []*os.File{null, log, log, birth, lock.File()} {
		fd, err := linux.DupHigh(f)
		if err != nil {
			return 0, err
		}
		defer linux.Close(fd) //nolint:gocritic // five of them
		p.Dup(fd, i)
	}
	p.CloseFrom(LockFD + 1)
	p.DefaultSignals()
	p.Chdir("/")
	p.Setns(int(users.Fd()), "user")
	p.Credentials(0, 0, nil, false)
	p.CloneOrphan(0)
	p.Execve("/proc/self/exe", []string{"minipod", Role}, os.Environ())
	child, err := linux.Fork(0, p)
	if err != nil {
		return 0, err
	}
	err = child.Release()
	return child.PID, err
}

// openLog opens the node's log, which begins anew where it has grown long.
func openLog(dirs state.Dirs) (*os.File, error) {
	name := path.Join(Folder(dirs), LogName)
	how := os.O_WRONLY | os.O_CREATE | os.O_APPEND | syscall.O_NOFOLLOW
	if info, err := os.Stat(name); err == nil && info.Size() > MaxLogBytes {
		how |= os.O_TRUNC
	}
	return os.OpenFile(name, how, 0o600)
}

// Born tells whether this process is a node that Open started. A person who types the role's name has no control socket.
func Born(args []string) bool {
	return len(args) == 2 && args[0] == "minipod" && args[1] == Role && linux.IsSeqpacket(BirthFD)
}

package stage

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// AnchorRole is argv[1] of an anchor: a process that owns a user and a network namespace, and does nothing. It has no powers, nothing open, and
// nobody waits for it: it outlives whoever made it, until it is killed, or the folder is removed in which it is written down: then nobody could
// find it any more.
const AnchorRole = "anchor"

// An Anchored is an anchor that waits for the word to stay. It ends with its maker until then.
type Anchored struct {
	PID   int
	Birth uint64

	control *os.File
}

// Drop makes an anchor in a new user namespace, whose ids are mapped by mapIDs, and a network namespace that this one owns. The caller calls Stay or Abandon.
func Drop(mapIDs func(pid int) error) (*Anchored, error) {
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		return nil, err
	}
	a := &Anchored{control: ours}
	pid, err := forkAnchor(theirs)
	theirs.Close()
	if err == nil {
		a.PID = pid
		if a.Birth, err = linux.StartTime(pid); err == nil {
			err = mapIDs(pid)
		}
	}
	if err != nil {
		return nil, errors.Join(err, a.Abandon())
	}
	return a, nil
}

func forkAnchor(control *os.File) (pid int, err error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	p := &linux.Program{}
	p.Setsid()
	for i, f := range []*os.File{null, null, null, control} {
		fd, err := linux.DupHigh(f)
		if err != nil {
			return 0, err
		}
		defer linux.Close(fd) //nolint:gocritic // four of them
		p.Dup(fd, i)
	}
	p.CloseFrom(controlFD + 1)
	p.HugePages(false)
	p.DefaultSignals()
	p.Chdir("/")
	p.CloneOrphan(linux.NewUser | linux.NewNet)
	p.Execve("/proc/self/exe", []string{"minipod", AnchorRole}, Environment())
	child, err := linux.Fork(0, p)
	if err != nil {
		return 0, err
	}
	if err := child.Release(); err != nil {
		return 0, err
	}
	return child.PID, nil
}

// Stay lets the anchor live on by itself, as long as there is the folder.
func (a *Anchored) Stay(folder string) error {
	dir, err := linux.OpenPath(folder)
	if err == nil {
		defer linux.Close(dir)
		err = linux.Send(int(a.control.Fd()), []byte("stay"), dir)
	}
	if err == nil {
		var n int
		if n, _, err = linux.Receive(int(a.control.Fd()), make([]byte, 8)); err == nil && n == 0 {
			err = errors.New("it died")
		}
	}
	if err != nil {
		err = fmt.Errorf("drop the anchor: %w", err)
	}
	return errors.Join(err, a.control.Close())
}

// Abandon ends an anchor that was not told to stay.
func (a *Anchored) Abandon() error { return a.control.Close() }

// isAnchor tells whether this process was forked by Drop.
func isAnchor(args []string) bool {
	return len(args) == 2 && args[0] == "minipod" && args[1] == AnchorRole && linux.IsSeqpacket(controlFD)
}

// anchorMain is an anchor's life. It never returns.
func anchorMain() {
	var word [8]byte
	linux.WaitReadable(controlFD)
	n, folder, err := linux.Receive(controlFD, word[:])
	if err != nil || string(word[:n]) != "stay" {
		os.Exit(hint.ExitRuntime)
	}
	removed, err := linux.WatchRemoval(folder) // an error (the user has no watch left) is no reason not to live
	linux.Close(folder)
	if err := linux.Send(controlFD, []byte("here"), -1); err != nil && !errors.Is(err, syscall.EPIPE) { // it is written down: a maker that died leaves it to the next
		os.Exit(hint.ExitRuntime)
	}
	linux.Close(controlFD)
	if err == nil {
		linux.WaitReadable(removed)
		os.Exit(0)
	}
	for {
		linux.Pause()
	}
}

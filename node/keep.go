package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/state"
)

// ErrLost says that the network in which a place was is gone. Another one may have taken its place.
var ErrLost = errors.New("the pods' network was lost: the process that owned it has ended")

// Pauses between the starts of a node that keeps dying.
const (
	firstPause = 100 * time.Millisecond
	longest    = 30 * time.Second
	wellAfter  = 10 * time.Second // it is not dying
	removing   = time.Second
)

// Keep sees to it that there is a node in l's network until ctx ends, which is no error. When one dies, each of those who keep a place in the network
// would start the next; there is a lock, and all but the first find one. ErrLost says that the network itself is gone: a process
// that was in it keeps its devices, which lead nowhere. Nothing is done until a node dies, and no thread is held.
func (l *Lease) Keep(ctx context.Context) error {
	by := l.by
	var pause time.Duration
	for {
		began := time.Now()
		if err := by.await(ctx); err != nil {
			return err
		}
		if time.Since(began) >= wellAfter {
			pause = 0
		}
		for {
			if !sleep(ctx, pause) {
				return nil
			}
			pause = min(max(2*pause, firstPause), longest)
			next, err := succeed(l.in, by.Anchor)
			if errors.Is(err, ErrLost) {
				if _, e := os.Stat(path.Join(Folder(l.in), anchorName)); errors.Is(e, fs.ErrNotExist) {
					// Somebody is removing all of minipod's data, and comes to whom we keep the place for in a moment.
					sleep(ctx, removing)
				}
				return err
			}
			if err == nil {
				by = next
				break
			}
		}
	}
}

// sleep tells whether ctx goes on after the pause.
func sleep(ctx context.Context, pause time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// await waits for the node's end, or ctx's.
func (s Self) await(ctx context.Context) error {
	pidfd, err := linux.OpenStarted(s.PID, s.Birth)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch the node: %w", err)
	}
	defer pidfd.Close()
	defer context.AfterFunc(ctx, func() { pidfd.Close() })()
	if err := linux.AwaitProcess(pidfd); err != nil && ctx.Err() == nil {
		return fmt.Errorf("watch the node: %w", err)
	}
	return nil
}

// succeed returns the node of the network that a owns, and starts it where there is none.
func succeed(dirs state.Dirs, a Anchor) (Self, error) {
	if !a.Alive() {
		return Self{}, ErrLost
	}
	n, err := open(dirs, func(lock *state.Lock) error {
		if !a.Alive() { // since, or somebody would have made another network
			return ErrLost
		}
		return startNode(dirs, a, false, lock)
	})
	if err != nil {
		return Self{}, err
	}
	defer n.Close()
	if n.self.Anchor != a {
		return Self{}, ErrLost
	}
	return n.self, nil
}

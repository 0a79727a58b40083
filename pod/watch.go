package pod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"sync"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/state"
)

// A Sight is a pod as a watcher sees it. Of one that is gone it is the last that there was.
type Sight struct {
	Pod    *Stored
	Status *Status
	Gone   bool
}

// Watch calls do with each pod of a namespace, or of all where it is "", then with each that changes, comes or goes, one after the other.
// It ends with do's error, or with ctx's.
func Watch(ctx context.Context, dirs state.Dirs, namespace string, do func(Sight) error) error {
	names := path.Join(podsDir(dirs), ".names")
	for _, dir := range []string{podsDir(dirs), names} {
		if err := state.Make(dir); err != nil {
			return fmt.Errorf("watch pods: %w", err)
		}
	}
	watch, err := linux.WatchDir(names)
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	defer watch.Close()
	w := &watcher{dirs: dirs, do: do}
	defer w.following.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, watch.Wake)()
	known := map[string]bool{}
	for ctx.Err() == nil {
		list, err := List(dirs, namespace)
		if err != nil {
			return err
		}
		for _, p := range list {
			uid := p.Metadata.UID
			if known[uid] {
				continue
			}
			known[uid] = true
			s, err := ReadStatus(dirs, uid)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			seen := &seen{}
			if err := w.tell(seen, Sight{Pod: p, Status: s}); err != nil { // in List's order, before anybody else speaks
				return err
			}
			w.following.Go(func() {
				if err := w.follow(ctx, uid, seen); err != nil {
					cancel(err)
				}
			})
		}
		if err := watch.Wait(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("watch pods: %w", err)
		}
	}
	return context.Cause(ctx)
}

type watcher struct {
	dirs      state.Dirs
	following sync.WaitGroup
	mu        sync.Mutex // one speaks
	do        func(Sight) error
}

// seen is what was told last of a pod.
type seen struct {
	Sight

	text []byte
}

// follow tells each change of one pod, to its end.
func (w *watcher) follow(ctx context.Context, uid string, seen *seen) error {
	err := Wait(ctx, w.dirs, uid, func(p *Stored, s *Status) (bool, error) {
		if owner, err := os.Readlink(nameLink(w.dirs, p.Metadata)); err != nil || owner != uid { // its name goes first, then its files in any order
			return false, ErrNotFound
		}
		return false, w.tell(seen, Sight{Pod: p, Status: s})
	})
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	seen.Gone = true
	return w.do(seen.Sight)
}

func (w *watcher) tell(seen *seen, now Sight) error {
	text, err := json.Marshal([]any{&now.Pod.Pod, now.Status})
	if err != nil || bytes.Equal(text, seen.text) {
		return err
	}
	seen.Sight, seen.text = now, text
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.do(now)
}

package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"codeberg.org/minipod/minipod/state"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Errors to test for with errors.Is.
var (
	ErrNotFound    = errors.New("no such image")
	ErrAmbiguous   = errors.New("ambiguous image ID")
	ErrExists      = errors.New("blob exists")
	ErrDigest      = errors.New("digest mismatch")
	ErrSize        = errors.New("size mismatch")
	ErrInUse       = errors.New("image is in use")
	ErrNotHeld     = errors.New("store is written to without a Hold")
	ErrNotUnpacked = errors.New("layer is not unpacked")
	ErrBroken      = errors.New("broken image")
)

// A Store is one user's images. Its methods may be called from many goroutines and many processes at once. It holds
// no open files between calls, so there is nothing to close.
type Store struct {
	dirs state.Dirs

	mu    sync.Mutex
	holds int         // how many Holds of this process share lock
	lock  *state.Lock // shared lock on tmp/store.lock while holds > 0
}

// Open returns the store in d.Data, which it makes where it is missing.
func Open(d state.Dirs) (*Store, error) {
	s := &Store{dirs: d}
	if _, err := os.Stat(filepath.Join(d.Images(), ocispec.ImageLayoutFile)); err == nil {
		return s, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the image store: %w", err)
	}
	if err := s.create(); err != nil {
		return nil, fmt.Errorf("make the image store in %s: %w", d.Data, err)
	}
	return s, nil
}

// create lays out an empty store. The oci-layout file comes last: where it stands, all of it stands.
func (s *Store) create() error {
	for _, dir := range []string{s.dirs.Data, s.dirs.Images(), s.dirs.Layers(), s.dirs.Tmp()} {
		if err := state.Make(dir); err != nil {
			return err
		}
	}
	lock, err := state.LockFile(s.lockName("index"))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		if err := os.MkdirAll(filepath.Join(s.dirs.Images(), ocispec.ImageBlobsDir, algorithm.String()), 0o700); err != nil {
			return err
		}
	}
	if _, err := os.Stat(s.indexName()); errors.Is(err, fs.ErrNotExist) {
		if err := s.writeIndex(&ocispec.Index{}); err != nil {
			return err
		}
	}
	layout := ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}
	return state.WriteJSON(filepath.Join(s.dirs.Images(), ocispec.ImageLayoutFile), layout)
}

// Hold keeps the collector of garbage away until release is called: from then on, blobs and layers that no name leads
// to are fair game. Take it around a whole pull or load, from before the first blob until after Tag. Ingest,
// PutBlob and Layer answer ErrNotHeld without it. Holds nest, and many processes hold at once. Release may be
// called twice.
func (s *Store) Hold(ctx context.Context) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds == 0 {
		// Only a collector is waited for. It marks and renames, and leaves the slow deleting for later.
		if s.lock, err = lockFile(ctx, s.lockName("store"), state.RLockFile); err != nil {
			return nil, fmt.Errorf("hold the image store: %w", err)
		}
	}
	s.holds++
	return sync.OnceFunc(s.unhold), nil
}

func (s *Store) unhold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds--; s.holds == 0 {
		s.lock.Unlock()
		s.lock = nil
	}
}

func (s *Store) checkHeld() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds == 0 {
		return ErrNotHeld
	}
	return nil
}

// Pin keeps all names as they are until release is called; Tag, Untag, Remove and Prune wait for it. It is meant for
// the few milliseconds between Resolve and the moment when InUse can see the new container. Never pull while you pin.
func (s *Store) Pin() (release func(), err error) {
	lock, err := state.RLockFile(s.lockName("index"))
	if err != nil {
		return nil, fmt.Errorf("pin the image store: %w", err)
	}
	return sync.OnceFunc(func() { lock.Unlock() }), nil
}

func (s *Store) lockName(what string) string { return filepath.Join(s.dirs.Tmp(), what+".lock") }

// lockFile is take(name), but gives up when ctx is done. flock(2) can't be interrupted from Go, so the thread that
// waits in it is left behind, and lets go of the lock once it has it.
func lockFile(ctx context.Context, name string, take func(string) (*state.Lock, error)) (*state.Lock, error) {
	type answer struct {
		lock *state.Lock
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		lock, err := take(name)
		done <- answer{lock, err}
	}()
	select {
	case a := <-done:
		return a.lock, a.err
	case <-ctx.Done():
		go func() {
			if a := <-done; a.lock != nil {
				a.lock.Unlock()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/state"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An Ingest is a blob that is arriving. Write appends to tmp/blob-<digest>.part, which outlives the process: the next
// Ingest of the same blob starts with what is there. It is not for concurrent use, except for ReadAt.
type Ingest struct {
	store  *Store
	want   ocispec.Descriptor
	lock   *state.Lock
	file   *os.File
	hash   hash.Hash // of the first offset bytes
	offset int64
	behind linux.WriteBehind // a blob is written once, and read again by save and skopeo at most
}

// Ingest starts or resumes the blob that desc describes (digest and size count) and makes the caller its only writer:
// another Ingest of the same digest, in whatever process, waits for Commit, Close or the caller's death. If the blob
// is there, then or now, it answers ErrExists, which is good news. The caller must hold the store (Hold) and Close
// the Ingest.
func (s *Store) Ingest(ctx context.Context, desc ocispec.Descriptor) (*Ingest, error) {
	if err := CheckDigest(desc.Digest); err != nil {
		return nil, err
	}
	if err := s.checkHeld(); err != nil {
		return nil, err
	}
	if desc.Size < 0 {
		return nil, fmt.Errorf("blob %s: %w: %d bytes", desc.Digest, ErrSize, desc.Size)
	}
	if s.HasBlob(desc.Digest) {
		return nil, ErrExists
	}
	name := filepath.Join(s.dirs.Tmp(), "blob-"+desc.Digest.Encoded())
	lock, err := lockFile(ctx, name+".lock", state.LockFile)
	if err != nil {
		return nil, fmt.Errorf("wait for blob %s: %w", desc.Digest, err)
	}
	if s.HasBlob(desc.Digest) { // whoever had the lock brought it
		return nil, errors.Join(ErrExists, lock.Remove())
	}
	in := &Ingest{store: s, want: desc, lock: lock}
	if err := in.open(name + ".part"); err != nil {
		return nil, errors.Join(fmt.Errorf("open partial blob %s: %w", desc.Digest, err), in.Close())
	}
	return in, nil
}

// open takes over what an earlier attempt left, by hashing it again.
func (in *Ingest) open(name string) (err error) {
	if in.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	in.hash = newHash(in.want.Digest)
	in.behind.File = in.file
	if in.offset, err = io.Copy(in.hash, in.file); err != nil {
		return err
	}
	if in.offset > in.want.Size {
		return in.Reset()
	}
	return nil
}

// Offset returns how many bytes of the blob are there: ask the registry for the rest.
func (in *Ingest) Offset() int64 { return in.offset }

// ReadAt reads what has been written so far, so that a resumed download can be unpacked from its first byte. It may
// run beside Write.
func (in *Ingest) ReadAt(p []byte, off int64) (int, error) { return in.file.ReadAt(p, off) }

// Write appends. A blob that grows beyond its size answers ErrSize, and the surplus is not written.
func (in *Ingest) Write(p []byte) (int, error) {
	room := in.want.Size - in.offset
	surplus := int64(len(p)) > room
	if surplus {
		p = p[:room]
	}
	n, err := in.file.WriteAt(p, in.offset)
	in.hash.Write(p[:n])
	in.offset += int64(n)
	in.behind.Wrote(in.offset)
	if err == nil && surplus {
		err = fmt.Errorf("blob %s: %w: more than %d bytes", in.want.Digest, ErrSize, in.want.Size)
	}
	return n, err
}

// Reset throws away what is there, for a registry that can't resume.
func (in *Ingest) Reset() error {
	in.hash.Reset()
	in.offset = 0
	return in.file.Truncate(0)
}

// Commit checks size and digest, syncs and makes the blob appear. Then the Ingest is closed. Too few bytes answer
// ErrSize and keep the partial file; a wrong digest answers ErrDigest and removes it, for no continuation could mend
// it.
func (in *Ingest) Commit() error {
	if in.offset != in.want.Size {
		return fmt.Errorf("blob %s: %w: %d of %d bytes", in.want.Digest, ErrSize, in.offset, in.want.Size)
	}
	if got := digestOf(in.want.Digest, in.hash); got != in.want.Digest {
		return errors.Join(fmt.Errorf("blob %s: %w: its content is %s", in.want.Digest, ErrDigest, got), in.Discard())
	}
	target := in.store.blobName(in.want.Digest)
	if err := in.file.Sync(); err != nil {
		return fmt.Errorf("sync blob %s: %w", in.want.Digest, err)
	}
	if err := os.Rename(in.file.Name(), target); err != nil {
		return fmt.Errorf("commit blob: %w", err)
	}
	return errors.Join(syncDir(filepath.Dir(target)), in.end())
}

// Discard closes the Ingest and removes the partial file.
func (in *Ingest) Discard() error {
	if in.lock == nil {
		return nil
	}
	err := os.Remove(in.file.Name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, in.end())
}

// Close ends the Ingest and keeps the partial file for the next one. An empty partial file is removed. After Commit
// or Discard, Close does nothing.
func (in *Ingest) Close() error {
	if in.lock != nil && in.file != nil && in.offset == 0 {
		return in.Discard()
	}
	return in.end()
}

func (in *Ingest) end() error {
	if in.lock == nil {
		return nil
	}
	var err error
	if in.file != nil {
		err = in.file.Close()
	}
	err = errors.Join(err, in.lock.Remove())
	in.lock = nil
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

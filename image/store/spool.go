package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PutStream stores a blob whose digest nobody knows yet, and returns its descriptor. It is atomic: if r or ctx fails,
// nothing stays. Unlike an Ingest it can't be resumed. The caller must hold the store (Hold).
func (s *Store) PutStream(ctx context.Context, mediaType string, r io.Reader) (ocispec.Descriptor, error) {
	desc := ocispec.Descriptor{MediaType: mediaType}
	if err := s.checkHeld(); err != nil {
		return desc, err
	}
	f, err := os.CreateTemp(s.dirs.Tmp(), "stream-")
	if err != nil {
		return desc, fmt.Errorf("store blob: %w", err)
	}
	h := sha256.New()
	desc.Size, err = io.Copy(io.MultiWriter(f, h), ContextReader(ctx, r))
	desc.Digest = digest.NewDigest(digest.SHA256, h)
	target := s.blobName(desc.Digest)
	if err == nil && !s.HasBlob(desc.Digest) {
		if err = f.Sync(); err == nil {
			err = os.Rename(f.Name(), target)
		}
		if err == nil {
			return desc, errors.Join(f.Close(), syncDir(filepath.Dir(target)))
		}
	}
	if err = errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return desc, fmt.Errorf("store blob: %w", err)
	}
	return desc, nil
}

// TempFile returns a file on the store's disk that has no name, and so is gone when it is closed or its holder dies.
// The caller closes it.
func (s *Store) TempFile() (*os.File, error) {
	f, err := os.CreateTemp(s.dirs.Tmp(), "stream-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ContextReader makes a long copy end soon after ctx does.
func ContextReader(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

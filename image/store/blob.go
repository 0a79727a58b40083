package store

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds on what is read into memory. The distribution specification asks registries to take manifests of 4 MiB.
const (
	maxIndex    = 32 << 20
	maxManifest = 4 << 20
	maxConfig   = 8 << 20
)

// CheckDigest answers whether d is a digest that we can check and that may become part of a path: sha256 or sha512 in
// lower-case hex.
func CheckDigest(d digest.Digest) error {
	algorithm, encoded, _ := strings.Cut(string(d), ":")
	if (algorithm == "sha256" && len(encoded) == 64 || algorithm == "sha512" && len(encoded) == 128) &&
		strings.Trim(encoded, "0123456789abcdef") == "" {
		return nil
	}
	return fmt.Errorf("bad digest %.140q", string(d))
}

// newHash returns the hash of a digest that CheckDigest has passed.
func newHash(d digest.Digest) hash.Hash {
	if d.Algorithm() == digest.SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

func digestOf(like digest.Digest, h hash.Hash) digest.Digest {
	return digest.NewDigest(like.Algorithm(), h)
}

func (s *Store) blobName(d digest.Digest) string {
	return filepath.Join(s.dirs.Images(), ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// HasBlob reports whether the blob is here, whole: blobs appear under their digest only after it was checked.
func (s *Store) HasBlob(d digest.Digest) bool {
	if CheckDigest(d) != nil {
		return false
	}
	info, err := os.Stat(s.blobName(d))
	return err == nil && info.Mode().IsRegular()
}

// OpenBlob opens the blob for reading; the caller closes it. A missing blob answers fs.ErrNotExist.
func (s *Store) OpenBlob(d digest.Digest) (*os.File, error) {
	if err := CheckDigest(d); err != nil {
		return nil, err
	}
	return os.Open(s.blobName(d))
}

// ReadBlob returns a small blob, a manifest or a config, and checks it against its digest. More than limit bytes
// answer ErrSize; other content than the digest says, ErrDigest.
func (s *Store) ReadBlob(d digest.Digest, limit int64) ([]byte, error) {
	f, err := s.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readBounded(f, limit)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	h := newHash(d)
	h.Write(data)
	if got := digestOf(d, h); got != d {
		return nil, fmt.Errorf("read blob %s: %w: its content is %s", d, ErrDigest, got)
	}
	return data, nil
}

// readBounded reads all of f into one allocation.
func readBounded(f *os.File, limit int64) ([]byte, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", f.Name())
	case info.Size() > limit:
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrSize, info.Size(), limit)
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	return data, err
}

// PutBlob stores a small blob and returns its descriptor. It is idempotent, atomic, and repairs a blob whose content
// was damaged.
func (s *Store) PutBlob(ctx context.Context, mediaType string, data []byte) (ocispec.Descriptor, error) {
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if _, err := s.ReadBlob(desc.Digest, desc.Size); errors.Is(err, ErrDigest) || errors.Is(err, ErrSize) {
		if err := os.Remove(s.blobName(desc.Digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return desc, fmt.Errorf("replace damaged blob: %w", err)
		}
	}
	in, err := s.Ingest(ctx, desc)
	if errors.Is(err, ErrExists) {
		return desc, nil
	}
	if err != nil {
		return desc, err
	}
	defer in.Close()
	if err := in.Reset(); err != nil {
		return desc, err
	}
	if _, err := in.Write(data); err != nil {
		return desc, err
	}
	return desc, in.Commit()
}

package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func descOf(data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
}

func ingest(t *testing.T, s *Store, desc ocispec.Descriptor) *Ingest {
	t.Helper()
	in, err := s.Ingest(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return in
}

func TestIngestResumes(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	desc := descOf(data)
	in := ingest(t, s, desc)
	in.Write(data[:333_333])
	if err := in.Commit(); !errors.Is(err, ErrSize) {
		t.Errorf("Commit of a third: %v", err)
	}
	in.Close()
	in.Close()
	if s.HasBlob(desc.Digest) {
		t.Error("a third is a blob")
	}

	in = ingest(t, s, desc)
	if in.Offset() != 333_333 {
		t.Errorf("offset %d after resuming", in.Offset())
	}
	begin := make([]byte, 333_333)
	if _, err := in.ReadAt(begin, 0); err != nil || !bytes.Equal(begin, data[:333_333]) {
		t.Errorf("what is there reads differently: %v", err)
	}
	if _, err := in.Write(data[333_333:]); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := in.Discard(); err != nil {
		t.Errorf("Discard after Commit: %v", err)
	}
	if _, err := s.Ingest(t.Context(), desc); !errors.Is(err, ErrExists) {
		t.Errorf("Ingest of a blob that is there: %v", err)
	}
	got, err := s.ReadBlob(desc.Digest, desc.Size)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("ReadBlob: %d bytes, %v", len(got), err)
	}
	if left := files(t, s); len(left) != 3 {
		t.Errorf("files: %q", left)
	}
}

func TestIngestRefuses(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	data := []byte("some layer")
	desc := descOf(data)

	in := ingest(t, s, desc)
	in.Write([]byte("some lyaer"))
	if err := in.Commit(); !errors.Is(err, ErrDigest) {
		t.Errorf("Commit of other content: %v", err)
	}
	in = ingest(t, s, desc)
	if in.Offset() != 0 {
		t.Error("a wrong blob was kept for resuming")
	}
	if n, err := in.Write([]byte("some layer, and more")); n != len(data) || !errors.Is(err, ErrSize) {
		t.Errorf("Write beyond the size: %d, %v", n, err)
	}
	if err := in.Reset(); err != nil || in.Offset() != 0 {
		t.Errorf("Reset: offset %d, %v", in.Offset(), err)
	}
	in.Write(data)
	if err := in.Commit(); err != nil {
		t.Error(err)
	}

	for _, d := range []digest.Digest{
		"", "sha256:", "sha256:..", "sha256:../../../../etc/passwd", "md5:d41d8cd98f00b204e9800998ecf8427e",
		"sha256:" + digest.Digest(strings.Repeat("A", 64)), "sha256:" + digest.Digest(strings.Repeat("/", 64)),
	} {
		if _, err := s.Ingest(t.Context(), ocispec.Descriptor{Digest: d, Size: 1}); err == nil {
			t.Errorf("Ingest of %q", d)
		}
		if _, err := s.OpenBlob(d); err == nil || s.HasBlob(d) {
			t.Errorf("OpenBlob of %q", d)
		}
	}
	if _, err := s.Ingest(t.Context(), ocispec.Descriptor{Digest: digest.FromString("x"), Size: -1}); !errors.Is(err, ErrSize) {
		t.Errorf("negative size: %v", err)
	}
	if left := files(t, s); len(left) != 3 {
		t.Errorf("files: %q", left)
	}
}

// A partial file that is longer than the blob (a registry changed its mind about the size) starts over.
func TestIngestOfTooLongPartial(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	data := []byte("short")
	in := ingest(t, s, ocispec.Descriptor{Digest: descOf(data).Digest, Size: 100})
	in.Write([]byte("much too long"))
	in.Close()
	if in = ingest(t, s, descOf(data)); in.Offset() != 0 {
		t.Errorf("offset %d", in.Offset())
	}
}

func TestIngestSHA512(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	data := []byte("x")
	desc := ocispec.Descriptor{Digest: digest.SHA512.FromBytes(data), Size: 1}
	in := ingest(t, s, desc)
	in.Write(data)
	if err := in.Commit(); err != nil || !s.HasBlob(desc.Digest) {
		t.Error(err)
	}
}

// Many pulls of one blob: one writes, the others wait and find it.
func TestIngestOnce(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	data := bytes.Repeat([]byte("x"), 100_000)
	var wrote, found atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			in, err := s.Ingest(t.Context(), descOf(data))
			if errors.Is(err, ErrExists) {
				found.Add(1)
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer in.Close()
			io.Copy(in, bytes.NewReader(data))
			if err := in.Commit(); err != nil {
				t.Error(err)
			}
			wrote.Add(1)
		})
	}
	wg.Wait()
	if wrote.Load() != 1 || found.Load() != 7 {
		t.Errorf("%d wrote, %d found", wrote.Load(), found.Load())
	}
}

func TestIngestWaitEnds(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	desc := descOf([]byte("x"))
	in := ingest(t, s, desc)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Ingest(ctx, desc); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a writer: %v", err)
	}
	in.Close()
	ingest(t, s, desc) // whoever gave up does not keep the lock
}

func TestPutBlobRepairs(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	for range 2 {
		desc, err := s.PutBlob(t.Context(), "x/y", []byte("config"))
		if err != nil || desc.MediaType != "x/y" || desc.Size != 6 {
			t.Fatalf("%+v, %v", desc, err)
		}
		if err := os.WriteFile(s.blobName(desc.Digest), []byte("conf"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ReadBlob(desc.Digest, 100); !errors.Is(err, ErrDigest) {
			t.Errorf("ReadBlob of a damaged blob: %v", err)
		}
	}
	desc, err := s.PutBlob(t.Context(), "", []byte("config"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadBlob(desc.Digest, 5); !errors.Is(err, ErrSize) {
		t.Errorf("ReadBlob beyond its limit: %v", err)
	}
}

func TestPutStream(t *testing.T) {
	s := newStore(t)
	defer hold(t, s)()
	for range 2 {
		desc, err := s.PutStream(t.Context(), "x/y", strings.NewReader("stream"))
		if err != nil || desc.Digest != digest.FromString("stream") || !s.HasBlob(desc.Digest) {
			t.Fatalf("%+v, %v", desc, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.PutStream(ctx, "", strings.NewReader("other")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left := files(t, s); len(left) != 3 {
		t.Errorf("files: %q", left)
	}
}

// Package compress undoes the compression of a layer or an archive, whatever its media type claims.
//
// The first bytes decide, not the name: registries hold layers whose media type says gzip and whose bytes are plain
// tar or zstd, and docker, podman and containerd all look at the bytes too. Decoders are those of klauspost/compress,
// which inflate about twice as fast as the standard library.
package compress

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Kind names a compression.
type Kind string

// The kinds that NewReader tells apart.
const (
	None Kind = "none"
	Gzip Kind = "gzip"
	Zstd Kind = "zstd"
)

// ErrUnsupported is returned for bytes that are clearly compressed in a way that no image format allows.
var ErrUnsupported = errors.New("unsupported compression")

const (
	// readBuffer keeps the number of read calls low; deflate reads its input in small steps.
	readBuffer = 256 << 10
	// maxWindow bounds what one zstd frame may make us allocate. `zstd --ultra -22` uses 128 MiB.
	maxWindow = 128 << 20
	// skippable is 0x184D2A5?: a frame of foreign data that zstd decoders step over (RFC 8878, 3.1.2). zstd:chunked
	// layers may begin with one.
	skippable = "\x2a\x4d\x18"
)

// Detect reads the first bytes of r and tells how it is compressed. The returned reader has all of r, those bytes
// included. Input that is neither gzip nor zstd is plain, also when it is empty; bzip2 and xz answer ErrUnsupported.
func Detect(r io.Reader) (Kind, *bufio.Reader, error) {
	whole := bufio.NewReaderSize(r, readBuffer)
	magic, err := whole.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return None, whole, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b, 8}):
		return Gzip, whole, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(magic) >= 4 && magic[0]&0xf0 == 0x50 && string(magic[1:4]) == skippable:
		return Zstd, whole, nil
	case bytes.HasPrefix(magic, []byte("BZh")):
		return None, whole, fmt.Errorf("bzip2: %w", ErrUnsupported)
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		return None, whole, fmt.Errorf("xz: %w", ErrUnsupported)
	}
	return None, whole, nil
}

// NewReader returns a reader of what r compresses, by Detect.
//
// The caller closes the result, which frees the decoder's buffers and leaves r alone. Truncated input ends in
// io.ErrUnexpectedEOF, never in a clean io.EOF.
func NewReader(r io.Reader) (io.ReadCloser, Kind, error) {
	kind, whole, err := Detect(r)
	if err != nil {
		return nil, kind, err
	}
	switch kind {
	case Gzip:
		z, err := gzip.NewReader(whole)
		if err != nil {
			return nil, kind, fmt.Errorf("gzip: %w", unexpected(err))
		}
		return gzipReader{z}, kind, nil
	case Zstd:
		z, err := zstd.NewReader(whole, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, kind, fmt.Errorf("zstd: %w", err)
		}
		return zstdReader{z}, kind, nil
	}
	return io.NopCloser(whole), kind, nil
}

type gzipReader struct{ z *gzip.Reader }

func (g gzipReader) Read(p []byte) (int, error) {
	n, err := g.z.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("gzip: %w", err)
	}
	return n, err
}
func (g gzipReader) WriteTo(w io.Writer) (int64, error) { return g.z.WriteTo(w) }
func (g gzipReader) Close() error                       { return g.z.Close() }

type zstdReader struct{ z *zstd.Decoder }

func (d zstdReader) Read(p []byte) (int, error) {
	n, err := d.z.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("zstd: %w", err)
	}
	return n, err
}
func (d zstdReader) WriteTo(w io.Writer) (int64, error) { return d.z.WriteTo(w) }

func (d zstdReader) Close() error {
	d.z.Close()
	return nil
}

// unexpected: a gzip header that ends in the middle must not look like the end of an empty file.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

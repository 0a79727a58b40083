package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxReconnects bounds how often one blob is taken up again, against a registry that sends a byte and hangs up.
const maxReconnects = 64

// Blob returns the bytes of desc from offset on as one unbroken stream: a connection that breaks or stalls is
// replaced by another, from the byte where it broke, at the same place or the next. The stream ends after exactly
// desc.Size-offset bytes or in an error; it is not hashed. The caller closes it; cancelling ctx ends it. report, if
// not nil, hears of each pause before another attempt.
func (r *Repository) Blob(ctx context.Context, desc ocispec.Descriptor, offset int64, report func(error, time.Duration)) io.ReadCloser {
	return &blob{ctx: ctx, repo: r, desc: desc, at: offset, report: report}
}

type blob struct {
	ctx    context.Context // a stream is one operation, and io.Reader has no room for it
	repo   *Repository
	desc   ocispec.Descriptor
	at     int64 // the next byte to read
	report func(error, time.Duration)

	from       *place
	body       io.ReadCloser // nil between connections
	fresh      int64         // bytes since the last failure
	failures   int           // in a row without a MiB of progress
	reconnects int
	moves      int // to another place since this one kept breaking off
}

func (b *blob) Read(p []byte) (int, error) {
	for {
		if b.at == b.desc.Size {
			return 0, io.EOF
		}
		if b.body == nil {
			if err := b.open(); err != nil {
				return 0, err
			}
		}
		if left := b.desc.Size - b.at; int64(len(p)) > left {
			p = p[:left] // an endless body ends here
		}
		n, err := b.body.Read(p)
		b.at += int64(n)
		if b.fresh += int64(n); b.fresh >= 1<<20 {
			b.failures = 0
		}
		if err != nil {
			b.Close()
		}
		if n > 0 || b.at == b.desc.Size {
			return n, nil
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = &brokenBody{io.ErrUnexpectedEOF} // by the sender's account it was whole; by the manifest's it was not
		}
		b.failures++
		b.reconnects++
		b.fresh = 0
		if b.reconnects > maxReconnects {
			return 0, b.from.explain("get blob "+short(b.desc), fmt.Errorf("broke off %d times: %w", b.reconnects, err))
		}
		if err := b.from.pause(b.ctx, b.failures, err, b.report); err != nil {
			if b.ctx.Err() != nil {
				return 0, context.Cause(b.ctx)
			}
			if b.moves++; b.moves < len(b.repo.places) && b.repo.Discredit() {
				b.failures = 0 // with the next place
				continue
			}
			return 0, b.from.explain("get blob "+short(b.desc), err)
		}
	}
}

// Close ends the connection. The stream may still be read on: that is how Read itself recovers.
func (b *blob) Close() error {
	if b.body == nil {
		return nil
	}
	err := b.body.Close()
	b.body = nil
	return err
}

func (b *blob) open() error {
	return b.repo.eachPlace(b.ctx, "get blob "+short(b.desc), func(p *place) error {
		return p.attempt(b.ctx, b.report, func() error {
			body, err := p.blob(b.ctx, b.desc, b.at)
			if err == nil {
				b.body, b.from = body, p
			}
			return err
		})
	})
}

// blob asks one place for desc from offset on.
func (p *place) blob(ctx context.Context, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	watched, cancel := context.WithCancelCause(ctx)
	resp, err := p.askBlob(watched, desc, offset)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if err := checkStatus(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		cancel(nil)
		return nil, err
	}
	body := p.watch(watched, cancel, resp.Body)
	start, length := int64(0), resp.ContentLength
	if resp.StatusCode == http.StatusPartialContent {
		if start, err = rangeStart(resp.Header.Get("Content-Range")); err != nil || start != offset {
			body.Close()
			return nil, p.invalid("blob %s: asked for bytes %d-, got %q", short(desc), offset, printable(resp.Header.Get("Content-Range")))
		}
	}
	if length >= 0 && start+length != desc.Size {
		body.Close()
		return nil, p.invalid("blob %s has %d bytes, not the %d of its descriptor", short(desc), start+length, desc.Size)
	}
	// No Range support: read again what we have. Its digest covers both readings.
	if start < offset {
		if _, err := io.CopyN(io.Discard, body, offset-start); err != nil {
			body.Close()
			if errors.Is(err, io.EOF) {
				err = &brokenBody{io.ErrUnexpectedEOF}
			}
			return nil, err
		}
	}
	return body, nil
}

// askBlob sends the request for desc from offset on, and where that is refused, for the whole.
func (p *place) askBlob(ctx context.Context, desc ocispec.Descriptor, offset int64) (*http.Response, error) {
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	resp, err := p.do(ctx, "blobs/"+desc.Digest.String(), header)
	if err != nil || offset == 0 || resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		return resp, err
	}
	// The range lies within the blob: it is the place, or a cache before it, that can't. So from zero, once.
	resp.Body.Close()
	return p.askBlob(ctx, desc, 0)
}

func rangeStart(contentRange string) (int64, error) {
	bytes, found := strings.CutPrefix(contentRange, "bytes ")
	first, _, dash := strings.Cut(bytes, "-")
	if !found || !dash {
		return 0, fmt.Errorf("Content-Range %q", contentRange)
	}
	return strconv.ParseInt(first, 10, 64)
}

// A stalling body cancels its request when a read takes longer than limit.
type stalling struct {
	io.ReadCloser
	ctx    context.Context // the request's, for its cause
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

func (p *place) watch(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser) *stalling {
	timer := time.AfterFunc(time.Hour, func() { cancel(errStalled) })
	timer.Stop() // each Read starts it
	return &stalling{body, ctx, cancel, timer, p.repo.retries.Stall}
}

func (s *stalling) Read(p []byte) (int, error) {
	s.timer.Reset(s.limit)
	n, err := s.ReadCloser.Read(p)
	if err != nil && errors.Is(context.Cause(s.ctx), errStalled) {
		err = errStalled
	}
	s.timer.Stop() // between reads it is our own disk that is slow, not the registry
	if err != nil && !errors.Is(err, io.EOF) {
		err = &brokenBody{err}
	}
	return n, err
}

func (s *stalling) Close() error {
	s.timer.Stop()
	s.cancel(nil)
	return s.ReadCloser.Close()
}

func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// short is a digest as people see it in progress lines.
func short(desc ocispec.Descriptor) string {
	hex := desc.Digest.Encoded()
	return hex[:min(12, len(hex))]
}

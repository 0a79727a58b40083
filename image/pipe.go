package image

import (
	"errors"
	"io"
	"sync"
)

// errAbandoned is what a pump's source is stopped with when nobody reads any more.
var errAbandoned = errors.New("abandoned")

// A pump reads a source ahead of its reader, in a goroutine of its own, so that two stages of a pipeline run side by
// side. Blocks are few, big and used again: the hand-over costs a channel operation per hundred kilobytes and the
// memory is bounded however fast the source is.
type pump struct {
	full, free chan *block
	quit       chan struct{} // closed when the reader gives up
	once       sync.Once
	ended      error  // what ended the source; may be read once full is closed
	now        *block // being read
	off        int
}

type block struct {
	data []byte
	n    int
	err  error // what ended the source, after the n bytes
}

// newPump starts to read src in n blocks of size bytes. tap, if not nil, sees each block before the reader does; its
// error ends the stream like one of src. The reader must read to the end or call stop.
func newPump(src io.Reader, n, size int, tap func([]byte) error) *pump {
	p := &pump{full: make(chan *block, n), free: make(chan *block, n), quit: make(chan struct{})}
	for range n {
		p.free <- &block{data: make([]byte, size)}
	}
	go p.run(src, tap)
	return p
}

func (p *pump) run(src io.Reader, tap func([]byte) error) {
	defer close(p.full)
	for {
		var b *block
		select {
		case b = <-p.free:
		case <-p.quit:
			return
		}
		b.n, b.err = 0, nil
		for b.n < len(b.data) && b.err == nil {
			var n int
			n, b.err = src.Read(b.data[b.n:])
			b.n += n
		}
		if tap != nil && b.n > 0 {
			if err := tap(b.data[:b.n]); err != nil {
				b.n, b.err = 0, err
			}
		}
		p.ended = b.err
		p.full <- b // never blocks: there are as many places as blocks
		if p.ended != nil {
			return
		}
	}
}

// Read implements io.Reader.
func (p *pump) Read(buf []byte) (int, error) {
	if err := p.next(); err != nil {
		return 0, err
	}
	n := copy(buf, p.now.data[p.off:p.now.n])
	p.off += n
	return n, nil
}

// ReadByte implements io.ByteReader, which spares decompressors a buffer of their own.
func (p *pump) ReadByte() (byte, error) {
	if err := p.next(); err != nil {
		return 0, err
	}
	c := p.now.data[p.off]
	p.off++
	return c, nil
}

// next makes sure that a byte is there.
func (p *pump) next() error {
	for p.now == nil || p.off == p.now.n {
		if p.now != nil {
			if p.now.err != nil {
				return p.now.err
			}
			p.free <- p.now
		}
		b, ok := <-p.full
		if !ok {
			return errAbandoned
		}
		p.now, p.off = b, 0
	}
	return nil
}

// stop ends the goroutine, at the latest when its current read of the source returns, and answers what ended the
// source: io.EOF if it was read to its end, errAbandoned if nobody wanted the rest. It may be called more than once,
// by the reader only, who may not read afterwards.
func (p *pump) stop() error {
	p.once.Do(func() { close(p.quit) })
	for range p.full { // wait until it is closed
	}
	if p.ended == nil {
		return errAbandoned
	}
	return p.ended
}

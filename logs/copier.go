package logs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"codeberg.org/minipod/minipod/internal/linux"
)

const (
	// patience is how long the beginning of a line waits for its end before readers get to see it. A prompt, a row of dots.
	patience = 100 * time.Millisecond

	firstRead = 4 << 10 // what most commands ever need
	wholeRead = 64 << 10
	batchSize = 128 << 10
)

// A Copier reads what a command writes, and hands it to the log in whole batches of records: as many as one read brought.
type Copier struct {
	log    *Writer // nil: none is kept
	from   *os.File
	stream Stream
	tee    func(chunk []byte) // or nil
	wait   time.Duration      // for the end of a line

	buf   []byte // buf[:n] is the beginning of a line
	n     int
	batch []byte
	tail  []byte // the end of this read's records

	armed bool // a deadline for the end of a line is set
	fresh bool // that line has come to its end: what is in the buffer now began later

	mu      sync.Mutex // for the deadline, which Stop moves
	stopped bool
}

// NewCopier makes a Copier of a pipe, or a terminal, to log (nil: to nowhere). tee gets each chunk as it was read, before it is
// logged, and must neither keep it nor wait long. Nobody else may set from's read deadline.
func NewCopier(log *Writer, from *os.File, stream Stream, tee func(chunk []byte)) *Copier {
	return &Copier{log: log, from: from, stream: stream, tee: tee, wait: patience, buf: make([]byte, firstRead)}
}

// Run copies until the end of the pipe, or until Stop. Everything is written by then. It closes nothing.
func (c *Copier) Run() error {
	for {
		n, err := c.from.Read(c.buf[c.n:])
		c.got(n)
		if err == nil {
			c.await()
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && !c.isStopped() {
			c.flush(false)
			c.disarm()
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = linux.Drain(writerFunc(c.feed), c.from)
		}
		c.flush(true)
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.EIO) { // EIO: a terminal's last process is gone
			err = nil
		}
		return err
	}
}

// Stop ends Run once it has read what is there by now. For the other end of a pipe may outlive the container: a command can hand its
// output to a process of somebody else.
func (c *Copier) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	_ = c.from.SetReadDeadline(time.Now()) // it may be closed already
}

func (c *Copier) isStopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

// setDeadline sets the deadline, but for a stopped Copier's. It answers false where from can have none.
func (c *Copier) setDeadline(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped || c.from.SetReadDeadline(t) == nil
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// feed is got for bytes that were read elsewhere.
func (c *Copier) feed(p []byte) {
	for len(p) > 0 {
		n := copy(c.buf[c.n:], p)
		p = p[n:]
		c.got(n)
	}
}

// got takes n more bytes that are in the buffer behind the n before them.
func (c *Copier) got(n int) {
	if n == 0 {
		return
	}
	if c.tee != nil {
		c.tee(c.buf[c.n : c.n+n])
	}
	full := c.n+n == len(c.buf)
	var rest []byte
	if c.log != nil {
		rest = c.records(c.buf[:c.n+n])
	}
	c.fresh = c.fresh || len(rest) < c.n+n
	if full && len(c.buf) < wholeRead+maxText { // there is more where this came from
		c.buf = make([]byte, wholeRead+maxText)
	}
	c.n = copy(c.buf, rest)
}

// records logs all lines of text, and all of a line that is too long for one record. It answers what is left: the beginning of
// a line, maxText bytes of it at most.
func (c *Copier) records(text []byte) []byte {
	c.tail = appendTail(c.tail[:0], c.stream, time.Now())
	for {
		line := bytes.IndexByte(text[:min(len(text), maxText+1)], '\n') + 1
		if line == 0 && len(text) <= maxText {
			break
		}
		if line == 0 {
			line = maxText - unfinishedRune(text[:maxText])
		}
		c.record(text[:line])
		text = text[line:]
	}
	c.write()
	return text
}

func (c *Copier) record(text []byte) {
	if len(c.batch)+2*len(text) > batchSize {
		c.write()
	}
	c.batch = appendRecord(c.batch, text, c.tail)
}

func (c *Copier) write() {
	if len(c.batch) > 0 {
		c.log.write(c.batch)
		c.batch = c.batch[:0]
	}
}

// await sees to it that the beginning of a line does not wait for ever.
func (c *Copier) await() {
	switch {
	case c.n == 0:
		c.disarm()
	case !c.armed || c.fresh:
		c.armed, c.fresh = true, false
		if !c.setDeadline(time.Now().Add(c.wait)) {
			c.armed = false
			c.flush(false)
		}
	}
}

func (c *Copier) disarm() {
	if c.armed {
		c.armed = false
		c.setDeadline(time.Time{})
	}
}

// flush logs the beginning of a line, which may be all there will ever be of it. Bytes of a character that is not complete
// wait for the rest of it, unless it is the end.
func (c *Copier) flush(end bool) {
	if c.log == nil {
		return
	}
	n := c.n
	if !end {
		n -= unfinishedRune(c.buf[:c.n])
	}
	if n > 0 {
		c.tail = appendTail(c.tail[:0], c.stream, time.Now())
		c.record(c.buf[:n])
		c.write()
	}
	c.n = copy(c.buf, c.buf[n:c.n])
}

// unfinishedRune answers how many bytes text ends with that are the beginning of a character.
func unfinishedRune(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		last := text[len(text)-n:]
		if utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}

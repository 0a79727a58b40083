package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"codeberg.org/minipod/minipod/internal/jsonl"
)

// ReadOptions say what of a log is printed.
type ReadOptions struct {
	Since, Until time.Time       // both included; zero: from the beginning, to the end
	Tail         int             // so many of the last lines of these; negative: all
	Timestamps   bool            // each line begins with its time
	Follow       bool            // go on with what comes, until
	Ended        <-chan struct{} // is closed: the container has ended. nil: never
}

// Read prints the log with that name (see FileName): what the command wrote to its stdout goes to stdout, and so on. A log that does
// not exist is empty. With Follow it ends with ctx's error, or without one after the container's end, after Until, or once the
// container is removed.
func Read(ctx context.Context, name string, o ReadOptions, stdout, stderr io.Writer) error {
	if err := read(ctx, name, o, newPrinter(stdout, stderr, o.Timestamps)); err != nil {
		return fmt.Errorf("read the log %s: %w", name, err)
	}
	return nil
}

func read(ctx context.Context, name string, o ReadOptions, to *printer) error {
	files, err := jsonl.Open(name)
	if err != nil {
		return err
	}
	defer files.Close()
	files.SkipBefore(o.Since)
	var p parser
	if o.Tail >= 0 {
		last := tail{ReadOptions: o}
		if err := files.Rewind(func(line []byte) bool {
			r, ok := p.parse(line)
			return !ok || last.keep(r)
		}); err != nil {
			return err
		}
	}
	show := func(line []byte) error {
		r, ok := p.parse(line)
		if !ok || len(r.text) == 0 || !o.within(r) {
			return nil
		}
		return to.print(r)
	}
	if !o.Follow {
		return errors.Join(files.Read(show), to.flush())
	}
	files.Lapped = func() {
		to.note = append(to.note, "minipod: lines are missing here: the log was rotated before they could be read\n"...)
	}
	until := ctx
	if !o.Until.IsZero() {
		var cancel context.CancelFunc
		until, cancel = context.WithDeadline(ctx, o.Until)
		defer cancel()
	}
	err = files.Follow(until, o.Ended, show, to.flush)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// within tells whether the record is of the time that is asked for.
func (o ReadOptions) within(r record) bool {
	if o.Since.IsZero() && o.Until.IsZero() {
		return true
	}
	t := r.time()
	return !t.Before(o.Since) && (o.Until.IsZero() || !t.After(o.Until))
}

// A tail counts lines from the end. Records are counted where they end a line, or nothing of their stream follows: a long line
// is several records and counts once.
type tail struct {
	ReadOptions
	lines int
	seen  [2]bool
}

// keep tells whether the record, the newest that it was not asked about before, belongs to the last lines.
func (l *tail) keep(r record) bool {
	if !l.Until.IsZero() && r.time().After(l.Until) {
		return true // and is not printed
	}
	if !l.Since.IsZero() && r.time().Before(l.Since) {
		return false
	}
	if r.endsLine() || !l.seen[r.stream] {
		l.lines++
	}
	l.seen[r.stream] = true
	return l.lines <= l.Tail
}

// A printer writes text to where it belongs. It gathers what goes to one stream, and writes before it turns to the other, so
// that both may be one terminal.
type printer struct {
	to         [2]io.Writer
	timestamps bool
	buf        []byte
	stream     Stream  // of buf
	within     [2]bool // a line, which has its time stamp already
	note       []byte  // for stderr, before anything else
}

// printedAtOnce is how much is gathered.
const printedAtOnce = 64 << 10

func newPrinter(stdout, stderr io.Writer, timestamps bool) *printer {
	return &printer{to: [2]io.Writer{stdout, stderr}, timestamps: timestamps}
}

func (p *printer) print(r record) error {
	if r.stream != p.stream || len(p.buf) >= printedAtOnce || len(p.note) > 0 {
		if err := p.flush(); err != nil {
			return err
		}
		p.stream = r.stream
	}
	if p.timestamps && !p.within[r.stream] {
		p.buf = r.time().UTC().AppendFormat(p.buf, "2006-01-02T15:04:05.000000000Z07:00 ")
	}
	p.within[r.stream] = !r.endsLine()
	p.buf = append(p.buf, r.text...)
	return nil
}

func (p *printer) flush() error {
	var err error
	if len(p.buf) > 0 {
		_, err = p.to[p.stream].Write(p.buf)
		p.buf = p.buf[:0]
	}
	if len(p.note) > 0 && err == nil {
		_, err = p.to[Stderr].Write(p.note)
		p.note = nil
	}
	return err
}

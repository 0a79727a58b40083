package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/logs"
)

// A Stdio connects the command of one start with those who listen: us in the foreground, the log, and whoever is attached.
//
// Trust: a descriptor is more than the right to write at its end. Through /proc/self/fd/1 the command could reopen a
// file that we merely append to, and read or truncate it; through a terminal's it could read what the user types.
// So the command gets pipes (or a terminal of its own, with -t), except where ours are a pipe or /dev/null already and
// nobody else listens.
type Stdio struct {
	Command [3]*os.File // what the command gets

	o       StdioOptions
	theirs  []*os.File // the command's ends, closed when it has them
	copiers []*logs.Copier
	copies  sync.WaitGroup
	stdin   *os.File // the write end of the command's stdin: a pipe's, or the terminal's
	console *os.File
	raw     *rawTerminal
	late    chan struct{} // closed when nobody waits any longer for who reads our output
}

// StdioOptions say who listens.
type StdioOptions struct {
	TTY        bool // the command has a terminal of its own
	Input      bool // its stdin is not empty
	Foreground bool // our own stdin, stdout and stderr take part
	Discard    bool // nobody listens
	Log        *logs.Writer
	Clients    *clients // nil: nobody can attach
}

// OpenStdio makes the command's ends. The caller calls Started, and Finish in the end.
func OpenStdio(o StdioOptions) (*Stdio, error) {
	s := &Stdio{o: o, late: make(chan struct{})}
	if o.Foreground && o.TTY && o.Input && !linux.IsTerminal(0) {
		return nil, hint.Wrap(errors.New("the input device is not a TTY"), "leave -t out when stdin is a pipe or a file")
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s.theirs = append(s.theirs, null)
	s.Command = [3]*os.File{null, null, null}
	if o.TTY || o.Discard {
		return s, nil
	}
	if o.Input {
		if s.Command[0], err = s.in(s.ours(os.Stdin)); err != nil {
			return nil, err
		}
	}
	if s.Command[1], err = s.out(logs.Stdout, s.ours(os.Stdout)); err != nil {
		return nil, err
	}
	if o.Foreground && !s.kept() && sameFile(os.Stdout, os.Stderr) { // 2>&1: one pipe keeps the order
		s.Command[2] = s.Command[1]
		return s, nil
	}
	s.Command[2], err = s.out(logs.Stderr, s.ours(os.Stderr))
	return s, err
}

// ours is f where we take part, else nil.
func (s *Stdio) ours(f *os.File) *os.File {
	if s.o.Foreground {
		return f
	}
	return nil
}

// kept tells whether anybody but us listens.
func (s *Stdio) kept() bool { return s.o.Log != nil || s.o.Clients != nil }

// harmless tells whether the command may have our own descriptor.
func harmless(f *os.File) bool {
	info, err := linux.StatFD(int(f.Fd()))
	return err == nil && (info.IsFIFO || info.IsSocket || info.Rdev == linux.NullDevice())
}

func sameFile(a, b *os.File) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	other, err := b.Stat()
	return err == nil && os.SameFile(one, other)
}

func (s *Stdio) out(stream logs.Stream, ours *os.File) (*os.File, error) {
	if ours != nil && !s.kept() && harmless(ours) {
		return ours, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.theirs = append(s.theirs, w)
	s.copy(stream, ours, r)
	return w, nil
}

// copy copies output until its end. The other end may outlive the container: a command can hand its stdout to a process of
// somebody else. So the end of PID 1 (Finish) stops it, and what is there by then is the output.
func (s *Stdio) copy(stream logs.Stream, ours, theirs *os.File) {
	var broken error
	var out *patientWriter
	if ours != nil {
		out = newPatientWriter(ours, s.late)
	}
	tee := func(chunk []byte) {
		if out != nil && broken == nil {
			if broken = out.write(chunk); errors.Is(broken, syscall.EPIPE) {
				theirs.Close() // nobody reads us any more, which the command learns by SIGPIPE
			}
		}
		s.o.Clients.output(stream, chunk)
	}
	copier := logs.NewCopier(s.o.Log, theirs, stream, tee)
	s.copiers = append(s.copiers, copier)
	s.copies.Go(func() {
		defer theirs.Close()
		err := copier.Run()
		if out != nil {
			out.close()
		}
		if broken != nil {
			err = broken
		}
		// EIO: our terminal was hung up.
		if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.EIO) && s.o.Foreground {
			fmt.Fprintf(os.Stderr, "minipod: warning: the command's output is not complete: %v\n", err)
		}
	})
}

func (s *Stdio) in(ours *os.File) (*os.File, error) {
	if ours != nil && harmless(ours) {
		return ours, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.theirs = append(s.theirs, r)
	if ours == nil {
		s.stdin = w
		return r, nil
	}
	go func() { // until EOF, or our own end: a read of a terminal can't be called off
		defer w.Close()
		_, _ = io.Copy(w, ours)
	}()
	return r, nil
}

// Started closes the command's ends, which it has or will never have.
func (s *Stdio) Started(err error) {
	for _, f := range s.theirs {
		f.Close()
	}
	if err != nil {
		s.copies.Wait()
	}
}

// Attach connects the terminal of a started command with those who listen. console is s's from then on.
func (s *Stdio) Attach(console *os.File) error {
	if !s.o.TTY {
		s.o.Clients.setStdin(s.stdin, nil)
		return nil
	}
	s.console = console
	s.Resize()
	if s.o.Foreground && s.o.Input {
		var err error
		if s.raw, err = makeRaw(); err != nil {
			return err
		}
		go func() { _, _ = io.Copy(s.console, os.Stdin) }()
	}
	if !s.o.Foreground && s.o.Input {
		s.stdin = console
	}
	s.o.Clients.setStdin(s.stdin, console)
	s.copy(logs.Stdout, s.ours(os.Stdout), s.console)
	return nil
}

// Resize gives the container's terminal the size of ours, if ours has one.
func (s *Stdio) Resize() {
	if s.console != nil && s.o.Foreground && linux.IsTerminal(1) {
		_ = linux.WindowSize(1, s.console)
	}
}

// Finish comes after the command's end: the rest of its output, and our terminal as it was. Who reads our own output may take as long as
// it likes (a pager does), until asked is closed: somebody wants the container to end, and waits for that. nil is never.
func (s *Stdio) Finish(asked <-chan struct{}) error {
	s.o.Clients.setStdin(nil, nil)
	for _, c := range s.copiers {
		c.Stop()
	}
	// Somebody who is attached and does not read would have us wait for ever; by now there is nothing to slow down any more.
	impatient := time.AfterFunc(patience, func() { s.o.Clients.hurry(true) })
	copied := make(chan struct{})
	go s.giveUp(asked, copied)
	s.copies.Wait()
	close(copied)
	impatient.Stop()
	s.o.Clients.hurry(false)
	if s.stdin != nil && s.stdin != s.console {
		s.stdin.Close()
	}
	return s.raw.restore()
}

// patience is how long those who do not read may hold up the end of a container that somebody waits for.
const patience = 5 * time.Second

// giveUp gives up on who reads our output, a while after somebody asked for the end.
func (s *Stdio) giveUp(asked, copied <-chan struct{}) {
	select {
	case <-asked:
	case <-copied:
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-timer.C:
		close(s.late)
	case <-copied:
	}
}

// A patientWriter writes to our own stdout or stderr for as long as that takes, but no longer than until late is closed. A write to a pipe or
// a terminal that is not ours alone can't be called off, nor made non-blocking (others share that setting), so it is done beside.
type patientWriter struct {
	late   <-chan struct{}
	chunks chan []byte
	done   chan error
	buf    []byte // what is being written: the chunk itself is its owner's again once write returns
}

func newPatientWriter(to *os.File, late <-chan struct{}) *patientWriter {
	w := &patientWriter{late: late, chunks: make(chan []byte), done: make(chan error, 1)}
	go func() {
		for chunk := range w.chunks {
			_, err := to.Write(chunk)
			w.done <- err
		}
	}()
	return w
}

var errNotRead = errors.New("nobody read it")

// write returns errNotRead where it gave up. It is not to be called again then.
func (w *patientWriter) write(chunk []byte) error {
	w.buf = append(w.buf[:0], chunk...)
	w.chunks <- w.buf
	select {
	case err := <-w.done:
		return err
	case <-w.late:
		return errNotRead
	}
}

func (w *patientWriter) close() { close(w.chunks) }

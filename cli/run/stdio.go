package run

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
	"codeberg.org/minipod/minipod/runtime/stage"
)

// stdio connects the command with our own standard input, output and error.
//
// Trust: a descriptor is more than the right to write at its end. Through /proc/self/fd/1 the command could reopen a
// file that we merely append to, and read or truncate it; through a terminal's it could read what the user types.
// So the command gets pipes (or a terminal of its own, with -t), except where ours are a pipe or /dev/null already.
type stdio struct {
	command [3]*os.File // what the command gets
	theirs  []*os.File  // the command's ends, closed when it has them
	outputs []*os.File  // what we read of the command's output
	copies  sync.WaitGroup
	console *os.File
	raw     *linux.Terminal
	guard   *linux.Child
	alive   *os.File
	tty     bool
	input   bool
}

func (r *run) openStdio() (*stdio, error) {
	s := &stdio{tty: r.TTY, input: r.Interactive}
	if r.TTY && r.Interactive && !linux.IsTerminal(0) {
		return nil, hint.Wrap(errors.New("the input device is not a TTY"), "leave -t out when stdin is a pipe or a file")
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s.theirs = append(s.theirs, null)
	s.command = [3]*os.File{null, null, null}
	if r.TTY {
		return s, nil
	}
	if r.Interactive {
		if s.command[0], err = s.in(os.Stdin); err != nil {
			return nil, err
		}
	}
	if s.command[1], err = s.out(os.Stdout); err != nil {
		return nil, err
	}
	if sameFile(os.Stdout, os.Stderr) { // 2>&1: one pipe keeps the order
		s.command[2] = s.command[1]
		return s, nil
	}
	s.command[2], err = s.out(os.Stderr)
	return s, err
}

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

func (s *stdio) out(ours *os.File) (*os.File, error) {
	if harmless(ours) {
		return ours, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.theirs = append(s.theirs, w)
	s.copy(ours, r)
	return w, nil
}

// copy copies output until its end. The other end may outlive the container: a command can hand its stdout to a process of
// somebody else. So the end of PID 1 (finish) sets a deadline, and what is there by then is the output.
func (s *stdio) copy(ours, theirs *os.File) {
	s.outputs = append(s.outputs, theirs)
	s.copies.Go(func() {
		defer theirs.Close()
		_, err := io.Copy(ours, theirs)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = linux.Drain(ours, theirs)
		}
		// EPIPE: nobody reads us any more, which the command learns by SIGPIPE. EIO: a terminal's last process is gone.
		if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.EIO) {
			fmt.Fprintf(os.Stderr, "minipod: warning: the command's output is not complete: %v\n", err)
		}
	})
}

func (s *stdio) in(ours *os.File) (*os.File, error) {
	if harmless(ours) {
		return ours, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.theirs = append(s.theirs, r)
	go func() { // until EOF, or our own end: a read of a terminal can't be called off
		defer w.Close()
		_, _ = io.Copy(w, ours)
	}()
	return r, nil
}

// started closes the command's ends, which it has or will never have.
func (s *stdio) started(err error) {
	for _, f := range s.theirs {
		f.Close()
	}
	if err != nil {
		s.copies.Wait()
	}
}

// attach connects the terminal of a started sandbox with ours.
func (s *stdio) attach(sandbox *stage.Sandbox) error {
	if !s.tty {
		return nil
	}
	s.console = sandbox.Console
	s.resize()
	if s.input {
		if err := s.makeRaw(); err != nil {
			return err
		}
		go func() { _, _ = io.Copy(s.console, os.Stdin) }()
	}
	s.copy(os.Stdout, s.console) // EIO when the last process is gone
	return nil
}

// makeRaw hands every key to the container's terminal. First it sees to it that ours comes back, whatever becomes of us.
func (s *stdio) makeRaw() (err error) {
	if s.raw, err = linux.MakeRaw(0); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return errors.Join(err, s.raw.Restore())
	}
	defer r.Close()
	s.alive = w
	if s.guard, err = s.raw.Guard(r); err != nil {
		return errors.Join(err, s.raw.Restore())
	}
	return nil
}

// resize gives the container's terminal the size of ours, if ours has one.
func (s *stdio) resize() {
	if s.console != nil && linux.IsTerminal(1) {
		_ = linux.WindowSize(1, s.console)
	}
}

// finish comes after the command's end: the rest of its output, and our terminal as it was.
func (s *stdio) finish() error {
	for _, f := range s.outputs {
		_ = f.SetReadDeadline(time.Now()) // it may be closed already
	}
	s.copies.Wait()
	if s.raw == nil {
		return nil
	}
	err := s.raw.Restore()
	if errors.Is(err, syscall.EIO) { // it was hung up: nothing to restore
		err = nil
	}
	if e := s.guard.Kill(syscall.SIGKILL); e != nil && !errors.Is(e, syscall.ESRCH) {
		err = errors.Join(err, e)
	}
	_, e := s.guard.Wait()
	return errors.Join(err, e, s.alive.Close())
}

package supervisor

import (
	"errors"
	"os"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A rawTerminal is our own terminal while its keys belong to a command.
type rawTerminal struct {
	terminal *linux.Terminal
	guard    *linux.Child
	alive    *os.File
}

// makeRaw hands every key of our terminal through unchanged. First it sees to it that its settings come back, whatever becomes of us.
func makeRaw() (*rawTerminal, error) {
	terminal, err := linux.SaveTerminal(0)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	guard, err := terminal.Guard(r)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	t := &rawTerminal{terminal, guard, w}
	if err := terminal.MakeRaw(); err != nil {
		return nil, errors.Join(err, t.restore())
	}
	return t, nil
}

// restore gives the terminal its settings back. A nil rawTerminal was never made raw.
func (t *rawTerminal) restore() error {
	if t == nil {
		return nil
	}
	err := t.terminal.Restore()
	if errors.Is(err, syscall.EIO) { // it was hung up: nothing to restore
		err = nil
	}
	if e := t.guard.Kill(syscall.SIGKILL); e != nil && !errors.Is(e, syscall.ESRCH) {
		err = errors.Join(err, e)
	}
	_, e := t.guard.Wait()
	return errors.Join(err, e, t.alive.Close())
}

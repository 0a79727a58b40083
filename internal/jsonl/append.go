package jsonl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"codeberg.org/minipod/minipod/state"
)

// Append appends line, which ends with its newline, to the file of that name, and rotates it to name.1 where it is longer than maxSize
// bytes then. Any number of processes may do so at once.
func Append(name string, maxSize int64, line []byte) error {
	if len(line) > MaxLine {
		return fmt.Errorf("a line of %d bytes: %w", len(line), syscall.EMSGSIZE)
	}
	lock, err := state.RLockFile(name)
	if err != nil {
		return err
	}
	size, err := appendLine(name, line)
	if err = errors.Join(err, lock.Unlock()); err != nil || size <= maxSize {
		return err
	}
	return rotateOver(name, maxSize, size > 2*maxSize)
}

// appendLine appends to the file of that name, which the caller's lock keeps from being rotated, and answers its size.
func appendLine(name string, line []byte) (int64, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	complete, err := Complete(f)
	if err != nil {
		return 0, err
	}
	if !complete { // whoever wrote that line has died, or the disk was full; or it is growing just now, and this is an empty line
		line = append([]byte{'\n'}, line...)
	}
	if _, err := f.Write(line); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// rotateOver renames the file to its older name, if nobody else does or appends at this moment: whoever does sees that it is too long, too. Where there
// always was somebody it waits, as all of those do then: so each of them gets its turn.
func rotateOver(name string, maxSize int64, wait bool) error {
	take := state.TryLockThere
	if wait {
		take = state.LockFile
	}
	lock, err := take(name)
	if errors.Is(err, state.ErrLocked) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	info, err := os.Lstat(name)
	if err != nil || info.Size() <= maxSize { // another has rotated between our look and our lock
		return err
	}
	return os.Rename(name, name+".1")
}

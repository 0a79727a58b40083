package jsonl

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// Read hands on each line, without its newline, that was there when s was opened. An error of do ends it. The line is do's
// for the time of the call.
func (s *Files) Read(do func(line []byte) error) error {
	for len(s.parts) > 0 {
		limit := int64(-1) // an older part has grown its last
		if len(s.parts) == 1 {
			limit = s.end
		}
		if err := s.drain(limit, do); err != nil || len(s.parts) == 1 {
			return err
		}
		s.next()
	}
	return nil
}

// Follow is Read, and goes on with each line that is appended. Whenever it has read all there is, it calls idle, and then sleeps
// until the folder changes. It ends when ended is closed and everything was read; or with ctx's error. Of a folder that is removed
// the kernel tells only once nobody has a file of it open, as s may have: whoever removes one has to close ended.
func (s *Files) Follow(ctx context.Context, ended <-chan struct{}, do func(line []byte) error, idle func() error) error {
	watch, err := linux.WatchDir(path.Dir(s.name))
	gone := errors.Is(err, fs.ErrNotExist)
	if errors.Is(err, linux.EMFILE) {
		return hint.Wrap(err, "follow less at once, or allow more: sysctl fs.inotify.max_user_instances=1024")
	}
	if err != nil && !gone {
		return err
	}
	if !gone {
		defer watch.Close()
		defer context.AfterFunc(ctx, watch.Wake)()
		finished := make(chan struct{})
		defer close(finished)
		go func() {
			select {
			case <-ended:
				watch.Wake()
			case <-finished:
			}
		}()
	}
	for {
		last := gone || isClosed(ended) // asked before reading: what comes after the end is nobody's
		if err := errors.Join(s.readOn(do), idle()); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil || last {
			return err
		}
		err := watch.Wait()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			gone = true
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// readOn reads all there is, new parts included.
func (s *Files) readOn(do func([]byte) error) error {
	for {
		for len(s.parts) > 1 {
			if err := s.drain(-1, do); err != nil {
				return err
			}
			s.next()
		}
		if len(s.parts) == 1 {
			if err := s.drain(-1, do); err != nil {
				return err
			}
		}
		// A part that was rotated away may have grown between our last look at it and that: it is read once more.
		if rotated, err := s.refresh(); err != nil || !rotated {
			return err
		}
	}
}

// refresh opens the parts that are newer than the one being read, which is the last, and tells whether there are any.
func (s *Files) refresh() (bool, error) {
	newest, err := os.Lstat(s.name)
	if errors.Is(err, fs.ErrNotExist) { // in the middle of a rotation, or no log yet
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if len(s.parts) > 0 && indexOf(s.parts, newest) >= 0 {
		return false, nil
	}
	parts, err := openParts(s.name)
	if err != nil {
		return false, err
	}
	newer := parts
	if len(s.parts) > 0 {
		if info, err := s.parts[0].Stat(); err == nil {
			older := indexOf(parts, info) + 1
			for older < len(parts) && Number(parts[older]) < Number(s.parts[0]) { // ours was removed, and not by a rotation
				older++
			}
			closeAll(parts[:older])
			newer = parts[older:]
		}
	}
	s.parts = append(s.parts, newer...)
	return len(newer) > 0, nil
}

// next goes on to the following part.
func (s *Files) next() {
	before, after := Number(s.parts[0]), Number(s.parts[1])
	if before != 0 && after > before+1 && s.Lapped != nil {
		s.Lapped()
	}
	s.drop()
}

// drain reads the first part up to limit, or its present end where limit is negative.
func (s *Files) drain(limit int64, do func([]byte) error) error {
	if s.buf == nil {
		s.buf = make([]byte, firstBuffer)
	}
	for {
		room := s.buf[s.n:]
		if limit >= 0 {
			room = room[:max(min(int64(len(room)), limit-s.at), 0)]
		}
		if len(room) == 0 {
			return nil
		}
		n, err := s.parts[0].ReadAt(room, s.at)
		s.at, s.n = s.at+int64(n), s.n+n
		if err := s.lines(do); err != nil {
			return err
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 {
			if end, err := size(s.parts[0]); err != nil || end >= s.at {
				return err
			}
			s.at, s.n, s.junk = 0, 0, false // its owner has truncated it
		}
	}
}

// lines hands on the lines in the buffer, and makes room for the rest of the one that is not complete.
func (s *Files) lines(do func([]byte) error) error {
	rest := s.buf[:s.n]
	for {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			break
		}
		line := rest[:end]
		rest = rest[end+1:]
		if s.junk || len(line) >= MaxLine {
			s.junk = false
			continue
		}
		if err := do(line); err != nil {
			return err
		}
	}
	if s.junk || len(rest) > MaxLine {
		s.junk, rest = true, nil
	}
	if len(rest) == len(s.buf) {
		s.buf = make([]byte, 2*len(s.buf))
	}
	s.n = copy(s.buf, rest)
	return nil
}

// Rewind puts s behind the last line that keep refuses. It calls keep from the newest line on, backwards, and reads no more
// of the file than it must. What follows the last newline is not looked at, and stays to be read.
func (s *Files) Rewind(keep func(line []byte) bool) error {
	for i := len(s.parts) - 1; i >= 0; i-- {
		end := s.end
		if i < len(s.parts)-1 {
			var err error
			if end, err = size(s.parts[i]); err != nil {
				return err
			}
		}
		at, refused, err := rewind(s.parts[i], end, keep)
		if err != nil {
			return err
		}
		if refused {
			closeAll(s.parts[:i])
			s.parts, s.at = s.parts[i:], at
			return nil
		}
	}
	return nil
}

// rewind answers where the line that follows the refused one begins.
func rewind(f *os.File, end int64, keep func([]byte) bool) (at int64, refused bool, err error) {
	block := make([]byte, firstBuffer)
	junk := true // what follows the last newline is no line
	for end > 0 {
		start := max(end-int64(len(block)), 0)
		text := block[:end-start]
		if n, err := f.ReadAt(text, start); n < len(text) {
			if errors.Is(err, io.EOF) { // truncated just now
				return 0, false, nil
			}
			return 0, false, err
		}
		if junk {
			newline := bytes.LastIndexByte(text, '\n')
			junk, text = newline < 0, text[:newline+1]
			end = start + int64(len(text))
		}
		for len(text) > 0 { // which ends in a newline
			line := text[bytes.LastIndexByte(text[:len(text)-1], '\n')+1:]
			if len(line) == len(text) && start > 0 {
				break // it may begin before the block
			}
			if len(line) <= MaxLine && !keep(line[:len(line)-1]) {
				return end, true, nil
			}
			text, end = text[:len(text)-len(line)], end-int64(len(line))
		}
		switch {
		case len(text) < len(block): // or the next block would be the same
		case len(block) <= MaxLine:
			block = make([]byte, 2*len(block))
		default: // a line too long: its beginning is junk for all that we know
			junk, end = true, start
		}
	}
	return 0, false, nil
}

package jsonl

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

const (
	// MaxLine is the longest line, in bytes and with its newline, that is not skipped.
	MaxLine = 1 << 20

	firstBuffer = 64 << 10
)

// Files is an open file of lines with its older parts, and a place in it where reading goes on. Open puts it at the start of
// the oldest; Rewind and SkipBefore put it elsewhere before the first Read or Follow. It is for one goroutine.
type Files struct {
	// Lapped, where set, is called when parts went away before they were read.
	Lapped func()

	name  string
	parts []*os.File // oldest first; the first is being read
	end   int64      // how far Read goes in the last of them
	at    int64      // how far parts[0] was read into buf
	buf   []byte
	n     int  // buf[:n] is the beginning of a line
	junk  bool // what comes up to the next newline is no line
}

// Open opens name and its older parts as they are at this moment. One that does not exist is like an empty one.
func Open(name string) (*Files, error) {
	s := &Files{name: name}
	var err error
	if s.parts, err = openParts(name); err != nil || len(s.parts) == 0 {
		return s, err
	}
	s.end, err = size(s.parts[len(s.parts)-1])
	if err != nil {
		s.Close()
	}
	return s, err
}

// Close closes all parts.
func (s *Files) Close() {
	closeAll(s.parts)
	s.parts = nil
}

// SkipBefore leaves out older parts that were last written to before t.
func (s *Files) SkipBefore(t time.Time) {
	for len(s.parts) > 1 {
		info, err := s.parts[0].Stat()
		if err != nil || !info.ModTime().Before(t) {
			return
		}
		s.drop()
	}
}

// drop leaves the first part for the second.
func (s *Files) drop() {
	s.parts[0].Close()
	s.parts, s.at, s.n, s.junk = s.parts[1:], 0, 0, false
}

// openParts opens all parts, oldest first.
func openParts(name string) ([]*os.File, error) {
	for range 100 {
		parts, steady, err := tryParts(name)
		if err != nil || steady {
			return parts, err
		}
		closeAll(parts)
	}
	return nil, fmt.Errorf("open %s: it is rotated faster than it can be opened", name)
}

// tryParts opens from the newest on. Files move to higher numbers only, and the higher ones first: so none slips by, and one that
// moved meanwhile is met twice. It is steady if no rotation ended meanwhile: then the order is that of the numbers.
func tryParts(name string) (parts []*os.File, steady bool, err error) {
	numbers, err := partNumbers(name)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			closeAll(parts)
			parts = nil
		}
	}()
	var newest os.FileInfo
	for _, number := range numbers {
		f, info, err := openPart(partName(name, number))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return parts, false, err
		}
		if number == 0 {
			newest = info
		}
		if indexOf(parts, info) >= 0 {
			f.Close()
			continue
		}
		parts = append(parts, f)
	}
	slices.Reverse(parts)
	now, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return parts, newest == nil, nil
	}
	if err != nil {
		return parts, false, err
	}
	return parts, newest != nil && os.SameFile(newest, now), nil
}

// partNumbers are the numbers under which a part may be found, upwards: those that are there, and where they may be moving.
func partNumbers(name string) ([]int, error) {
	entries, err := os.ReadDir(path.Dir(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	numbers := []int{0, 1}
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), path.Base(name)+".")
		if number, err := strconv.Atoi(suffix); ok && err == nil && number > 0 && strconv.Itoa(number) == suffix {
			numbers = append(numbers, number, number+1)
		}
	}
	slices.SortFunc(numbers, cmp.Compare)
	return slices.Compact(numbers), nil
}

func partName(name string, number int) string {
	if number == 0 {
		return name
	}
	return name + "." + strconv.Itoa(number)
}

// openPart opens a regular file: of anything else, a fifo say, reading may never end.
func openPart(name string) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %s: it is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// indexOf answers which of the files is that one, or -1.
func indexOf(files []*os.File, wanted os.FileInfo) int {
	return slices.IndexFunc(files, func(f *os.File) bool {
		info, err := f.Stat()
		return err == nil && os.SameFile(info, wanted)
	})
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func size(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// numberAttribute holds a part's number, decimal. It tells readers what they missed, and nothing depends on it.
const numberAttribute = "user.minipod.part"

// SetNumber gives a part its number, if the file system has extended attributes for users.
func SetNumber(f *os.File, number uint64) {
	_ = linux.File{FD: int(f.Fd()), Name: f.Name()}.SetXattr(numberAttribute, strconv.AppendUint(nil, number, 10))
}

// Number answers a part's number, 0 where it has none.
func Number(f *os.File) uint64 {
	text, err := linux.File{FD: int(f.Fd()), Name: f.Name()}.Xattr(numberAttribute)
	if err != nil {
		return 0
	}
	number, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0 // somebody else's
	}
	return number
}

// Complete tells whether f ends in a newline, or is empty: else the next line would become part of one that a writer left
// torn when it died.
func Complete(f *os.File) (bool, error) {
	end, err := size(f)
	if err != nil || end == 0 {
		return true, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], end-1); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return last[0] == '\n', nil
}

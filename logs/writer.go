package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/jsonl"
)

// FileName is what the log is called in its container's folder.
const FileName = "log.json"

// Options say how long a log may grow.
type Options struct {
	MaxSize int64 // of a file, in bytes; 0 or less: no limit
	MaxFile int   // how many files are kept; 1 or less: only the newest
}

// A Writer appends records to a log and rotates it. Its methods may be called by several goroutines; there is at most one Writer
// of a log: whoever holds the container's lock.
type Writer struct {
	name string
	Options

	mu     sync.Mutex
	f      *os.File
	size   int64
	number uint64 // of this part, counted from 1: see package jsonl
	torn   []byte // the rest of a record of which the disk took only the beginning
	hangs  int64  // bytes of output that are lost if the rest never gets there
	lost   int64  // bytes of output since then
	why    error  // of the newest loss
}

// OpenWriter opens the log, or makes it. What a Writer before left is kept, and a record that it left torn ends here.
func OpenWriter(name string, options Options) (*Writer, error) {
	w := &Writer{name: name, Options: options}
	if err := w.open(); err != nil {
		return nil, fmt.Errorf("open the log %s: %w", name, err)
	}
	return w, nil
}

func (w *Writer) open() error {
	// Readable, too, for the look at its last byte. A symbolic link there is nobody's that we know.
	f, err := os.OpenFile(w.name, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	complete, err := jsonl.Complete(f)
	if err == nil && !complete {
		w.torn = []byte{'\n'}
	}
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr); err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.size, w.number = f, info.Size(), jsonl.Number(f)
	if w.number == 0 {
		w.number = 1
		jsonl.SetNumber(f, w.number)
	}
	return nil
}

// Close closes the log. Its error says what output was lost without the log saying so.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.catchUp()
	var lost error
	if n := w.hangs + w.lost; n > 0 {
		lost = fmt.Errorf("write the log %s: %d bytes of output were lost: %w", w.name, n, w.why)
	}
	return errors.Join(lost, w.f.Close())
}

// write appends whole records. It never fails: what the disk does not take is counted, and told when it takes something again.
func (w *Writer) write(records []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(records) > 0 {
		if !w.catchUp() {
			w.lost += textLength(records)
			return
		}
		n := len(records)
		if w.MaxSize > 0 {
			if n = wholeRecords(records, w.MaxSize-w.size); n == 0 {
				w.rotate()
				n = max(wholeRecords(records, w.MaxSize-w.size), bytes.IndexByte(records, '\n')+1)
			}
		}
		w.put(records[:n])
		records = records[n:]
	}
}

// wholeRecords answers how long those of the first records are that fit into room.
func wholeRecords(records []byte, room int64) int {
	if room >= int64(len(records)) {
		return len(records)
	}
	return bytes.LastIndexByte(records[:max(room, 0)], '\n') + 1
}

// put writes records with one write(2). If the disk takes a part only, its last record is torn for as long.
func (w *Writer) put(records []byte) {
	n, err := w.f.Write(records)
	w.size += int64(n)
	if err == nil {
		return
	}
	w.why = reason(err)
	whole := bytes.LastIndexByte(records[:n], '\n') + 1
	if whole < n {
		end := n + bytes.IndexByte(records[n:], '\n') + 1
		w.torn, w.hangs = bytes.Clone(records[n:end]), textLength(records[whole:end])
		whole = end
	}
	w.lost += textLength(records[whole:])
}

// catchUp writes what must come before the next record: the rest of a torn one, and how much was lost. It answers false where
// that is not possible yet.
func (w *Writer) catchUp() bool {
	if len(w.torn) > 0 {
		n, err := w.f.Write(w.torn)
		w.size, w.torn = w.size+int64(n), w.torn[n:]
		if err != nil {
			w.why = reason(err)
			return false
		}
		w.hangs = 0
	}
	if w.lost == 0 {
		return true
	}
	note := "minipod: " + strconv.FormatInt(w.lost, 10) + " bytes of output were lost: " + w.why.Error() + "\n"
	line := appendRecord(nil, []byte(note), appendTail(nil, Stderr, time.Now()))
	n, err := w.f.Write(line)
	w.size += int64(n)
	if n > 0 { // it will be whole, sooner or later
		w.torn, w.hangs, w.lost = line[n:], w.lost, 0
	}
	if err != nil {
		w.why = reason(err)
		return false
	}
	w.hangs = 0
	return true
}

// reason is what the kernel said, without the file's name: the log knows that.
func reason(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// rotate makes the log the newest of the older parts, and begins a new one. If that is not possible the old one grows on: a
// log that is too long is better than none.
func (w *Writer) rotate() {
	if w.size == 0 {
		return
	}
	next, err := w.shift()
	if err != nil {
		return
	}
	w.f.Close()
	w.f, w.size = next, 0
	w.number++
}

// shift follows package jsonl's contract: the oldest first, and the log itself last. The new part is made before anything is
// moved, for a disk may have no room for one more file.
func (w *Writer) shift() (*os.File, error) {
	temp := w.name + ".new"
	next, err := os.OpenFile(temp, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	jsonl.SetNumber(next, w.number+1)
	err = w.moveOlder()
	if err == nil {
		if err = os.Rename(temp, w.name); err != nil && w.MaxFile > 1 {
			err = errors.Join(err, os.Rename(w.name+".1", w.name)) // where this Writer goes on
		}
	}
	if err != nil {
		return nil, errors.Join(err, next.Close(), os.Remove(temp))
	}
	return next, nil
}

func (w *Writer) moveOlder() error {
	for i := w.MaxFile - 1; i > 0; i-- {
		from := w.name
		if i > 1 {
			from += "." + strconv.Itoa(i-1)
		}
		err := os.Rename(from, w.name+"."+strconv.Itoa(i))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

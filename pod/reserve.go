package pod

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A reserve is room on disk for a pod's status that nobody else can take: what fills a disk may be the pod itself, and then its status matters. It is
// two files; the status is written over one of them, which then changes places with what is there: that one has its room, too.
//
//	status.json ──┐   full: written over .reserve-a, which becomes status.json; after that over .reserve-b, which
//	.reserve-a    │         changes places with it, again and again
//	.reserve-b ───┘   room: status.json is a new file each time, as small as it is
type reserve struct {
	dir string
}

// reserved is the size of each of the files, more than the status of a pod of a dozen containers has.
const reserved = 16 << 10

func (r reserve) first() string  { return path.Join(r.dir, ".reserve-a") }
func (r reserve) second() string { return path.Join(r.dir, ".reserve-b") }

// fill makes what there is not of the reserve, and tops up what an exchange has left there: a status that was written while there was room is as small as
// it is, and so takes its place as a reserve with no more. Where there is no room for it, there is none.
func (r reserve) fill() {
	for _, name := range []string{r.first(), r.second()} {
		if info, err := os.Lstat(name); err == nil && info.Size() >= reserved {
			continue
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			continue
		}
		if err := errors.Join(linux.Allocate(f, reserved), f.Close()); err != nil {
			_ = os.Remove(name)
		}
	}
}

// put writes a status, whole or not at all, and on a full disk, too. It is not synced: what a power cut could take ended with it.
func (r reserve) put(name string, data []byte) error {
	err := put(r.dir, name, data)
	if err == nil {
		r.fill()
	}
	if !isFull(err) {
		return err
	}
	_ = os.Remove(path.Join(r.dir, "."+name)) // what there is of it
	if len(data) > reserved {
		return err
	}
	text := append(bytes.Clone(data), bytes.Repeat([]byte{' '}, reserved-len(data))...) // for JSON that is nothing, and the file keeps its room
	target := path.Join(r.dir, name)
	e := overwrite(r.first(), text)
	switch {
	case e == nil:
		return os.Rename(r.first(), target)
	case errors.Is(e, fs.ErrNotExist):
		if e = overwrite(r.second(), text); e == nil {
			return linux.Exchange(r.second(), target)
		}
	}
	if errors.Is(e, fs.ErrNotExist) { // there is no reserve: who hears of ErrNotExist takes it for the end of the folder
		return err
	}
	return errors.Join(err, e)
}

// overwrite writes over a file that there is.
func overwrite(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, 0)
	return errors.Join(err, f.Close())
}

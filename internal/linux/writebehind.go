package linux

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeWindow is how much a WriteBehind lets gather before it has it written.
const writeWindow = 8 << 20

// A WriteBehind keeps a file that is written once and hardly read from filling the page cache: each window of it is
// handed to the disk while the next one is written, and its pages are given back. So the fsync at the end has
// little to do, what others have cached stays cached, and the pages go round: writing into pages that were just
// freed costs half of what fresh ones do where memory is a virtual machine's.
//
// All of it is advice. What a file system or a kernel does not support changes nothing, so there are no errors;
// fsync(2) still has the last word.
type WriteBehind struct {
	File             *os.File
	started, dropped int64 // up to here its writing was started, and its pages were given back
}

// Wrote says that the file now ends at offset.
func (w *WriteBehind) Wrote(offset int64) {
	if offset < w.started { // truncated
		w.started, w.dropped = 0, 0
	}
	if offset-w.started < writeWindow {
		return
	}
	fd := int(w.File.Fd())
	_ = unix.SyncFileRange(fd, w.started, offset-w.started, unix.SYNC_FILE_RANGE_WRITE)
	if n := w.started - w.dropped; n > 0 {
		const whole = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
		_ = unix.SyncFileRange(fd, w.dropped, n, whole)
		_ = unix.Fadvise(fd, w.dropped, n, unix.FADV_DONTNEED) // dirty pages would stay, hence the wait
	}
	w.started, w.dropped = offset, w.started
}

package linux

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Watch tells that something in one folder has changed: a file was written to, made, renamed or removed. See inotify(7).
type Watch struct {
	f   *os.File
	dir string
}

// WatchDir starts to watch dir; what happens from then on is told. The caller closes. A user has a limited number of them
// (EMFILE; fs.inotify.max_user_instances).
func WatchDir(dir string) (*Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, &os.PathError{Op: "inotify_init for", Path: dir, Err: err}
	}
	const mask = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK
	if _, err := unix.InotifyAddWatch(fd, dir, mask); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "watch", Path: dir, Err: err}
	}
	return &Watch{os.NewFile(uintptr(fd), "inotify"), dir}, nil
}

// Wait waits for a change since the last call. It answers os.ErrDeadlineExceeded once Wake was called, and fs.ErrNotExist once
// the folder is gone, and no file that was in it is open any more. A change may be told twice, never less than once.
func (w *Watch) Wait() error {
	var events [4096]byte // which the kernel fills with whole ones
	n, err := w.f.Read(events[:])
	if err != nil {
		return err
	}
	for at := 0; at+unix.SizeofInotifyEvent <= n; {
		event := (*unix.InotifyEvent)(unsafe.Pointer(&events[at]))
		if event.Mask&unix.IN_IGNORED != 0 { // the watch went away with what it watched
			return &os.PathError{Op: "watch", Path: w.dir, Err: fs.ErrNotExist}
		}
		at += unix.SizeofInotifyEvent + int(event.Len)
	}
	return nil
}

// Wake ends the Wait of another goroutine, and each that follows.
func (w *Watch) Wake() {
	_ = w.f.SetReadDeadline(time.Unix(1, 0)) // it may be closed by now; the descriptor can be polled, always
}

// Until has the next Wait end at t, whatever happens: for who looks at something else, too. It takes a Wake back that came before.
func (w *Watch) Until(t time.Time) { _ = w.f.SetReadDeadline(t) }

// Close ends the watch.
func (w *Watch) Close() error { return w.f.Close() }

// WatchRemoval returns a descriptor that can be read once the folder open as dir is removed, and nobody has it open any more.
func WatchRemoval(dir int) (fd int, err error) {
	if fd, err = unix.InotifyInit1(unix.IN_CLOEXEC); err != nil {
		return -1, os.NewSyscallError("inotify_init", err)
	}
	if _, err := unix.InotifyAddWatch(fd, "/proc/self/fd/"+strconv.Itoa(dir), unix.IN_DELETE_SELF|unix.IN_ONLYDIR); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("inotify_add_watch", err)
	}
	return fd, nil
}

// spareInstances are left to those who watch something by hand: a user has 128 of them, usually (fs.inotify.max_user_instances).
const spareInstances = 16

// AwaitUnlink waits until the last name of the file that is open as f is removed, which is when it returns nil, or until ctx ends. No thread is
// held. EMFILE says that the user has few watches left, which others need more.
func AwaitUnlink(ctx context.Context, f *os.File) error {
	file, err := f.SyscallConn() // not Fd, which would take the file from Go's poller
	if err != nil {
		return err
	}
	watch, err := newInstance()
	if err != nil {
		return err
	}
	defer watch.Close()
	defer context.AfterFunc(ctx, func() { watch.Close() })()
	on, err := watch.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = file.Control(func(fd uintptr) {
		failed = on.Control(func(instance uintptr) { // a name that goes changes the count of names: an attribute
			_, failed = unix.InotifyAddWatch(int(instance), "/proc/self/fd/"+strconv.Itoa(int(fd)), unix.IN_ATTRIB)
		})
	})
	if err = errors.Join(err, failed); err != nil {
		return &os.PathError{Op: "watch", Path: f.Name(), Err: err}
	}
	for {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if info.Sys().(*syscall.Stat_t).Nlink == 0 { //nolint:forcetypeassert // there is no other
			return nil
		}
		if _, err := watch.Read(make([]byte, unix.SizeofInotifyEvent)); err != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// newInstance makes an inotify instance, if that leaves some to others.
func newInstance() (*os.File, error) {
	var spare []int
	defer func() {
		for _, fd := range spare {
			unix.Close(fd)
		}
	}()
	for range spareInstances + 1 {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return nil, os.NewSyscallError("inotify_init", err)
		}
		spare = append(spare, fd)
	}
	fd := spare[spareInstances]
	spare = spare[:spareInstances]
	return os.NewFile(uintptr(fd), "inotify"), nil
}

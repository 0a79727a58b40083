package linux

import (
	"errors"
	"os"
	"path"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Errors of file systems that io/fs has no name for, for errors.Is.
const (
	EDQUOT  = unix.EDQUOT
	EISDIR  = unix.EISDIR
	ELOOP   = unix.ELOOP
	EMFILE  = unix.EMFILE
	ENODATA = unix.ENODATA // no such extended attribute
	ENOTDIR = unix.ENOTDIR
	ENOTSUP = unix.ENOTSUP
	ENXIO   = unix.ENXIO // nothing behind a socket or a device node
)

// Types of file in a mode, and its bits that chmod(2) sets.
const (
	S_IFMT   = unix.S_IFMT
	S_IFREG  = unix.S_IFREG
	S_IFDIR  = unix.S_IFDIR
	S_IFLNK  = unix.S_IFLNK
	S_IFCHR  = unix.S_IFCHR
	S_IFBLK  = unix.S_IFBLK
	S_IFIFO  = unix.S_IFIFO
	S_IFSOCK = unix.S_IFSOCK

	ModeBits = 0o7777
)

// Stat is the kernel's struct stat.
type Stat = unix.Stat_t

// A File is a bare descriptor and the name it was opened by, which its errors name. It is an os.File without the
// poller and the finalizer, which cost as much as the calls where a hundred thousand small files are written.
// Methods that take a name act on that entry of the folder that File is, and never follow a symbolic link there:
// name must be one component. The caller closes.
type File struct {
	FD   int
	Name string
}

// OpenDir opens the folder at name.
func OpenDir(name string) (File, error) {
	return open(unix.AT_FDCWD, name, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY})
}

// OpenBeneath opens the folder at name, a path relative to f. Symbolic links are refused (ELOOP), and so is what leads
// out of f (EXDEV).
func (f File) OpenBeneath(name string) (File, error) {
	return open(f.FD, name, path.Join(f.Name, name), &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
}

// OpenInRoot opens the folder at name as a process whose root is f would: symbolic links are followed, absolute ones
// and ".." start and stop at f.
func (f File) OpenInRoot(name string) (File, error) {
	return open(f.FD, name, path.Join(f.Name, name), &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// OpenFileInRoot opens the file at name for reading, or with flags (O_RDWR) otherwise, as a process whose root is f would. What is
// there may be anything: a fifo does not block, and a terminal does not become ours.
func (f File) OpenFileInRoot(name string, flags int) (File, error) {
	return open(f.FD, name, path.Join(f.Name, name), &unix.OpenHow{
		Flags:   uint64(flags) | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// Create makes the regular file name, which must not exist (fs.ErrExist), with mode 0600 and opens it for writing.
func (f File) Create(name string) (File, error) {
	return f.openat(name, &unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL, Mode: 0o600})
}

// Open opens the regular file or folder name for reading. A fifo does not block.
func (f File) Open(name string) (File, error) {
	return f.openat(name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK})
}

func (f File) openat(name string, how *unix.OpenHow) (File, error) {
	how.Flags |= unix.O_NOFOLLOW
	how.Resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS
	return open(f.FD, name, path.Join(f.Name, name), how)
}

func open(dir int, name, full string, how *unix.OpenHow) (File, error) {
	how.Flags |= unix.O_CLOEXEC
	// EAGAIN: a rename anywhere on the machine while ".." was being checked (man 2 openat2). It passes.
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(dir, name, how)
		switch {
		case err == nil:
			return File{fd, full}, nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN) && tries < 128:
		default:
			return File{-1, full}, &os.PathError{Op: "open", Path: full, Err: err}
		}
	}
}

// Names answers the names in the folder f, in the kernel's order. It reads on from where the last call ended.
func (f File) Names() ([]string, error) {
	var names []string
	buf := make([]byte, 32<<10)
	for {
		var n int
		err := f.self("read", func() (err error) { n, err = unix.Getdents(f.FD, buf); return err })
		if err != nil || n == 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// Close closes f. What close(2) may report of a late write error belongs to file systems that Sync asks first.
func (f File) Close() { unix.Close(f.FD) }

// Path answers the path of f as the kernel knows it, with every symbolic link resolved.
func (f File) Path() (string, error) { return os.Readlink("/proc/self/fd/" + strconv.Itoa(f.FD)) }

// Mkdir makes the folder name.
func (f File) Mkdir(name string, mode uint32) error {
	return f.entry("mkdir", name, func() error { return unix.Mkdirat(f.FD, name, mode) })
}

// Mknod makes a fifo, a socket or a device node. dev is that of Stat's Rdev. A character device 0/0, overlay's
// whiteout, needs no privilege since Linux 5.8.
func (f File) Mknod(name string, mode uint32, dev uint64) error {
	return f.entry("mknod", name, func() error { return unix.Mknodat(f.FD, name, mode, int(dev)) })
}

// Symlink makes the symbolic link name, which says target.
func (f File) Symlink(target, name string) error {
	return f.entry("symlink", name, func() error { return unix.Symlinkat(target, f.FD, name) })
}

// Readlink answers what the symbolic link name says.
func (f File) Readlink(name string) (string, error) {
	buf := make([]byte, unix.PathMax) // no file system stores a longer one
	var n int
	err := f.entry("readlink", name, func() (err error) { n, err = unix.Readlinkat(f.FD, name, buf); return err })
	return string(buf[:max(n, 0)]), err
}

// Link makes name another name of the file oldName in the folder old; of a symbolic link itself, if it is one.
func (f File) Link(old File, oldName, name string) error {
	return f.entry("link", name, func() error { return unix.Linkat(old.FD, oldName, f.FD, name, 0) })
}

// Unlink removes name, which is not a folder (EISDIR).
func (f File) Unlink(name string) error {
	return f.entry("unlink", name, func() error { return unix.Unlinkat(f.FD, name, 0) })
}

// Lstat describes name.
func (f File) Lstat(name string) (st Stat, err error) {
	err = f.entry("lstat", name, func() error { return unix.Fstatat(f.FD, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

// Lchown gives name an owner. The kernel drops its set-id bits and file capabilities.
func (f File) Lchown(name string, uid, gid int) error {
	return f.entry("chown", name, func() error { return unix.Fchownat(f.FD, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW) })
}

// ChmodNode sets the mode of name, which the caller knows not to be a symbolic link: chmod(2) would follow it, and
// fchmodat2(2), which need not, is of Linux 6.6.
func (f File) ChmodNode(name string, mode uint32) error {
	return f.entry("chmod", name, func() error { return unix.Fchmodat(f.FD, name, mode, 0) })
}

// SetTimesOf sets name's access and modification time to t, a symbolic link's own if it is one.
func (f File) SetTimesOf(name string, t time.Time) error {
	ts := timespecs(t)
	return f.entry("utimensat", name, func() error {
		return unix.UtimesNanoAt(f.FD, name, ts[:], unix.AT_SYMLINK_NOFOLLOW)
	})
}

// Stat describes f.
func (f File) Stat() (st Stat, err error) {
	err = f.self("stat", func() error { return unix.Fstat(f.FD, &st) })
	return st, err
}

// Chown gives f an owner. The kernel drops set-id bits and file capabilities.
func (f File) Chown(uid, gid int) error {
	return f.self("chown", func() error { return unix.Fchown(f.FD, uid, gid) })
}

// Chmod sets f's mode.
func (f File) Chmod(mode uint32) error {
	return f.self("chmod", func() error { return unix.Fchmod(f.FD, mode) })
}

// SetTimes sets f's access and modification time to t.
func (f File) SetTimes(t time.Time) error {
	ts := timespecs(t)
	return f.self("utimensat", func() error {
		// A null name means the descriptor itself; x/sys has no wrapper for that, and AT_EMPTY_PATH is newer.
		_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(f.FD), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
}

func timespecs(t time.Time) [2]unix.Timespec {
	ts := unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
	return [2]unix.Timespec{ts, ts}
}

// SetXattr sets the extended attribute key.
func (f File) SetXattr(key string, value []byte) error {
	return f.self("setxattr "+key+" of", func() error { return unix.Fsetxattr(f.FD, key, value, 0) })
}

// Xattr answers the value of the extended attribute key; ENODATA where there is none.
func (f File) Xattr(key string) ([]byte, error) {
	return f.sized("getxattr "+key+" of", func(buf []byte) (int, error) { return unix.Fgetxattr(f.FD, key, buf) })
}

// Xattrs answers the names of the extended attributes, in the kernel's order.
func (f File) Xattrs() ([]string, error) {
	list, err := f.sized("listxattr", func(buf []byte) (int, error) { return unix.Flistxattr(f.FD, buf) })
	var names []string
	for start, i := 0, 0; i < len(list); i++ {
		if list[i] == 0 {
			names = append(names, string(list[start:i]))
			start = i + 1
		}
	}
	return names, err
}

// sized calls a function that fills a buffer of unknown size: first with room for most, then with what it asks for.
func (f File) sized(op string, call func([]byte) (int, error)) ([]byte, error) {
	buf := make([]byte, 256)
	for {
		var n int
		err := f.self(op, func() (err error) { n, err = call(buf); return err })
		switch {
		case err == nil:
			return buf[:n], nil
		case !errors.Is(err, unix.ERANGE) || len(buf) > 1<<17: // XATTR_SIZE_MAX and XATTR_LIST_MAX are 64 KiB
			return nil, err
		}
		buf = make([]byte, 4*len(buf))
	}
}

// WriteAt writes all of data at offset.
func (f File) WriteAt(data []byte, offset int64) error {
	for len(data) > 0 {
		var n int
		err := f.self("write", func() (err error) { n, err = unix.Pwrite(f.FD, data, offset); return err })
		if err != nil {
			return err
		}
		data, offset = data[n:], offset+int64(n)
	}
	return nil
}

// Truncate sets f's size; what is added reads as zeros and takes no space.
func (f File) Truncate(size int64) error {
	return f.self("truncate", func() error { return unix.Ftruncate(f.FD, size) })
}

// Data answers the next range at or after offset that holds data; start is the size of the file where there is none.
// A file system that doesn't know its holes answers one range.
func (f File) Data(offset, size int64) (start, end int64, err error) {
	start, err = unix.Seek(f.FD, offset, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case err != nil:
		return 0, 0, &os.PathError{Op: "seek data", Path: f.Name, Err: err}
	}
	if end, err = unix.Seek(f.FD, start, unix.SEEK_HOLE); err != nil {
		return 0, 0, &os.PathError{Op: "seek hole", Path: f.Name, Err: err}
	}
	return min(start, size), min(end, size), nil
}

// OSFile hands the descriptor over to an os.File, which closes it.
func (f File) OSFile() *os.File { return os.NewFile(uintptr(f.FD), f.Name) }

// entry and self run a call again when a signal interrupted it, and name what it was made on.
func (f File) entry(op, name string, call func() error) error {
	if err := restarted(call); err != nil {
		return &os.PathError{Op: op, Path: path.Join(f.Name, name), Err: err}
	}
	return nil
}

func (f File) self(op string, call func() error) error {
	if err := restarted(call); err != nil {
		return &os.PathError{Op: op, Path: f.Name, Err: err}
	}
	return nil
}

func restarted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Allocate gives a file room on disk for its first size bytes, which later writes to them don't lack (fallocate(2)).
func Allocate(f *os.File, size int64) error {
	err := restarted(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if err != nil {
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return nil
}

// Exchange has two files of one file system change places, by one step (RENAME_EXCHANGE, rename(2)).
func Exchange(one, other string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: one, New: other, Err: err}
	}
	return nil
}

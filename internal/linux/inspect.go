package linux

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Info is what StatFD tells of an open file.
type Info struct {
	IsDir, IsRegular, IsFIFO, IsSocket bool

	Mode  uint32 // permission bits with set-uid, set-gid and sticky
	Rdev  uint64 // of a device node
	Owner uint32
}

// StatFD is fstat(2); fd may be O_PATH.
func StatFD(fd int) (Info, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstat(fd, &st)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return Info{}, fmt.Errorf("fstat: %w", err)
		}
		kind := st.Mode & unix.S_IFMT
		return Info{
			IsDir: kind == unix.S_IFDIR, IsRegular: kind == unix.S_IFREG, IsFIFO: kind == unix.S_IFIFO, IsSocket: kind == unix.S_IFSOCK,
			Mode: st.Mode & 0o7777, Rdev: st.Rdev, Owner: st.Uid,
		}, nil
	}
}

// NullDevice is the Rdev of /dev/null (Documentation/admin-guide/devices.txt).
func NullDevice() uint64 { return unix.Mkdev(1, 3) }

// IsKernelTree tells whether fd is on a proc or sysfs.
func IsKernelTree(fd int) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false, fmt.Errorf("fstatfs: %w", err)
	}
	return st.Type == unix.PROC_SUPER_MAGIC || st.Type == unix.SYSFS_MAGIC, nil
}

// CanExecute asks the kernel whether our effective ids may execute path (faccessat2(2)).
func CanExecute(path string) error {
	err := unix.Faccessat2(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
	if errors.Is(err, syscall.ENOSYS) {
		err = unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, 0)
	}
	if err != nil {
		return &os.PathError{Op: "execute", Path: path, Err: err}
	}
	return nil
}

// LastCapability is the highest capability that this kernel knows, as /proc/sys/kernel/cap_last_cap has it.
func LastCapability() int {
	last := unix.CAP_LAST_CAP // of the kernel that x/sys was made for; most run no other
	for last < 63 && knowsCapability(last+1) {
		last++
	}
	for last > 0 && !knowsCapability(last) {
		last--
	}
	return last
}

func knowsCapability(c int) bool {
	_, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
	return err == nil
}

// StartTime returns when the process started, in clock ticks since boot (field 22 of /proc/PID/stat). With it a pid names
// one process for ever; alone it names whoever has the number now.
func StartTime(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The second field is the command in parentheses, and may hold anything; what follows the last one is numbers.
	_, rest, _ := bytes.Cut(data[bytes.LastIndexByte(data, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest)
	const startTime = 22 - 3 // rest begins with the third field
	if len(fields) <= startTime {
		return 0, fmt.Errorf("read /proc/%d/stat: it has %d fields", pid, len(fields)+2)
	}
	return strconv.ParseUint(string(fields[startTime]), 10, 64)
}

// OpenProcess returns a pidfd of process pid, close-on-exec. The caller knows that the number still means it, and closes.
func OpenProcess(pid int) (int, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, fmt.Errorf("open process %d: %w", pid, err)
	}
	return fd, nil
}

// KillProcess sends sig to the process pid that started at that time. It answers ESRCH where that one is gone.
func KillProcess(pid int, started uint64, sig syscall.Signal) error {
	pidfd, err := openStarted(pid, started)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	if err := unix.PidfdSendSignal(pidfd, sig, nil, 0); err != nil {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), pid, err)
	}
	return nil
}

// Alive tells whether the process pid that started at that time still runs; a zombie does not.
func Alive(pid int, started uint64) bool {
	pidfd, err := openStarted(pid, started)
	if err != nil {
		return false
	}
	defer unix.Close(pidfd)
	ended, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
	return err != nil || ended == 0
}

// AwaitEnd waits until the process pid that started at that time has ended. One that is gone is no error.
func AwaitEnd(pid int, started uint64) error {
	pidfd, err := openStarted(pid, started)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	WaitReadable(pidfd)
	return nil
}

// openStarted returns a pidfd of the process pid that started at that time. It answers ESRCH where that one is gone.
func openStarted(pid int, started uint64) (int, error) {
	if pid <= 0 {
		return -1, fmt.Errorf("open process %d: %w", pid, unix.ESRCH)
	}
	pidfd, err := OpenProcess(pid) // first hold it, then look: the number can't change hands in between
	if err != nil {
		return -1, err
	}
	if now, err := StartTime(pid); err != nil || now != started {
		unix.Close(pidfd)
		return -1, fmt.Errorf("process %d has ended: %w", pid, unix.ESRCH)
	}
	return pidfd, nil
}

package linux

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NamespaceOwner tells of the namespace behind a file of /proc/PID/ns in which user namespace it was made, by that one's
// inode, and which user made that one (ioctl_nsfs(2)). Of a user namespace it tells the parent, and who made it itself.
// A user namespace that is not ours or below ours is out of sight: its inode is 0.
func NamespaceOwner(path string) (userns uint64, uid int, err error) {
	fd, err := openNamespace(path)
	if err != nil {
		return 0, -1, err
	}
	defer unix.Close(fd)
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil {
		return 0, -1, &os.PathError{Op: "ioctl NS_GET_NSTYPE", Path: path, Err: err}
	}
	request, made := uint(unix.NS_GET_USERNS), fd // made: the user namespace whose maker is asked for
	if kind == unix.CLONE_NEWUSER {
		request = unix.NS_GET_PARENT
	}
	owner, err := unix.IoctlRetInt(fd, request)
	if errors.Is(err, syscall.EPERM) {
		owner, err = -1, nil
	}
	if err != nil {
		return 0, -1, &os.PathError{Op: "ioctl on the namespace", Path: path, Err: err}
	}
	if owner >= 0 {
		defer unix.Close(owner)
		var st unix.Stat_t
		if err := unix.Fstat(owner, &st); err != nil {
			return 0, -1, fmt.Errorf("fstat the user namespace of %s: %w", path, err)
		}
		userns = st.Ino
	}
	if kind != unix.CLONE_NEWUSER {
		made = owner
	}
	if made < 0 {
		return 0, -1, nil
	}
	var id uint32
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(made), unix.NS_GET_OWNER_UID, uintptr(unsafe.Pointer(&id))); errno != 0 {
		return userns, -1, &os.PathError{Op: "ioctl NS_GET_OWNER_UID", Path: path, Err: errno}
	}
	return userns, int(id), nil
}

func openNamespace(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}

// NamespaceText returns the text of the link in /proc/PID/ns that leads to the namespace behind f: "mnt:[4026531841]".
func NamespaceText(f *os.File) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

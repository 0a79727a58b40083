package linux

import (
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// OpenIn opens the folder at name as OpenInRoot does, but only to find things in it (O_PATH): that needs the right to
// search it, not to read it.
func (f File) OpenIn(name string) (File, error) {
	return open(f.FD, name, path.Join(f.Name, name), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// ChmodNoFollow sets the mode of name where somebody else may put a symbolic link in its place at any moment, which
// ChmodNode would follow, out of every root: it opens the file itself (O_PATH), and changes what it holds.
func (f File) ChmodNoFollow(name string, mode uint32) error {
	node, err := f.openat(name, &unix.OpenHow{Flags: unix.O_PATH})
	if err != nil {
		return err
	}
	defer node.Close()
	st, err := node.Stat()
	if err != nil {
		return err
	}
	if st.Mode&S_IFMT == S_IFLNK { // O_PATH opens the link itself, and its name in /proc leads to its target
		return &os.PathError{Op: "chmod", Path: node.Name, Err: ELOOP}
	}
	return node.self("chmod", func() error { return unix.Chmod("/proc/self/fd/"+strconv.Itoa(node.FD), mode) })
}

// IsDir tells whether fd is open on a folder.
func IsDir(fd int) bool {
	info, err := StatFD(fd)
	return err == nil && info.IsDir
}

// IsMountRoot tells whether something is mounted on name, in whatever mount namespace f is in. The kernel lets those who are
// in another one unlink a mount point, and then takes the mount away there (unlink(2), detach_mounts): who replaces files
// of a container from outside asks first.
func (f File) IsMountRoot(name string) (bool, error) {
	var stx unix.Statx_t
	err := f.entry("statx", name, func() error {
		return unix.Statx(f.FD, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &stx)
	})
	return stx.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, err
}

// OpenThere opens the file name, which exists, for writing. A fifo or a device does not block.
func (f File) OpenThere(name string) (File, error) {
	return f.openat(name, &unix.OpenHow{Flags: unix.O_WRONLY | unix.O_NONBLOCK | unix.O_NOCTTY})
}

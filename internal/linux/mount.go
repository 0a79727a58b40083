package linux

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Flags of mount(2) and of the descriptor-based calls that our callers name.
const (
	MsNosuid  = unix.MS_NOSUID
	MsNodev   = unix.MS_NODEV
	MsNoexec  = unix.MS_NOEXEC
	MsRdonly  = unix.MS_RDONLY
	MsPrivate = unix.MS_PRIVATE
	MsRec     = unix.MS_REC
	MsSlave   = unix.MS_SLAVE
	MsShared  = unix.MS_SHARED

	AttrRdonly = unix.MOUNT_ATTR_RDONLY
	AttrNosuid = unix.MOUNT_ATTR_NOSUID
	AttrNodev  = unix.MOUNT_ATTR_NODEV
	AttrNoexec = unix.MOUNT_ATTR_NOEXEC

	AttrNoatime     = unix.MOUNT_ATTR_NOATIME
	AttrStrictatime = unix.MOUNT_ATTR_STRICTATIME
	AttrNodiratime  = unix.MOUNT_ATTR_NODIRATIME
)

// Mount is mount(2).
func Mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return &os.PathError{Op: "mount " + fstype + " on", Path: target, Err: err}
	}
	return nil
}

// Detach is umount2(2) with MNT_DETACH: the mount leaves the tree now, and ends when its last user does.
func Detach(target string) error {
	if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
		return &os.PathError{Op: "detach", Path: target, Err: err}
	}
	return nil
}

// CloneTree is open_tree(2) with OPEN_TREE_CLONE: a copy of the mount tree at path that is attached nowhere, reachable
// only through the descriptor. Symbolic links in path are followed.
func CloneTree(path string, recursive bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, flags)
	if err != nil {
		return -1, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	return fd, nil
}

// CloneTreeBeneath is CloneTree, recursive, of what is at name below the folder dir. Symbolic links are followed as long as they stay below
// (EXDEV).
func CloneTreeBeneath(dir int, name string) (int, error) {
	found, err := open(dir, name, name, &unix.OpenHow{Flags: unix.O_PATH, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return -1, err
	}
	defer found.Close()
	fd, err := unix.OpenTree(found.FD, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH)
	if err != nil {
		return -1, &os.PathError{Op: "open_tree", Path: name, Err: err}
	}
	return fd, nil
}

// NewMount is fsopen, fsconfig, fsmount: a new file system of the given type, attached nowhere. Options are key=value
// or flags. attr is of MOUNT_ATTR_*.
func NewMount(fstype string, options []string, attr int) (int, error) {
	fail := func(call string, err error) (int, error) {
		return -1, &os.PathError{Op: call, Path: fstype, Err: err}
	}
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fail("fsopen", err)
	}
	defer unix.Close(fs)
	for _, option := range options {
		key, value, isPair := cut(option, '=')
		if isPair {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return fail("fsconfig "+option+" of", err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fail("fsconfig create", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return fail("fsmount", err)
	}
	return fd, nil
}

func cut(s string, sep byte) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// MoveMount attaches the detached mount fd at target, and closes fd. A symbolic link as target's last component is
// not followed.
func MoveMount(fd int, target string) error {
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount to", Path: target, Err: err}
	}
	return nil
}

// MoveMountFD attaches the detached mount fd at the file that target is open on (O_PATH), and closes fd.
func MoveMountFD(fd, target int, name string) error {
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount to", Path: name, Err: err}
	}
	return nil
}

// SetMountAttr changes the attributes of the mount behind fd, and of all below it when recursive. propagation is one of
// MS_PRIVATE, MS_SLAVE, MS_SHARED, or 0 for no change.
func SetMountAttr(fd int, set uint64, propagation uint64, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if err := unix.MountSetattr(fd, "", flags, &unix.MountAttr{Attr_set: set, Propagation: propagation}); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

// SetMountAttrAt is SetMountAttr for the mount that path is the root of.
func SetMountAttrAt(path string, set uint64, recursive bool) error {
	flags := uint(0)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, path, flags, &unix.MountAttr{Attr_set: set}); err != nil {
		return &os.PathError{Op: "mount_setattr", Path: path, Err: err}
	}
	return nil
}

// PivotRoot makes the current directory, which must be a mount point, the root, and detaches the old root. The old
// root is stacked on the new one for a moment (pivot_root(".", "."), man 2 pivot_root, NOTES), so no folder is made
// for it inside the image.
func PivotRoot() error {
	if err := unix.PivotRoot(".", "."); err != nil { // LAB: pivot-root
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := Detach("."); err != nil {
		return err
	}
	return Chdir("/")
}

// Chroot is chroot(2) into the current directory.
func Chroot() error {
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return nil
}

// Chdir is chdir(2).
func Chdir(path string) error {
	if err := unix.Chdir(path); err != nil {
		return &os.PathError{Op: "chdir", Path: path, Err: err}
	}
	return nil
}

// Cwd is getcwd(2) without the library's help: a directory outside of our root answers "(unreachable)…".
func Cwd() (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Getcwd(buf[:])
	if err != nil {
		return "", fmt.Errorf("getcwd: %w", err)
	}
	return string(buf[:n-1]), nil
}

// Sethostname names this UTS namespace.
func Sethostname(name string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("sethostname %q: %w", name, err)
	}
	return nil
}

// LoopbackUp brings up lo in this network namespace; the kernel then gives it 127.0.0.1 and ::1 by itself.
func LoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket to configure lo: %w", err)
	}
	defer unix.Close(fd)
	ifreq, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifreq.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifreq); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	return nil
}

// OpenPath opens path with O_PATH. A container's paths are resolved after pivot_root, so ".." and links end at its root.
func OpenPath(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}

// Close closes a bare descriptor.
func Close(fd int) { unix.Close(fd) }

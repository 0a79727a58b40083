package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Errors by which the kernel says what it does not allow here, for errors.Is.
const (
	EACCES = unix.EACCES
	EAGAIN = unix.EAGAIN
	EBUSY  = unix.EBUSY
	EINVAL = unix.EINVAL
	ENODEV = unix.ENODEV
	ENOSPC = unix.ENOSPC
	ENOSYS = unix.ENOSYS
	EPERM  = unix.EPERM
	EXDEV  = unix.EXDEV
)

// TryUserns makes a user and a mount namespace at once, maps our id to 0 in it, and drops it again. The error is
// the bare errno of clone(2) or of the write to /proc/PID/uid_map.
//
// Nothing is run: the child's execve(2) of the empty name fails with ENOENT, and to get as far as that is the proof.
// The mount namespace belongs to the test: Ubuntu's AppArmor lets anybody have a user namespace, but one without
// capabilities, and it is the mount namespace that then fails.
func TryUserns() error {
	self := func(id int) []syscall.SysProcIDMap { return []syscall.SysProcIDMap{{HostID: id, Size: 1}} }
	child, err := os.StartProcess("", []string{""}, &os.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: self(os.Geteuid()),
		GidMappings: self(os.Getegid()),
	}})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil { // no kernel executes the empty name
		_, err = child.Wait()
		return errors.Join(errors.New("execve of the empty name succeeded"), err)
	}
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err // "fork/exec : …" would name the empty path
	}
	return err
}

// KernelRelease is uname(2)'s release, "6.1.0-18-amd64".
func KernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// A FileSystem is what statfs(2) tells of the file system below a path, and of the mount that it is seen through.
type FileSystem struct {
	Magic                           uint32 // f_type: one of …Magic, or another
	Free                            uint64 // bytes that an ordinary user may still write
	Readonly, Nosuid, Nodev, Noexec bool
}

// Magic numbers of file systems that callers tell apart.
const (
	NFSMagic     = unix.NFS_SUPER_MAGIC
	OverlayMagic = unix.OVERLAYFS_SUPER_MAGIC
	CgroupMagic  = unix.CGROUP2_SUPER_MAGIC
	FUSEMagic    = unix.FUSE_SUPER_MAGIC
)

// Statfs is statfs(2).
func Statfs(path string) (FileSystem, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return FileSystem{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return FileSystem{
		Magic:    uint32(st.Type),
		Free:     st.Bavail * uint64(st.Bsize),
		Readonly: st.Flags&unix.ST_RDONLY != 0,
		Nosuid:   st.Flags&unix.ST_NOSUID != 0,
		Nodev:    st.Flags&unix.ST_NODEV != 0,
		Noexec:   st.Flags&unix.ST_NOEXEC != 0,
	}, nil
}

// HasFileCapabilities tells whether path carries the attribute security.capability, as some distributions give it to
// newuidmap in the place of the set-uid bit.
func HasFileCapabilities(path string) bool {
	n, err := unix.Getxattr(path, "security.capability", nil)
	return err == nil && n > 0
}

// MemoryFile returns an anonymous file in memory; name is for /proc/PID/fd. The caller closes it.
func MemoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// InOwnMountNamespace is how to start a process that gets a copy of our mount namespace, and no signal of our terminal.
func InOwnMountNamespace() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Setsid: true}
}

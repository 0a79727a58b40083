package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// A Builder carries out a Plan, method by method, in the order of the package comment. It must live in the new mount
// namespace, as root of its user namespace. It is not safe for concurrent use.
type Builder struct {
	Plan  *Plan
	Trace func(call string, err error) // told about each system call, when not nil

	mounts  []int // detached, by index of Plan.Mounts; -1 when used up
	devices []int
}

// did reports a call to Trace and returns its error.
func (b *Builder) did(err error, format string, args ...any) error {
	if b.Trace != nil {
		b.Trace(fmt.Sprintf(format, args...), err)
	}
	return err
}

// MakePrivate cuts this mount namespace off from the host's: what we mount does not appear there, nor the reverse.
func (b *Builder) MakePrivate() error {
	return b.did(linux.Mount("", "/", "", linux.MsRec|linux.MsPrivate, ""), `mount("/", MS_REC|MS_PRIVATE)`) // LAB: private-mounts
}

// Gather makes every mount of the plan, attached to nowhere.
func (b *Builder) Gather() error {
	for _, name := range b.Plan.Devices {
		fd, err := linux.CloneTree("/dev/"+name, false)
		if err := b.did(err, `open_tree("/dev/%s", OPEN_TREE_CLONE)`, name); err != nil {
			return err
		}
		b.devices = append(b.devices, fd)
	}
	for i := range b.Plan.Mounts {
		fd, err := b.gather(&b.Plan.Mounts[i])
		if err != nil {
			return err
		}
		b.mounts = append(b.mounts, fd)
	}
	return nil
}

func (b *Builder) gather(m *Mount) (int, error) {
	if m.FD != 0 {
		_ = b.did(nil, "take the %s for %s, which came with us", m.Type, m.Target)
		if m.Type != "bind" || m.Attr == 0 {
			return m.FD, nil
		}
		return m.FD, b.did(linux.SetMountAttr(m.FD, m.Attr, 0, true), "mount_setattr(%#x, AT_RECURSIVE)", m.Attr)
	}
	if m.Type == "bind" {
		fd, err := b.cloneSource(m)
		if err != nil {
			return -1, bindAdvice(m, err)
		}
		// Recursive: a read-only volume with a writable mount somewhere below would be a surprise.
		err = linux.SetMountAttr(fd, m.Attr, m.Propagation, true)
		return fd, b.did(err, "mount_setattr(%#x, propagation %#x, AT_RECURSIVE)", m.Attr, m.Propagation)
	}
	fstype, options := m.Type, m.Options
	if fstype == "cgroup" {
		fstype = "cgroup2"
	}
	fd, err := linux.NewMount(fstype, options, int(m.Attr))
	_ = b.did(err, `fsopen(%q) fsconfig(%s) fsmount(attributes %#x)`, fstype, strings.Join(options, ","), m.Attr)
	if err != nil && m.Optional {
		fd, err = linux.NewMount("tmpfs", []string{"mode=0555", "size=0"}, linux.AttrRdonly)
		_ = b.did(err, `fsopen("tmpfs") fsmount(MOUNT_ATTR_RDONLY): an empty folder for %s`, m.Target)
	}
	if err != nil {
		return -1, fmt.Errorf("make the %s for %s: %w", m.Type, m.Target, err)
	}
	return fd, nil
}

// cloneSource clones the source of a bind. Trust boundary: what is beneath a folder that containers write to may be a link to anywhere, and
// may change at any moment. So the kernel resolves it beneath that folder, here, and what it found is what is cloned.
func (b *Builder) cloneSource(m *Mount) (int, error) {
	if m.Beneath == "" {
		fd, err := linux.CloneTree(m.Source, true)
		return fd, b.did(err, `open_tree(%q, OPEN_TREE_CLONE|AT_RECURSIVE)`, m.Source)
	}
	dir, err := linux.OpenPath(m.Source)
	if err != nil {
		return -1, err
	}
	defer linux.Close(dir)
	fd, err := linux.CloneTreeBeneath(dir, m.Beneath)
	return fd, b.did(err, `openat2(%q, %q, RESOLVE_BENEATH) open_tree(OPEN_TREE_CLONE|AT_RECURSIVE)`, m.Source, m.Beneath)
}

func bindAdvice(m *Mount, err error) error {
	err = fmt.Errorf("bind %s to %s: %w", m.Source, m.Target, err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hint.Wrap(err, fmt.Sprintf("make it first: mkdir -p %s", m.Source))
	case errors.Is(err, fs.ErrPermission):
		return hint.Wrap(err, "minipod has only your own rights on the host: name a folder that you may enter")
	}
	return err
}

// MountRoot mounts the tree and enters it. Names in overlay's options are relative to Plan.Data: short, since all of
// them must fit in one page, and in the container's /proc/self/mountinfo they tell nothing about the host.
func (b *Builder) MountRoot() error {
	p := b.Plan
	if err := linux.Chdir(p.Data); err != nil {
		return err
	}
	switch p.Driver {
	case Overlay, "":
		options := p.overlayOptions()
		err := linux.Mount("overlay", p.Target, "overlay", 0, options) // LAB: overlay
		if err := b.did(err, `mount("overlay", %q, "overlay", %q)`, p.Target, options); err != nil {
			return err
		}
	case Copy:
		// The parent has merged the layers into Target. pivot_root wants a mount point, so it becomes one.
		fd, err := linux.CloneTree(p.Target, false)
		if err == nil {
			err = linux.MoveMount(fd, p.Target)
		}
		if err := b.did(err, `open_tree(%q, OPEN_TREE_CLONE) move_mount: a mount point of its own`, p.Target); err != nil {
			return err
		}
	case Empty:
		fd, err := linux.NewMount("tmpfs", []string{"mode=0755", "size=64k"}, linux.AttrNosuid|linux.AttrNodev|linux.AttrNoexec)
		if err == nil {
			err = linux.MoveMount(fd, p.Target)
		}
		if err := b.did(err, `mount("tmpfs", %q)`, p.Target); err != nil {
			return err
		}
	case FuseOverlayfs: // mounted by the parent's helper
	default:
		return fmt.Errorf("unknown storage driver %q", p.Driver)
	}
	return b.did(linux.Chdir(p.Target), "chdir(%q)", p.Target)
}

func (p *Plan) overlayOptions() string {
	options := "lowerdir=" + strings.Join(p.Lower, ":") + ",upperdir=" + p.Upper + ",workdir=" + p.Work + ",userxattr"
	if p.Volatile {
		options += ",volatile"
	}
	return options
}

// OptionsLength is how much of mount(2)'s one page the overlay takes.
func (p *Plan) OptionsLength() int { return len(p.overlayOptions()) + 1 }

// Pivot makes the tree the root. The host's tree is gone from this namespace when it returns.
func (b *Builder) Pivot() error {
	return b.did(linux.PivotRoot(), `pivot_root(".", ".") umount2(".", MNT_DETACH) chdir("/")`)
}

// Chroot makes the tree this process's root and leaves the mount namespace's as it is: for lessons about what is wrong with that.
func (b *Builder) Chroot() error {
	if err := b.did(linux.Chroot(), `chroot(".")`); err != nil {
		return err
	}
	return b.did(linux.Chdir("/"), `chdir("/")`)
}

// Place attaches the gathered mounts that match, in the plan's order.
func (b *Builder) Place(match func(*Mount) bool) error {
	for i := range b.Plan.Mounts {
		m := &b.Plan.Mounts[i]
		if b.mounts[i] < 0 || !match(m) {
			continue
		}
		fd := b.mounts[i]
		b.mounts[i] = -1
		if err := b.place(m, fd); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.Type, m.Target, err)
		}
	}
	return nil
}

func (b *Builder) place(m *Mount, fd int) error {
	folder := true
	if m.Type == "bind" {
		info, err := linux.StatFD(fd)
		if err != nil {
			linux.Close(fd)
			return err
		}
		folder = info.IsDir
	}
	if err := refuseLink(m.Target); err != nil {
		linux.Close(fd)
		return err
	}
	target, err := makeTarget(m.Target, folder)
	if err != nil {
		linux.Close(fd)
		return err
	}
	defer linux.Close(target)
	if err := b.refuseKernelTree(m, target); err != nil {
		linux.Close(fd)
		return err
	}
	return b.did(linux.MoveMountFD(fd, target, m.Target), "move_mount(%s, %q)", m.Type, m.Target)
}

// refuseLink sees to it that the kernel's own trees stand where everybody looks for them. Mask finds them by name after the
// volumes were mounted: with an image whose /proc is a link into a volume, somebody who writes to that volume would have
// the covers laid beside the real one (CVE-2019-19921).
func refuseLink(target string) error {
	if target != "/proc" && target != "/sys" && target != "/dev" {
		return nil
	}
	info, err := os.Lstat(target)
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		return errors.New("the image has a symbolic link there")
	}
	return nil // what else may be wrong with it shows when it is opened
}

// refuseKernelTree refuses a volume inside /proc or /sys, also through a link: a file of the user's own in place of
// /proc/self/attr or the like makes programs (ours included) believe that they changed something (CVE-2019-16884).
func (b *Builder) refuseKernelTree(m *Mount, target int) error {
	if m.Type != "bind" && m.Type != "tmpfs" || m.Kernel {
		return nil
	}
	inside, err := linux.IsKernelTree(target)
	if err != nil {
		return err
	}
	if at := path.Clean(m.Target); at == "/proc" || strings.HasPrefix(at, "/proc/") { // in the place of our own proc, too
		inside = true
	}
	if !inside {
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s is inside the kernel's proc or sysfs", m.Target), "choose another target for the volume")
}

// makeTarget opens the mount point, and makes it where the image has none. Links are followed: we are inside.
func makeTarget(target string, folder bool) (int, error) {
	fd, err := linux.OpenPath(target)
	if err == nil {
		info, err := linux.StatFD(fd)
		if err == nil && info.IsDir != folder {
			err = &os.PathError{Op: "mount on", Path: target, Err: map[bool]error{true: syscall.ENOTDIR, false: syscall.EISDIR}[folder]}
		}
		if err != nil {
			linux.Close(fd)
			return -1, err
		}
		return fd, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return -1, err
	}
	if folder {
		err = os.MkdirAll(target, 0o755)
	} else {
		if err = os.MkdirAll(path.Dir(target), 0o755); err == nil {
			err = touch(target)
		}
	}
	if err != nil {
		return -1, err
	}
	return linux.OpenPath(target)
}

func touch(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0o644)
	if errors.Is(err, fs.ErrNotExist) { // a link to a folder that the image does not have: ours replaces it
		if err := os.Remove(name); err != nil {
			return err
		}
		f, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// MakeDev fills the container's /dev, which is a fresh tmpfs: nodes bound from the host (mknod is not for us), and the
// usual links.
func (b *Builder) MakeDev() error {
	for i, name := range b.Plan.Devices {
		target := "/dev/" + name
		if err := touch(target); err != nil {
			return err
		}
		if err := b.did(linux.MoveMount(b.devices[i], target), "move_mount(device, %q)", target); err != nil {
			return err
		}
	}
	b.devices = nil
	for _, link := range [...][2]string{
		{"/proc/self/fd", "/dev/fd"},
		{"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"},
		{"pts/ptmx", "/dev/ptmx"},
	} {
		if err := b.did(os.Symlink(link[0], link[1]), "symlink(%q, %q)", link[0], link[1]); err != nil {
			return err
		}
	}
	return nil
}

// MakeFiles binds our files over the image's. They live in a tmpfs that is attached nowhere afterwards, so that they
// name nothing of the host and end with the container.
func (b *Builder) MakeFiles() error {
	if len(b.Plan.Files) == 0 {
		return nil
	}
	const dir = "/dev/.minipod"
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	fd, err := linux.NewMount("tmpfs", []string{"mode=0755", "size=1m"}, linux.AttrNosuid|linux.AttrNodev|linux.AttrNoexec)
	if err == nil {
		err = linux.MoveMount(fd, dir)
	}
	if err := b.did(err, `mount("tmpfs", %q)`, dir); err != nil {
		return err
	}
	for _, f := range b.Plan.Files {
		if err := b.makeFile(dir, f); err != nil {
			return fmt.Errorf("make %s: %w", f.Target, err)
		}
	}
	if err := b.did(linux.Detach(dir), "umount2(%q, MNT_DETACH)", dir); err != nil {
		return err
	}
	return os.Remove(dir)
}

func (b *Builder) makeFile(dir string, f File) error {
	source := path.Join(dir, path.Base(f.Target))
	if err := os.WriteFile(source, []byte(f.Content), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(source, 0o644); err != nil {
		return err
	}
	target, err := makeTarget(f.Target, false)
	if err != nil {
		return err
	}
	defer linux.Close(target)
	fd, err := linux.CloneTree(source, false)
	if err != nil {
		return err
	}
	return b.did(linux.MoveMountFD(fd, target, f.Target), "move_mount(file, %q)", f.Target)
}

// Mask covers what the kernel shows and a container should not read, and makes read-only what it should not write. The
// lists are those of runc and Docker. What this kernel does not have is passed over.
func (b *Builder) Mask() error {
	for _, name := range b.Plan.Masked {
		if err := b.mask(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("mask %s: %w", name, err)
		}
	}
	for _, name := range b.Plan.ReadOnlyPaths {
		fd, err := linux.CloneTree(name, true)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			if err = linux.SetMountAttr(fd, linux.AttrRdonly, 0, true); err == nil {
				err = linux.MoveMount(fd, name)
			}
		}
		if err := b.did(err, "open_tree(%q) mount_setattr(MOUNT_ATTR_RDONLY) move_mount", name); err != nil {
			return fmt.Errorf("make %s read-only: %w", name, err)
		}
	}
	return nil
}

func (b *Builder) mask(name string) error {
	target, err := linux.OpenPath(name)
	if err != nil {
		return err
	}
	defer linux.Close(target)
	info, err := linux.StatFD(target)
	if err != nil {
		return err
	}
	var fd int
	if info.IsDir {
		fd, err = linux.NewMount("tmpfs", []string{"mode=0555", "size=0"}, linux.AttrRdonly)
	} else {
		fd, err = cloneNull()
	}
	if err == nil {
		err = linux.MoveMountFD(fd, target, name)
	}
	return b.did(err, "cover %q", name)
}

// cloneNull makes sure that it is what it should be: a /dev that is a volume may be written to by others (CVE-2025-31133).
func cloneNull() (int, error) {
	fd, err := linux.CloneTree("/dev/null", false)
	if err != nil {
		return -1, err
	}
	if info, err := linux.StatFD(fd); err != nil || info.Rdev != linux.NullDevice() {
		linux.Close(fd)
		return -1, errors.New("/dev/null is not the null device")
	}
	return fd, nil
}

// BindConsole puts the terminal called name at /dev/console, where programs of a system's boot expect it.
func (b *Builder) BindConsole(name string) error {
	if err := touch("/dev/console"); err != nil {
		return err
	}
	fd, err := linux.CloneTree(name, false)
	if err == nil {
		err = linux.MoveMount(fd, "/dev/console")
	}
	return b.did(err, "bind %s on /dev/console", name)
}

// MakeRootReadOnly makes the root file system read-only; volumes and tmpfs in it keep their own modes.
func (b *Builder) MakeRootReadOnly() error {
	return b.did(linux.SetMountAttrAt("/", linux.AttrRdonly, false), `mount_setattr("/", MOUNT_ATTR_RDONLY)`)
}

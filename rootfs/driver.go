package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// A Driver is a way to show a container the image's layers below and its own writes above.
type Driver string

// The drivers, the best first.
const (
	Overlay       Driver = "overlay"        // the kernel's, mounted in our user namespace
	FuseOverlayfs Driver = "fuse-overlayfs" // the same format served by a process: 3–10 times slower on metadata
	Copy          Driver = "copy"           // a plain copy of all layers for each container
	Empty         Driver = "empty"          // no image: mount points alone, for a pod's sandbox
)

// Auto is the configuration's word for "the best that works".
const Auto = "auto"

// StorageFile is the name below state.Dirs.Data under which the caller keeps what Probe answered, as JSON. It is a
// cache: losing it costs one more probe.
const StorageFile = "storage.json"

// A Probed is what a test mount found out, and about which kernel and file system. Whether overlay works in a user
// namespace depends on both, on backports and on build options, so we never ask for versions (tmpfs, say, took user
// extended attributes only in Linux 6.6, and without them no folder can be opaque).
type Probed struct {
	Kernel string `json:"kernel"` // uname -r
	Device uint64 `json:"device"` // st_dev of the data folder

	Overlay  bool   `json:"overlay"`
	Volatile bool   `json:"volatile"`         // overlay takes the option that saves a sync at unmount
	Reason   string `json:"reason,omitempty"` // why not Overlay
}

// Fresh tells whether p is about this kernel and the file system of dir. If not, probe again.
func (p Probed) Fresh(dir string) bool {
	now, err := here(dir)
	return err == nil && p.Kernel == now.Kernel && p.Device == now.Device
}

// here answers a Probed that only says where.
func here(dir string) (Probed, error) {
	kernel, err := linux.KernelRelease()
	if err != nil {
		return Probed{}, err
	}
	folder, err := linux.OpenDir(dir)
	if err != nil {
		return Probed{}, err
	}
	defer folder.Close()
	st, err := folder.Stat()
	return Probed{Kernel: kernel, Device: st.Dev}, err
}

// A Choice is the driver to use.
type Choice struct {
	Driver   Driver
	Volatile bool   // mount overlay with "volatile" where the writes are thrown away at the end
	Notice   string // what is worse than it could be, and the cure; say it when the probe is new, not each time
}

// Choose decides. want is the configuration's storage.driver ("" is Auto); fuse is the path of fuse-overlayfs, "" where
// it is missing or /dev/fuse can't be opened. A driver that was asked for by name and doesn't work is an error.
func Choose(want string, p Probed, fuse string) (Choice, error) {
	overlay := Choice{Driver: Overlay, Volatile: p.Volatile}
	switch want {
	case "", Auto:
		if p.Overlay {
			return overlay, nil
		}
		if fuse != "" {
			return Choice{Driver: FuseOverlayfs}, nil
		}
		return Choice{Driver: Copy, Notice: "each container gets a full copy of its image, because overlay can't be mounted here (" +
			p.Reason + "); install fuse-overlayfs, or move the data folder to ext4, xfs or btrfs"}, nil
	case string(Overlay):
		if !p.Overlay {
			return Choice{}, hint.Wrap(fmt.Errorf("use the storage driver overlay, as configured: %s", p.Reason),
				`set "storage": {"driver": "auto"} in config.json`)
		}
		return overlay, nil
	case string(FuseOverlayfs):
		if fuse == "" {
			return Choice{}, hint.Wrap(fmt.Errorf("use the storage driver fuse-overlayfs, as configured: the program, or /dev/fuse, is not there"),
				"run `minipod doctor` for the command that installs it")
		}
		return Choice{Driver: FuseOverlayfs}, nil
	case string(Copy):
		return Choice{Driver: Copy}, nil
	}
	return Choice{}, hint.Wrap(fmt.Errorf("unknown storage driver %q", want), "set storage.driver to auto, overlay, fuse-overlayfs or copy")
}

// Probe mounts a small overlay in a new folder below dir, tries in it what containers need, and removes it all again.
// It runs as root of a user namespace with a mount namespace of its own. dir must be on the file system that will hold
// layers and containers; let it be one that is swept of leftovers, since kill -9 leaves a folder.
//
// What the kernel refuses is the answer, in Reason. An error means that there is no answer: a full disk, say.
func Probe(dir string) (p Probed, err error) {
	if p, err = here(dir); err != nil {
		return p, fmt.Errorf("probe overlay: %w", err)
	}
	temp, err := os.MkdirTemp(dir, "probe-")
	if err != nil {
		return p, fmt.Errorf("probe overlay: %w", err)
	}
	defer func() {
		if e := os.RemoveAll(temp); err == nil && e != nil {
			err = fmt.Errorf("probe overlay: %w", e)
		}
	}()
	t := trial{temp}
	if err := t.layers(); err != nil {
		return p, fmt.Errorf("probe overlay: %w", err)
	}
	if err := t.run(&p); err != nil {
		p.Reason = strings.ReplaceAll(err.Error(), temp+"/", "")
		return p, nil
	}
	p.Overlay = true
	return p, nil
}

// A trial is a folder with two layers (bottom, top), a container's upper and work, and merged, where they meet.
type trial struct{ dir string }

func (t trial) path(name string) string { return path.Join(t.dir, name) }

// layers makes everything that any file system can hold.
func (t trial) layers() error {
	for _, name := range []string{"bottom/opaque", "bottom/dir", "top/opaque", "upper", "work", "merged"} {
		if err := os.MkdirAll(t.path(name), 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"bottom/gone", "bottom/opaque/old", "top/opaque/new", "bottom/dir/file"} {
		if err := os.WriteFile(t.path(name), []byte("layer\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// run makes the marks of overlay's format, mounts, and looks whether they mean what they should.
func (t trial) run(p *Probed) error {
	if err := t.mark(); err != nil {
		return err
	}
	err := t.mount("volatile") // since Linux 5.10
	if p.Volatile = err == nil; !p.Volatile {
		err = t.mount("")
	}
	if err != nil {
		return err
	}
	used := t.use()
	if err := linux.Detach(t.path("merged")); err != nil {
		return err
	}
	return used
}

// mark says in top that gone was removed and that opaque hides what lies below it.
func (t trial) mark() error {
	top, err := linux.OpenDir(t.path("top"))
	if err != nil {
		return err
	}
	defer top.Close()
	if err := top.Mknod("gone", linux.S_IFCHR, 0); err != nil {
		return err
	}
	opaque, err := top.Open("opaque")
	if err != nil {
		return err
	}
	defer opaque.Close()
	return opaque.SetXattr("user.overlay.opaque", []byte("y"))
}

// mount passes the layers as descriptors: in the options of an overlay, the path of somebody's home would need its
// colons, commas and backslashes escaped.
func (t trial) mount(option string) error {
	options := []string{"userxattr"}
	if option != "" {
		options = append(options, option)
	}
	fds := make(map[string]string)
	for _, name := range []string{"bottom", "top", "upper", "work"} {
		f, err := linux.OpenDir(t.path(name))
		if err != nil {
			return err
		}
		defer f.Close()
		fds[name] = "/proc/self/fd/" + strconv.Itoa(f.FD)
	}
	options = append(options, "lowerdir="+fds["top"]+":"+fds["bottom"], "upperdir="+fds["upper"], "workdir="+fds["work"])
	return linux.Mount("overlay", t.path("merged"), "overlay", 0, strings.Join(options, ","))
}

// use does in merged what containers do, and looks whether the answer is that of an ordinary file system.
func (t trial) use() error {
	absent := func(name string) error {
		_, err := os.Lstat(t.path(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err == nil:
			return fmt.Errorf("%s is visible in the overlay", name)
		}
		return err
	}
	steps := []func() error{
		func() error { return absent("merged/gone") },       // the device 0/0 hides
		func() error { return absent("merged/opaque/old") }, // the attribute hides
		func() error { _, err := os.Lstat(t.path("merged/opaque/new")); return err },
		// A file of a layer is copied up when it is written to.
		func() error { return os.Chmod(t.path("merged/opaque/new"), 0o600) },
		// A folder of a layer moves, or is said to be on another device (then mv copies it; man 5 overlay).
		func() error {
			if err := os.Rename(t.path("merged/dir"), t.path("merged/moved")); errors.Is(err, linux.EXDEV) {
				return os.RemoveAll(t.path("merged/dir"))
			} else if err != nil {
				return err
			}
			_, err := os.Lstat(t.path("merged/moved/file"))
			return err
		},
		// One made anew in its place is opaque: here a file system without user attributes gives itself away.
		func() error { return os.Mkdir(t.path("merged/dir"), 0o755) },
		func() error { return absent("merged/dir/file") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

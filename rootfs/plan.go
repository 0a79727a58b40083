package rootfs

import "codeberg.org/minipod/minipod/internal/wire"

// A Plan is all that there is to know about a container's tree. It is plain data: made by the parent, read by the
// stage in the new namespaces.
type Plan struct {
	Data     string   // the folder that Lower, Upper, Work and Target are relative to; it stays out of mountinfo
	Lower    []string // unpacked layers, top first
	Upper    string   // the container's writes
	Work     string   // overlay's own, on the same file system as Upper
	Target   string   // where the tree is mounted until Pivot
	Driver   Driver
	Volatile bool // skip overlay's sync at unmount: for containers that nobody sees again
	ReadOnly bool // the root file system, not the mounts in it

	Mounts        []Mount // in the order in which they are attached
	Devices       []string
	Files         []File   // made by us: /etc/hosts, hostname, resolv.conf
	Masked        []string // covered: an empty file or folder
	ReadOnlyPaths []string
}

// Fields visits what a stage passes to its child: all of it.
func (p *Plan) Fields(c *wire.Codec) {
	c.String(&p.Data)
	c.Strings(&p.Lower)
	c.String(&p.Upper)
	c.String(&p.Work)
	c.String(&p.Target)
	c.String((*string)(&p.Driver))
	c.Bool(&p.Volatile)
	c.Bool(&p.ReadOnly)
	wire.List(c, &p.Mounts, func(c *wire.Codec, m *Mount) {
		c.String(&m.Type)
		c.String(&m.Source)
		c.String(&m.Beneath)
		c.String(&m.Target)
		c.Strings(&m.Options)
		wire.Int(c, &m.Attr)
		wire.Int(c, &m.Propagation)
		c.Bool(&m.Optional)
		wire.Int(c, &m.FD)
		c.Bool(&m.Fill)
		c.Bool(&m.Kernel)
	})
	c.Strings(&p.Devices)
	wire.List(c, &p.Files, func(c *wire.Codec, f *File) {
		c.String(&f.Target)
		c.String(&f.Content)
	})
	c.Strings(&p.Masked)
	c.Strings(&p.ReadOnlyPaths)
}

// A Mount is one file system or folder that appears in the container.
type Mount struct {
	Type        string   // bind, or a file system type: proc, sysfs, tmpfs, devpts, mqueue, cgroup
	Source      string   // bind: a path of the host
	Beneath     string   // bind: a path below Source, out of which nothing on it leads; "": Source itself
	Target      string   // an absolute path of the container
	Options     []string // of the file system: mode=1777, size=65536k
	Attr        uint64   // MOUNT_ATTR_*
	Propagation uint64   // MS_PRIVATE, MS_SLAVE, MS_SHARED
	Optional    bool     // a kernel that refuses it gets an empty read-only folder instead: cgroup on a v1 host
	FD          int      // made already, and attached nowhere: the descriptor that this process was born with; 0: to be made
	Fill        bool     // a new named volume, at Source: it starts with what the image has at Target
	Kernel      bool     // bind: the host's /proc at /proc, where a user's volume has no place
}

// A File is a small file of ours, bound over the image's. Its content lives in a tmpfs of the container.
type File struct {
	Target  string
	Content string
}

// Devices that every container has (runtime-spec, config-linux.md, "Default Devices").
var defaultDevices = [...]string{"null", "zero", "full", "random", "urandom", "tty"}

// DefaultDevices returns their names in /dev.
func DefaultDevices() []string { return append([]string{}, defaultDevices[:]...) }

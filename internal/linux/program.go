package linux

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Call is one system call of a Program.
type Call struct {
	Name string // as strace would print it, for errors and for --explain

	number  uintptr
	args    [6]uintptr
	use     uint8     // bit i: argument i is the kept result of an earlier call
	keep    bool      // keep this call's result
	mayFail bool      // go on when it fails
	spawn   bool      // it clones: the caller reports the new process and exits, and the new process goes on
	maps    *[2]idMap // with spawn: the caller writes them for the new process before it exits
	search  bool      // one of several files to execute: that it is not there is less of an answer than why another can't be executed
}

// A Program is what a forked child does before it is somebody else: a list of system calls, in order. All memory that
// the calls point to is made here, before the fork, and kept alive by the program.
type Program struct {
	calls []Call
	pins  []any

	filtered bool // it has a seccomp filter
}

// NewProgram returns a program with room for as many calls.
func NewProgram(calls int) *Program { return &Program{calls: make([]Call, 0, calls)} }

// Calls returns the program as it would be narrated.
func (p *Program) Calls() []string {
	names := make([]string, len(p.calls))
	for i, c := range p.calls {
		names[i] = c.Name
	}
	return names
}

// Len returns the number of calls.
func (p *Program) Len() int { return len(p.calls) }

func (p *Program) add(name string, number uintptr, args ...uintptr) *Call {
	c := Call{Name: name, number: number}
	copy(c.args[:], args)
	p.calls = append(p.calls, c)
	return &p.calls[len(p.calls)-1]
}

func (p *Program) bytes(s string) uintptr {
	b, err := syscall.BytePtrFromString(s)
	if err != nil { // a NUL: the kernel would cut there, so point at an empty string, which no call accepts
		b = new(byte)
	}
	p.pins = append(p.pins, b)
	return uintptr(unsafe.Pointer(b))
}

func (p *Program) vector(list []string) uintptr {
	v := make([]*byte, len(list)+1)
	for i, s := range list {
		b, err := syscall.BytePtrFromString(s)
		if err != nil {
			b = new(byte)
		}
		v[i] = b
	}
	p.pins = append(p.pins, v)
	return uintptr(unsafe.Pointer(&v[0]))
}

func pin[T any](p *Program, v *T) uintptr {
	p.pins = append(p.pins, v)
	return uintptr(unsafe.Pointer(v))
}

// Setns joins the namespace that fd names.
func (p *Program) Setns(fd int, kind string) {
	p.add(fmt.Sprintf("setns(%s)", kind), unix.SYS_SETNS, uintptr(fd), 0) // LAB: setns
}

// SetnsAll joins all the namespaces in flags (CLONE_NEW*) that the process behind pidfd is in, in one call: the user namespace's
// powers serve for the others at once. A pid namespace is the one of children only; Clone makes one.
func (p *Program) SetnsAll(pidfd int, flags uintptr) {
	p.add(fmt.Sprintf("setns(pidfd, %s)", NamespaceNames(flags)), unix.SYS_SETNS, uintptr(pidfd), flags)
}

// NamespaceNames returns the names of CLONE_NEW* flags, joined as C does.
func NamespaceNames(flags uintptr) string {
	var names []string
	for _, n := range Namespaces {
		if flags&n.Flag != 0 {
			names = append(names, n.Name)
		}
	}
	return strings.Join(names, "|")
}

// Clone has the rest of the program done by another process, a sibling, in new namespaces of the kinds in flags (CLONE_NEW*). It is
// in the pid namespace that was joined before, and it is the caller of Fork that waits for it. Child.Started tells its PID.
func (p *Program) Clone(flags uintptr) {
	name := "CLONE_PARENT"
	if flags != 0 {
		name += "|" + NamespaceNames(flags)
	}
	p.add("clone("+name+")", unix.SYS_CLONE, unix.CLONE_PARENT|flags|uintptr(syscall.SIGCHLD)).spawn = true
}

// CloneOrphan has the rest of the program done by another process, in new namespaces of the kinds in flags, whose parent exits: it is
// nobody's child but that of who reaps orphans. See Child.Release.
func (p *Program) CloneOrphan(flags uintptr) {
	name := "clone(" + NamespaceNames(flags) + ")"
	p.add(name, unix.SYS_CLONE, flags|uintptr(syscall.SIGCHLD)).spawn = true
}

// CloneMapped is Clone where flags have a new user namespace: before the caller exits it writes the id maps of the new process, each as
// /proc/PID/uid_map takes it. It may do so as a member of the user namespace above with all the powers there, which it joined by Setns; no
// process that is outside of that one could, whatever its powers (user_namespaces(7), "Defining user and group ID mappings").
//
// The new process goes on meanwhile. Child.Cloned tells when its ids are mapped.
func (p *Program) CloneMapped(flags uintptr, uids, gids []byte) {
	p.Clone(flags)
	c := &p.calls[len(p.calls)-1]
	c.maps = &[2]idMap{{file: "/uid_map\x00", text: uids}, {file: "/gid_map\x00", text: gids}}
	p.pins = append(p.pins, c.maps)
}

// An idMap is a map to be written for a process whose number is not known yet.
type idMap struct {
	file string // its name in /proc/PID, a slash before and a NUL behind
	text []byte
	path [32]byte // "/proc/", the number and file, when it is known
}

// aim completes path. It runs after a fork: see fork.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (m *idMap) aim(pid uintptr) {
	n := 0
	for i := 0; i < len(procFolder); i++ {
		m.path[n] = procFolder[i]
		n++
	}
	digits := 1
	for rest := pid; rest > 9; rest /= 10 {
		digits++
	}
	for i := digits - 1; i >= 0; i-- {
		m.path[n+i] = byte('0' + pid%10)
		pid /= 10
	}
	n += digits
	for i := 0; i < len(m.file); i++ {
		m.path[n] = m.file[i]
		n++
	}
}

const procFolder = "/proc/"

// cloneIndex is the index of Clone's call; without one, of the last.
func (p *Program) cloneIndex() int {
	for i := range p.calls {
		if p.calls[i].spawn {
			return i
		}
	}
	return len(p.calls) - 1
}

// NotDumpable keeps every process without powers in *our* user namespace out of this one's /proc files and memory, until it
// executes something: one that shares a pid namespace with us sees us, and our /proc/PID/exe is a file that root in there owns.
func (p *Program) NotDumpable() {
	p.add("prctl(PR_SET_DUMPABLE, 0)", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// HugePages says whether the kernel may give the process huge pages that it has not asked for, where the machine's policy is to (THP "always", as
// Debian has it). What it executes and forks inherits that.
func (p *Program) HugePages(may bool) {
	disable := uintptr(1)
	if may {
		disable = 0
	}
	p.add(fmt.Sprintf("prctl(PR_SET_THP_DISABLE, %d)", disable), unix.SYS_PRCTL, unix.PR_SET_THP_DISABLE, disable, 0, 0, 0).mayFail = true
}

// OOMScoreAdj says how soon the kernel kills the process, and what it forks, for want of memory. Only CAP_SYS_RESOURCE of the host may
// lower it below what we were born with: then it stays. It comes before NotDumpable, which takes the file in /proc from us.
func (p *Program) OOMScoreAdj(adj int) {
	const file = "/proc/self/oom_score_adj"
	text := strconv.Itoa(adj)
	p.add(fmt.Sprintf("open(%q, O_WRONLY)", file), unix.SYS_OPENAT, atFdcwd, p.bytes(file), unix.O_WRONLY|unix.O_CLOEXEC).keep = true
	p.add(fmt.Sprintf("write(%q)", text), unix.SYS_WRITE, 0, p.bytes(text), uintptr(len(text)))
	write := &p.calls[len(p.calls)-1]
	write.use, write.mayFail = 1, true
}

// Fchown gives the file behind fd its owner, by the ids of the user namespace that the program is in by then.
func (p *Program) Fchown(fd int, uid, gid uint32) {
	p.add(fmt.Sprintf("fchown(%d, %d, %d)", fd, uid, gid), unix.SYS_FCHOWN, uintptr(fd), uintptr(uid), uintptr(gid))
}

// Chdir changes the working folder.
func (p *Program) Chdir(path string) {
	p.add(fmt.Sprintf("chdir(%q)", path), unix.SYS_CHDIR, p.bytes(path))
}

// Unshare leaves the namespaces of flags (CLONE_NEW*) for new ones.
func (p *Program) Unshare(flags uintptr) {
	p.add(fmt.Sprintf("unshare(%s)", NamespaceNames(flags)), unix.SYS_UNSHARE, flags)
}

// Dup makes newfd a copy of oldfd that stays open across execve. The two must differ.
func (p *Program) Dup(oldfd, newfd int) {
	p.add(fmt.Sprintf("dup3(%d, %d)", oldfd, newfd), unix.SYS_DUP3, uintptr(oldfd), uintptr(newfd), 0)
}

// CloseFrom marks every descriptor from first on close-on-exec, whoever opened it and forgot to say so.
func (p *Program) CloseFrom(first int) {
	p.add(fmt.Sprintf("close_range(%d, ~0, CLOEXEC)", first), unix.SYS_CLOSE_RANGE, uintptr(first), uintptr(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)
}

// DefaultSignals lets every signal have its default effect, and blocks none: what our caller ignored (a script's background
// jobs ignore SIGINT, nohup's SIGHUP) is no choice of the program's.
func (p *Program) DefaultSignals() {
	p.BlockSignals(0)
	action := new([4]uint64) // struct sigaction of the kernel, at most 32 bytes: all zero is SIG_DFL
	address := pin(p, action)
	for s := syscall.Signal(1); s <= 64; s++ {
		if s != syscall.SIGKILL && s != syscall.SIGSTOP {
			p.add(fmt.Sprintf("rt_sigaction(%d, SIG_DFL)", s), unix.SYS_RT_SIGACTION, uintptr(s), address, 0, 8)
		}
	}
}

// Setsid starts a new session; the process loses its controlling terminal.
func (p *Program) Setsid() { p.add("setsid()", unix.SYS_SETSID) }

// ControllingTerminal makes the terminal behind fd that of the new session.
func (p *Program) ControllingTerminal(fd int) {
	p.add(fmt.Sprintf("ioctl(%d, TIOCSCTTY)", fd), unix.SYS_IOCTL, uintptr(fd), unix.TIOCSCTTY, 0)
}

// ParentDeathSignal has the kernel send sig when the thread that forked us dies.
func (p *Program) ParentDeathSignal(sig syscall.Signal) {
	p.add(fmt.Sprintf("prctl(PR_SET_PDEATHSIG, %s)", unix.SignalName(sig)), unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(sig), 0, 0, 0)
}

// Rlimit sets a resource limit of the process (setrlimit(2)).
func (p *Program) Rlimit(resource int, name string, soft, hard uint64) {
	limit := &unix.Rlimit{Cur: soft, Max: hard}
	p.add(fmt.Sprintf("setrlimit(%s, %d:%d)", name, soft, hard), unix.SYS_PRLIMIT64, 0, uintptr(resource), pin(p, limit), 0)
}

// Umask sets the file mode creation mask.
func (p *Program) Umask(mask uint32) {
	p.add(fmt.Sprintf("umask(%#o)", mask), unix.SYS_UMASK, uintptr(mask))
}

// Credentials sets groups, gids and uids, in the one order that works: after the uid is gone the groups can't change.
func (p *Program) Credentials(uid, gid uint32, groups []uint32, setgroups bool) {
	if setgroups {
		list := append([]uint32{}, groups...)
		p.pins = append(p.pins, list)
		p.add(fmt.Sprintf("setgroups(%v)", groups), unix.SYS_SETGROUPS, uintptr(len(list)), uintptr(unsafe.Pointer(unsafe.SliceData(list))))
	}
	p.add(fmt.Sprintf("setresgid(%d)", gid), unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid))
	p.add(fmt.Sprintf("setresuid(%d)", uid), unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
}

// BoundCapabilities drops every capability outside keep (a bit mask by capability number) from the bounding set.
func (p *Program) BoundCapabilities(keep uint64, last int) {
	for c := 0; c <= last; c++ {
		if keep&(1<<c) == 0 {
			p.add(fmt.Sprintf("prctl(PR_CAPBSET_DROP, %d)", c), unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		}
	}
}

// Capabilities sets the three sets of capset(2), each a bit mask by capability number.
func (p *Program) Capabilities(effective, permitted, inheritable uint64) {
	header, data := capabilityData(effective, permitted, inheritable)
	p.add(fmt.Sprintf("capset(effective=%#x, permitted=%#x)", effective, permitted), unix.SYS_CAPSET, pin(p, header), pin(p, data))
}

func capabilityData(effective, permitted, inheritable uint64) (*unix.CapUserHeader, *[2]unix.CapUserData) {
	return &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &[2]unix.CapUserData{
		{Effective: uint32(effective), Permitted: uint32(permitted), Inheritable: uint32(inheritable)},
		{Effective: uint32(effective >> 32), Permitted: uint32(permitted >> 32), Inheritable: uint32(inheritable >> 32)},
	}
}

// AmbientCapabilities raises set (which must be permitted) so that it survives an execve by a uid that is not root:
// a child in a new user namespace has every capability and no uid until its id map is written.
func (p *Program) AmbientCapabilities(set uint64) {
	p.Capabilities(set, set, set)
	for c := 0; c < 64; c++ {
		if set&(1<<c) != 0 {
			p.add(fmt.Sprintf("prctl(PR_CAP_AMBIENT_RAISE, %d)", c), unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0)
		}
	}
}

// ClearAmbient empties the ambient set.
func (p *Program) ClearAmbient() {
	p.add("prctl(PR_CAP_AMBIENT_CLEAR_ALL)", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
}

// NoNewPrivileges makes every later execve ignore set-uid bits and file capabilities, for ever.
func (p *Program) NoNewPrivileges() {
	p.add("prctl(PR_SET_NO_NEW_PRIVS, 1)", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// Seccomp installs filter, an array of struct sock_filter as the kernel lays it out.
func (p *Program) Seccomp(filter []byte) {
	p.pins = append(p.pins, filter)
	p.filtered = true
	prog := seccompProgram(filter)
	p.add(fmt.Sprintf("seccomp(SET_MODE_FILTER, %d instructions)", prog.Len), unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, pin(p, prog))
}

func seccompProgram(filter []byte) *unix.SockFprog {
	const size = 8 // sizeof(struct sock_filter)
	return &unix.SockFprog{Len: uint16(len(filter) / size), Filter: (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(filter)))}
}

// WaitForByte reads one byte from fd.
func (p *Program) WaitForByte(fd int) {
	p.add(fmt.Sprintf("read(%d)", fd), unix.SYS_READ, uintptr(fd), pin(p, new([1]byte)), 1)
}

// OpenTree makes a copy of the mount at path, attached nowhere, and keeps its descriptor. What is mounted below stays out, and a
// symbolic link as the last component is an error.
func (p *Program) OpenTree(path string) {
	flags := uintptr(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_SYMLINK_NOFOLLOW)
	p.add(fmt.Sprintf("open_tree(%q, OPEN_TREE_CLONE)", path), unix.SYS_OPEN_TREE, atFdcwd, p.bytes(path), flags).keep = true
}

// OpenTreeBeneath is OpenTree of what is at name below the folder path, which is a mount. Trust boundary: others may write in there, so no link on the way
// leads out of it (EXDEV), and no mount is passed.
func (p *Program) OpenTreeBeneath(path, name string) {
	top := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_DIRECTORY, Resolve: unix.RESOLVE_NO_SYMLINKS}
	beneath := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV}
	p.add(fmt.Sprintf("openat2(%q, RESOLVE_NO_SYMLINKS)", path), unix.SYS_OPENAT2, atFdcwd, p.bytes(path), pin(p, top), unsafe.Sizeof(*top)).keep = true
	c := p.add(fmt.Sprintf("openat2(%q, RESOLVE_BENEATH)", name), unix.SYS_OPENAT2, 0, p.bytes(name), pin(p, beneath), unsafe.Sizeof(*beneath))
	c.use, c.keep = 1, true
	c = p.add("open_tree(OPEN_TREE_CLONE)", unix.SYS_OPEN_TREE, 0, p.bytes(""), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	c.use, c.keep = 1, true
}

// OpenPath opens path with O_PATH and keeps the descriptor.
func (p *Program) OpenPath(path string) {
	p.add(fmt.Sprintf("openat(%q, O_PATH)", path), unix.SYS_OPENAT, atFdcwd, p.bytes(path), unix.O_PATH|unix.O_CLOEXEC).keep = true
}

// Open opens path for reading and keeps the descriptor.
func (p *Program) Open(path string) {
	p.add(fmt.Sprintf("openat(%q, O_RDONLY)", path), unix.SYS_OPENAT, atFdcwd, p.bytes(path), unix.O_RDONLY|unix.O_CLOEXEC).keep = true
}

// NewMount makes a file system of the given type, attached nowhere, and keeps its descriptor. attr is of MOUNT_ATTR_*.
func (p *Program) NewMount(fstype string, attr uint64) {
	p.add(fmt.Sprintf("fsopen(%q)", fstype), unix.SYS_FSOPEN, p.bytes(fstype), unix.FSOPEN_CLOEXEC).keep = true
	p.add("fsconfig(FSCONFIG_CMD_CREATE)", unix.SYS_FSCONFIG, 0, unix.FSCONFIG_CMD_CREATE, 0, 0, 0).use = 1
	c := p.add(fmt.Sprintf("fsmount(attributes %#x)", attr), unix.SYS_FSMOUNT, 0, unix.FSMOUNT_CLOEXEC, uintptr(attr))
	c.use, c.keep = 1, true
}

// Pass ends the program: it sends the kept descriptor along with one byte over socket. place is a descriptor that the caller has open and
// the child may replace, since a message is written down beforehand, number and all.
func (p *Program) Pass(socket, place int) {
	p.add(fmt.Sprintf("dup3(the mount, %d)", place), unix.SYS_DUP3, 0, uintptr(place), unix.O_CLOEXEC).use = 1
	rights, data := unix.UnixRights(place), new(byte)
	iov := &unix.Iovec{Base: data, Len: 1}
	message := &unix.Msghdr{Iov: iov, Iovlen: 1, Control: unsafe.SliceData(rights)}
	message.SetControllen(len(rights))
	p.pins = append(p.pins, rights, data, iov)
	p.add(fmt.Sprintf("sendmsg(%d, SCM_RIGHTS)", socket), unix.SYS_SENDMSG, uintptr(socket), pin(p, message), unix.MSG_NOSIGNAL)
	p.add("exit_group(0)", unix.SYS_EXIT_GROUP, 0)
}

// TellUname ends the program: it writes what uname(2) answers there to fd.
func (p *Program) TellUname(fd int) {
	names := new(unix.Utsname)
	p.add("uname()", unix.SYS_UNAME, pin(p, names))
	p.add(fmt.Sprintf("write(%d)", fd), unix.SYS_WRITE, uintptr(fd), pin(p, names), unsafe.Sizeof(*names))
	p.add("exit_group(0)", unix.SYS_EXIT_GROUP, 0)
}

// Execve ends the program by executing path.
func (p *Program) Execve(path string, argv, env []string) {
	p.add(fmt.Sprintf("execve(%q, [%s])", path, strings.Join(argv, " ")), unix.SYS_EXECVE, p.bytes(path), p.vector(argv), p.vector(env))
}

// ExecveFirst ends the program by executing the first of paths that is there and can be executed, as execvp(3) does. The error
// of a file that is there but can't be executed counts for more than that of one that is not.
func (p *Program) ExecveFirst(paths, argv, env []string) {
	arguments, environment := p.vector(argv), p.vector(env)
	for i, path := range paths {
		c := p.add(fmt.Sprintf("execve(%q, [%s])", path, strings.Join(argv, " ")), unix.SYS_EXECVE, p.bytes(path), arguments, environment)
		c.search, c.mayFail = true, i < len(paths)-1
	}
}

// ExecveReadOnly ends the program by executing path through a read-only mount of it that nothing else can see: the
// new process's /proc/self/exe then can't be opened for writing, by nobody, although the file's owner may be root in the
// container that it becomes part of (CVE-2019-5736). It needs CAP_SYS_ADMIN over the mount namespace, which a child
// in a fresh user namespace has.
func (p *Program) ExecveReadOnly(path string, argv, env []string) {
	p.OpenReadOnly(path)
	p.ExecveFD(-1, path, argv, env)
}

// OpenReadOnly makes a read-only copy of the mount at path, attached nowhere, and keeps its descriptor.
func (p *Program) OpenReadOnly(path string) {
	p.add(fmt.Sprintf("open_tree(%q, OPEN_TREE_CLONE)", path), unix.SYS_OPEN_TREE, atFdcwd, p.bytes(path), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC).keep = true
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	p.add("mount_setattr(MOUNT_ATTR_RDONLY)", unix.SYS_MOUNT_SETATTR, 0, p.bytes(""), unix.AT_EMPTY_PATH, pin(p, attr), unsafe.Sizeof(*attr)).use = 1
}

// ExecveFD ends the program by executing the file behind fd; -1 stands for the descriptor that an earlier call kept.
func (p *Program) ExecveFD(fd int, name string, argv, env []string) {
	c := p.add(fmt.Sprintf("execveat(%s, [%s])", name, strings.Join(argv, " ")), unix.SYS_EXECVEAT, uintptr(fd), p.bytes(""), p.vector(argv), p.vector(env), unix.AT_EMPTY_PATH)
	if fd < 0 {
		c.use = 1
	}
}

const atFdcwd = ^uintptr(99) // AT_FDCWD, -100

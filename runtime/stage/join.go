package stage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A Namespace is one that there is already, and that a sandbox is to live in.
type Namespace struct {
	Flag uintptr  // its CLONE_NEW*
	File *os.File // of /proc/PID/ns
}

// join adds what makes the child one of others' namespaces, and then the rest new. A process becomes a member of the user namespace first:
// that one's powers are what the others ask for. The child does it before it is Go again, since a threaded program may not.
//
// The pid namespace is left to the command. The sandbox stays in the host's, unseen by the container whose processes are joined: while
// it builds the container, it has powers and sees files that nobody there may get at, and some may trace.
func (o *Options) join(p *linux.Program) {
	fresh := o.Namespaces
	for _, ns := range o.Join {
		fresh &^= ns.Flag
		if ns.Flag != linux.NewPID {
			p.Setns(int(ns.File.Fd()), linux.NamespaceNames(ns.Flag))
		}
	}
	p.Clone(fresh)
}

func (o *Options) pidNamespace() *os.File {
	for _, ns := range o.Join {
		if ns.Flag == linux.NewPID {
			return ns.File
		}
	}
	return nil
}

const whyJoin = "these namespaces are another container's, and first of all the user namespace that owns them"

// joined waits until the child has joined, cloned and executed us. On an error there is no sandbox.
func (p *Sandbox) joined(o *Options, calls []string) (*Sandbox, error) {
	p.mapped <- nil // the ids are those of the user namespace that it joined
	p.executes = true
	err := p.child.Started()
	p.PID = p.child.PID
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the sandbox: %w", err), p.Abandon())
	}
	if pids := o.pidNamespace(); pids != nil {
		if err := p.hold(pids); err != nil {
			return nil, errors.Join(fmt.Errorf("start the sandbox: %w", err), p.Abandon())
		}
	}
	n := 0
	for strings.HasPrefix(calls[n], "setns(") {
		n++
	}
	o.tell("join", whyJoin, p.began, []string{strings.Join(calls[:n], " ")}, nil)
	o.tell("clone", "a process with the rest of the namespaces, which are its own", p.began, calls[n:], nil)
	p.began = time.Now()
	return p, nil
}

// descended waits until the child has made the sandbox, as a member of the user namespace that is to be the parent's of the sandbox's, and has
// mapped its ids. On an error there is no sandbox.
//
// The ids are those of the parent: so files have the same owners in all of its children, and whoever is root of it has power over all that
// they own. newuidmap could not map them, as it is outside; and nobody needs it to, since in there we have every power.
func (p *Sandbox) descended(o *Options, calls []string) (*Sandbox, error) {
	p.mapped <- nil
	p.descends = true
	err := p.child.Cloned()
	p.PID = p.child.PID
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the sandbox: %w", err), p.Abandon())
	}
	o.tell("clone", whyDescend, p.began, calls, nil)
	p.began = time.Now()
	return p, nil
}

const whyDescend = "a process with all of its namespaces, in the user namespace that owns the network: its root sets up the container's"

// hold keeps what it takes to enter the container, and to find what it leaves, for as long as it lives.
func (p *Sandbox) hold(pids *os.File) error {
	if err := p.holdRest(); err != nil {
		return err
	}
	fd, err := linux.DupHigh(pids)
	if err == nil {
		p.pidNamespace = os.NewFile(uintptr(fd), pids.Name())
	}
	return err
}

// orphaned is what tells a sandbox whose command shares a pid namespace that the supervisor has died, or wants the command killed. No
// supervisor forwards it.
const orphaned = syscall.SIGPIPE

// ShareMount returns a copy of the mount at path in the mount namespace that the user namespace owns: the same file system, attached
// nowhere. path must not lead through links, and be a mount point or a file. With beneath it is what is at that path below, out of which nothing on
// it leads.
func ShareMount(user, mounts *os.File, path, beneath string) (*os.File, error) {
	p := &linux.Program{}
	p.Setns(int(user.Fd()), "user")
	p.Setns(int(mounts.Fd()), "mnt")
	if beneath != "" {
		p.OpenTreeBeneath(path, beneath)
	} else {
		p.OpenTree(path) // LAB: share-mount
	}
	return receiveMount(0, p, path)
}

// RootOf returns st_dev and st_ino of the root of a mount namespace that the user namespace owns: what setns(2) makes the root of who enters it,
// and not what a process in there may have made its own by chroot(2).
func RootOf(user, mounts *os.File) (dev, inode uint64, err error) {
	p := &linux.Program{}
	p.NotDumpable() // it is in reach there, and its memory is a copy of ours
	p.Setns(int(user.Fd()), "user")
	p.Setns(int(mounts.Fd()), "mnt")
	p.OpenPath("/")
	root, err := receiveMount(0, p, "/")
	if err != nil {
		return 0, 0, err
	}
	defer root.Close()
	info, err := linux.File{FD: int(root.Fd()), Name: "/"}.Stat()
	return info.Dev, info.Ino, err
}

// HostName is the host name in a UTS namespace that the user namespace owns.
func HostName(user, uts *os.File) (string, error) {
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		return "", err
	}
	defer ours.Close()
	p := &linux.Program{}
	p.NotDumpable() // it is in reach there, and its memory is a copy of ours
	p.Setns(int(user.Fd()), "user")
	p.Setns(int(uts.Fd()), "uts")
	p.TellUname(int(theirs.Fd()))
	child, err := linux.Fork(0, p)
	theirs.Close()
	if err != nil {
		return "", fmt.Errorf("ask for the host name: %w", err)
	}
	started := child.Started()
	_, err = child.Wait()
	if err = errors.Join(started, err); err != nil {
		return "", fmt.Errorf("ask for the host name: %w", err)
	}
	const field = 65 // of struct utsname: the second is the host's name
	names := make([]byte, 8*field)
	n, _, err := linux.Receive(int(ours.Fd()), names)
	if err != nil || n < 2*field {
		return "", fmt.Errorf("ask for the host name: %d bytes came back: %w", n, err)
	}
	name, _, _ := bytes.Cut(names[field:2*field], []byte{0})
	return string(name), nil
}

// Queues is what /proc/sysvipc/msg says of the System V message queues in an ipc namespace that the user namespace owns: which namespace
// it is about is settled when it is opened.
func Queues(user, ipc *os.File) (string, error) {
	const name = "/proc/sysvipc/msg"
	p := &linux.Program{}
	p.NotDumpable() // it is in reach there, and its memory is a copy of ours
	p.Setns(int(user.Fd()), "user")
	p.Setns(int(ipc.Fd()), "ipc")
	p.Open(name)
	file, err := receiveMount(0, p, name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	return string(text), err
}

// ShareProc returns a proc file system that shows the pid namespace, attached nowhere.
func ShareProc(user, pids *os.File, attr uint64) (*os.File, error) {
	p := &linux.Program{}
	p.NotDumpable() // it is seen there, and its memory is a copy of ours
	p.Setns(int(user.Fd()), "user")
	p.Setns(int(pids.Fd()), "pid")
	p.Clone(linux.NewNS) // a mount namespace of the user namespace's, in which proc is whole: only there another is allowed
	p.NewMount("proc", attr)
	return receiveMount(0, p, "/proc")
}

// receiveMount runs a program in a child that opens something and ends with Pass.
func receiveMount(flags uintptr, p *linux.Program, path string) (*os.File, error) {
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	place, err := linux.DupHigh(theirs)
	if err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	p.Pass(int(theirs.Fd()), place)
	child, err := linux.Fork(flags, p)
	linux.Close(place)
	theirs.Close()
	if err != nil {
		return nil, err
	}
	started := child.Started()
	_, err = child.Wait()
	if err = errors.Join(started, err); err != nil {
		return nil, fmt.Errorf("get %s out of another namespace: %w", path, err)
	}
	_, fd, err := linux.Receive(int(ours.Fd()), make([]byte, 1))
	if err == nil && fd < 0 {
		err = errors.New("it was not passed on")
	}
	if err != nil {
		return nil, fmt.Errorf("get %s out of another namespace: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

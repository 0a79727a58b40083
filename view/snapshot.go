package view

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/linux"
)

// A Container is what must be known of one to find its processes.
type Container struct {
	ID, Name string
	PID      int    // of PID 1, on the host
	Birth    uint64 // its start time
}

// A Process is one of a container's.
type Process struct {
	PID, Parent int
	Birth       uint64 // clock ticks since boot
	State       string // the kernel's letter and word, "S (sleeping)"
	Name        string // its own idea of it, at most 15 bytes
	Args        []string
	UID         int
	Inside      []int             // its PIDs in the pid namespaces below ours, outermost first; none for a process of the host
	Namespaces  map[string]uint64 // inodes by type; those of a zombie can't be read
	Container   string            // the container's ID
	Role        Role
}

// A Role is what a process is to its container.
type Role string

// The roles there are.
const (
	Supervisor Role = "supervisor" // minipod, on the host
	Helper     Role = "helper"     // works for the supervisor, outside of the container
	Sandbox    Role = "sandbox"    // minipod as PID 1
	Command    Role = "command"    // what the container was started for
	Child      Role = "child"      // of the command, or an orphan of one
	Joined     Role = "joined"     // put into the container later
)

// A Snapshot is one look at /proc.
type Snapshot struct {
	Containers []Container       // those whose PID 1 was there
	Processes  []Process         // of the containers, by PID
	Host       map[string]uint64 // the namespaces of whoever looked, by type
	Owners     map[uint64]Owner  // of namespaces, by inode; unknown ones are left out
}

// An Owner is the user namespace in which a namespace was made; for a user namespace it is the parent.
type Owner struct {
	Userns uint64 // 0: out of our sight
	UID    int    // who made Userns; of a user namespace, who made it itself. -1: unknown
}

// A Source is where Read looks.
type Source struct {
	Proc  string // the folder of proc(5)
	Owner func(path string) (userns uint64, uid int, err error)
}

// Kernel is the machine that we run on.
func Kernel() Source { return Source{"/proc", linux.NamespaceOwner} }

// Types are the namespaces that /proc/PID/ns names.
var types = [...]string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"}

// Read looks at the processes of containers.
func Read(from Source, containers []Container) (*Snapshot, error) {
	s := &Snapshot{Owners: map[uint64]Owner{}}
	s.Host = from.namespaces("self")
	for kind, inode := range s.Host {
		s.own(from, "self", kind, inode)
	}
	if len(containers) == 0 {
		return s, nil
	}
	all, err := from.processes()
	if err != nil {
		return nil, err
	}
	for _, c := range containers {
		if p, ok := all[c.PID]; ok && c.PID != 0 && p.Birth == c.Birth {
			s.Containers = append(s.Containers, c)
		}
	}
	from.family(all, s.Containers)
	for _, p := range all {
		if p.Role != "" && from.detail(p) {
			s.Processes = append(s.Processes, *p)
			for kind, inode := range p.Namespaces {
				s.own(from, strconv.Itoa(p.PID), kind, inode)
			}
		}
	}
	slices.SortFunc(s.Processes, func(a, b Process) int { return a.PID - b.PID })
	s.sharing()
	s.findCommands()
	return s, nil
}

// processes reads what /proc/PID/stat tells, of all processes that there are.
func (from Source) processes() (map[int]*Process, error) {
	dir, err := os.Open(from.Proc)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := make(map[int]*Process, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, ok := from.stat(pid); ok {
			all[pid] = &p
		}
	}
	return all, nil
}

func (from Source) file(pid int, name string) string {
	return filepath.Join(from.Proc, strconv.Itoa(pid), name)
}

// stat reads a process's parent, name and start time; it is not ok where the process has gone.
func (from Source) stat(pid int) (p Process, ok bool) {
	text, err := os.ReadFile(from.file(pid, "stat"))
	if err != nil {
		return p, false
	}
	// "PID (NAME) STATE PPID …": the name may hold anything, parentheses and newlines included.
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return p, false
	}
	const state, parent, startTime = 0, 4 - 3, 22 - 3 // proc(5) counts from 1, and what follows the name begins with 3
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) <= startTime {
		return p, false
	}
	p = Process{PID: pid, Name: string(text[open+1 : end]), State: fields[state]}
	p.Parent, err = strconv.Atoi(fields[parent])
	if err != nil {
		return p, false
	}
	p.Birth, err = strconv.ParseUint(fields[startTime], 10, 64)
	return p, err == nil
}

// detail reads the rest about a process, and is false where another has its number by now.
func (from Source) detail(p *Process) bool {
	status, err := os.ReadFile(from.file(p.PID, "status"))
	if err != nil {
		return false
	}
	p.UID = -1
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		switch {
		case len(fields) == 0:
		case key == "State":
			p.State = strings.Join(fields, " ")
		case key == "Uid" && len(fields) > 1:
			p.UID = number(fields[1]) // the effective one
		case key == "NSpid":
			for _, pid := range fields[1:] {
				p.Inside = append(p.Inside, number(pid))
			}
		}
	}
	cmdline, err := os.ReadFile(from.file(p.PID, "cmdline"))
	if err == nil && len(cmdline) > 0 { // a zombie has none
		p.Args = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	}
	p.Namespaces = from.namespaces(strconv.Itoa(p.PID))
	again, ok := from.stat(p.PID)
	return ok && again.Birth == p.Birth
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

// namespaces reads the inodes of a process's namespaces, those that may be read.
func (from Source) namespaces(process string) map[string]uint64 {
	found := map[string]uint64{}
	for _, kind := range types {
		if inode, ok := from.namespace(process, kind); ok {
			found[kind] = inode
		}
	}
	return found
}

// namespace reads one: the link's text is "net:[4026531833]".
func (from Source) namespace(process, kind string) (inode uint64, ok bool) {
	text, err := os.Readlink(filepath.Join(from.Proc, process, "ns", kind))
	if err != nil {
		return 0, false
	}
	digits, isNamespace := strings.CutPrefix(text, kind+":[")
	inode, err = strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 64)
	return inode, isNamespace && err == nil
}

// own finds out who owns a namespace, once. A process that is gone by now leaves it unknown.
func (s *Snapshot) own(from Source, process, kind string, inode uint64) {
	if _, known := s.Owners[inode]; known {
		return
	}
	userns, uid, err := from.Owner(filepath.Join(from.Proc, process, "ns", kind))
	if err == nil {
		s.Owners[inode] = Owner{userns, uid}
	}
}

// Of is the part of the snapshot that belongs to the containers (IDs) that are wanted.
func (s *Snapshot) Of(wanted func(id string) bool) *Snapshot {
	part := *s
	part.Containers = slices.DeleteFunc(slices.Clone(s.Containers), func(c Container) bool { return !wanted(c.ID) })
	part.Processes = slices.DeleteFunc(slices.Clone(s.Processes), func(p Process) bool { return !wanted(p.Container) })
	return &part
}

package view

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// family gives each process of a container its container and its role, as far as they follow from who descends from whom
// and who shares whose namespaces.
func (from Source) family(all map[int]*Process, containers []Container) {
	sandboxes, supervisors := map[int]string{}, map[int]string{}
	for _, c := range containers {
		sandboxes[c.PID] = c.ID
		if parent := parentOf(all, all[c.PID]); parent != nil {
			supervisors[parent.PID] = c.ID
		}
	}
	for _, p := range all {
		p.Container, p.Role = descent(all, p, sandboxes, supervisors)
	}
	from.joined(all, sandboxes)
}

// descent goes up from p to the nearest sandbox or supervisor.
func descent(all map[int]*Process, p *Process, sandboxes, supervisors map[int]string) (container string, role Role) {
	if id, ok := sandboxes[p.PID]; ok {
		return id, Sandbox
	}
	if id, ok := supervisors[p.PID]; ok {
		return id, Supervisor
	}
	up := parentOf(all, p)
	for range all { // what was read while processes came and went might be a circle
		if up == nil {
			break
		}
		if id, ok := sandboxes[up.PID]; ok {
			return id, Child
		}
		if id, ok := supervisors[up.PID]; ok {
			return id, Helper
		}
		up = parentOf(all, up)
	}
	return "", ""
}

// parentOf returns p's parent, unless that ended and a younger process has its number.
func parentOf(all map[int]*Process, p *Process) *Process {
	parent := all[p.Parent]
	if parent == nil || parent.Birth > p.Birth {
		return nil
	}
	return parent
}

// joined finds who came into a container by setns(2): its parent is on the host. That is the supervisor, for `minipod exec`, or minipod
// itself, or nobody that we know.
func (from Source) joined(all map[int]*Process, sandboxes map[int]string) {
	type namespace struct {
		kind  string
		inode uint64
	}
	homes := map[namespace]string{}
	for pid, id := range sandboxes {
		home := parentOf(all, all[pid])
		for _, kind := range []string{"pid", "mnt"} {
			inode, ok := from.namespace(all[pid].text(), kind)
			if !ok {
				continue
			}
			if home != nil {
				if outer, _ := from.namespace(home.text(), kind); outer == inode {
					continue // the host's own: it tells nothing
				}
			}
			homes[namespace{kind, inode}] = id
		}
	}
	host, _ := from.namespace("self", "pid")
	for _, p := range all {
		if p.Role != "" && p.Role != Helper || p.Parent == 2 { // the kernel's threads, of which there are hundreds, are nobody's
			continue
		}
		for _, kind := range []string{"pid", "mnt"} {
			inode, ok := from.namespace(p.text(), kind)
			if !ok {
				break // of another user
			}
			id, ok := homes[namespace{kind, inode}]
			if !ok {
				continue
			}
			if p.Role == Helper && kind == "mnt" {
				break // the supervisor's, and it sees none of the container's processes: as it was said
			}
			p.Container, p.Role = id, Joined
			if inode, _ := from.namespace(p.text(), "pid"); kind == "mnt" && inode == host { // it sees the container's files, but no container's processes: fuse-overlayfs does
				p.Role = Helper
			}
			if up := parentOf(all, p); up != nil && up.Role == "" && from.isMinipod(up.PID) {
				up.Container, up.Role = id, Helper
			}
			break
		}
	}
}

func (from Source) isMinipod(pid int) bool {
	cmdline, err := os.ReadFile(from.file(pid, "cmdline"))
	program, _, _ := strings.Cut(string(cmdline), "\x00")
	return err == nil && filepath.Base(program) == "minipod"
}

// sharing gives a container that shares its pid namespace with another what that one seemed to have: its orphans, which that one's PID 1
// has adopted, and those who came later. Whose files a process sees, its it is.
func (s *Snapshot) sharing() {
	homes := map[uint64]string{}
	for _, p := range s.Processes {
		if inode, ok := p.Namespaces["mnt"]; ok && slices.ContainsFunc(s.Containers, func(c Container) bool { return c.PID == p.PID }) {
			homes[inode] = p.Container
		}
	}
	for i := range s.Processes {
		p := &s.Processes[i]
		if id, ok := homes[p.Namespaces["mnt"]]; ok && (p.Role == Child || p.Role == Joined) {
			p.Container = id
		}
	}
}

// findCommands tells the command of each container from the children: it is the eldest child of the sandbox. Other
// children of the sandbox are orphans, which descend from the command and so are younger.
func (s *Snapshot) findCommands() {
	for _, c := range s.Containers {
		i := slices.IndexFunc(s.Processes, func(p Process) bool { return p.PID == c.PID })
		if i < 0 {
			continue
		}
		if sandbox := &s.Processes[i]; len(sandbox.Args) < 2 || sandbox.Args[0] != "minipod" || sandbox.Args[1] != "sandbox" {
			sandbox.Role = Command // --init=false: the command is PID 1 itself
			continue
		}
		var command *Process
		for i := range s.Processes {
			p := &s.Processes[i]
			if p.Parent == c.PID && p.Role == Child && (command == nil || elder(p, command)) {
				command = p
			}
		}
		if command != nil {
			command.Role = Command
		}
	}
}

// elder compares two children of one sandbox. A clock tick is long enough for two to be born in it; then the PIDs inside
// decide, which count up.
func elder(a, b *Process) bool {
	if a.Birth != b.Birth || len(a.Inside) == 0 || len(b.Inside) == 0 {
		return a.Birth < b.Birth
	}
	return a.Inside[0] < b.Inside[0]
}

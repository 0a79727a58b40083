package view

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// A Namespace is one that containers' processes are in.
type Namespace struct {
	Type       string
	Inode      uint64
	Owner      uint64 // the inode of the user namespace that it belongs to, or of a user namespace's parent; 0: out of sight
	UID        int    // of the owner's maker; of a user namespace, of its own. -1: unknown
	Host       bool   // whoever looks is in it, too
	Processes  []int  // of the containers, on the host
	Containers []string
	SharedBy   []string // in words
}

// Namespaces lists every namespace of the snapshot's processes, the host's first, then in the order of their inodes. With
// containers (IDs) it is those that one of them is in.
func Namespaces(s *Snapshot, containers ...string) []Namespace {
	found := map[uint64]*Namespace{}
	for i := range s.Processes {
		p := &s.Processes[i]
		for kind, inode := range p.Namespaces {
			ns := found[inode]
			if ns == nil {
				ns = &Namespace{Type: kind, Inode: inode, UID: -1, Host: s.Host[kind] == inode}
				if owner, ok := s.Owners[inode]; ok {
					ns.Owner, ns.UID = owner.Userns, owner.UID
				}
				found[inode] = ns
			}
			ns.Processes = append(ns.Processes, p.PID)
		}
	}
	list := []Namespace{}
	for _, ns := range found {
		ns.Containers, ns.SharedBy = sharers(s, ns)
		wanted := func(id string) bool { return slices.Contains(containers, id) }
		if len(containers) == 0 || slices.ContainsFunc(ns.Containers, wanted) {
			list = append(list, *ns)
		}
	}
	slices.SortFunc(list, func(a, b Namespace) int {
		switch {
		case a.Host && b.Host:
			return slices.Index(types[:], a.Type) - slices.Index(types[:], b.Type)
		case a.Host:
			return -1
		case b.Host:
			return 1
		}
		return cmp.Compare(a.Inode, b.Inode)
	})
	return list
}

// sharers says in words who is in a namespace: the host, and of each container the roles, the command, and how many more.
func sharers(s *Snapshot, ns *Namespace) (ids, words []string) {
	if ns.Host {
		words = append(words, "host")
	}
	for _, c := range s.Containers {
		var named []string
		more := 0
		for i := range s.Processes {
			p := &s.Processes[i]
			if p.Container != c.ID || p.Namespaces[ns.Type] != ns.Inode {
				continue
			}
			switch p.Role {
			case Supervisor, Sandbox, Command, Joined:
				named = append(named, p.short())
			case Child, Helper:
				more++
			}
		}
		if more > 0 {
			named = append(named, strconv.Itoa(more)+" more")
		}
		if len(named) > 0 {
			ids, words = append(ids, c.ID), append(words, Printable(c.Name)+" ("+strings.Join(named, ", ")+")")
		}
	}
	return ids, words
}

package view

import (
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/lang"
)

// A node is a line of a drawn tree, notes in lines of their own, and what hangs below it.
type node struct {
	text     string
	notes    []string
	children []*node
}

// draw calls line for the node's descendants, with the branches in front of each; n is nil for a note.
func (n *node) draw(line func(branches, text string, n *node)) {
	n.notesBelow("", line)
	n.below("", line)
}

func (n *node) below(prefix string, line func(branches, text string, n *node)) {
	for i, child := range n.children {
		branch, rest := "├─ ", "│  "
		if i == len(n.children)-1 {
			branch, rest = "└─ ", "   "
		}
		line(prefix+branch, child.text, child)
		child.notesBelow(prefix+rest, line)
		child.below(prefix+rest, line)
	}
}

func (n *node) notesBelow(prefix string, line func(branches, text string, n *node)) {
	if len(n.children) > 0 {
		prefix += "│"
	} else {
		prefix += " "
	}
	for _, note := range n.notes {
		line(prefix+"    ", note, nil)
	}
}

// Tree draws the snapshot's processes below their user, with their PIDs on the host and inside. Lines end at width
// columns; 0 is no end.
func Tree(s *Snapshot, language lang.Lang, user string, width int) string {
	top := &node{}
	nodes := map[int]*node{}
	of := map[*node]*Process{}
	for i := range s.Processes {
		p := &s.Processes[i]
		nodes[p.PID] = &node{text: p.Label()}
		of[nodes[p.PID]] = p
	}
	for i := range s.Processes {
		p := &s.Processes[i]
		up, ok := nodes[p.Parent]
		if !ok || p.Parent == p.PID || s.process(p.Parent).Birth > p.Birth {
			up = top
		}
		up.children = append(up.children, nodes[p.PID])
	}
	var b strings.Builder
	put := func(pid, inside, state, role, text string) {
		columns := pad(pid, 8) + " " + pad(inside, 8) + " " + pad(Printable(state), 14) + " " + pad(role, 11) + " " + text
		line := strings.TrimRight(columns, " ")
		if width > 0 {
			line = Cut(line, width)
		}
		b.WriteString(line + "\n")
	}
	put("PID", language.Say("INSIDE"), language.Say("STATE"), language.Say("ROLE"), language.Say("PROCESS"))
	put("", "", "", language.Say("user"), Printable(user))
	top.draw(func(branches, text string, n *node) {
		p := of[n]
		put(strconv.Itoa(p.PID), p.inside(), p.State, p.Role.in(language), branches+text)
	})
	return b.String()
}

// in is the role in that language.
func (r Role) in(language lang.Lang) string { return language.Say(string(r)) }

// Below returns the container's processes that its own pid namespace shows: what docker's `top` lists.
func Below(s *Snapshot, container string) []Process {
	return slices.DeleteFunc(slices.Clone(s.Processes), func(p Process) bool {
		return p.Container != container || p.Role == Supervisor || p.Role == Helper
	})
}

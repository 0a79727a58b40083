package view

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/lang"
)

// A box is a frame around lines of text and further boxes.
type box struct {
	title string
	lines []line
	inner []*box // containers
	below []*box // user namespaces
}

// A line is a text, and words after it that go on in further lines where they have to.
type line struct {
	text  string
	words []string
}

// add appends a line that is cut where it does not fit.
func (b *box) add(format string, v ...any) {
	b.lines = append(b.lines, line{text: fmt.Sprintf(format, v...)})
}

// draw returns the box's lines, each of which is width columns wide.
func (b *box) draw(width int) []string {
	const frame = 4             // "│ " and " │"
	width = max(width, frame+8) // deeper than anybody can read: it may stand out
	title := Cut(b.title, width-frame-3)
	drawn := []string{"┌─ " + title + " " + strings.Repeat("─", width-frame-1-Width(title)) + "┐"}
	put := func(lines []string) {
		for _, text := range lines {
			drawn = append(drawn, "│ "+pad(Cut(text, width-frame), width-frame)+" │")
		}
	}
	for _, line := range b.lines {
		put(wrap(line.text, line.words, "  ", width-frame))
	}
	for _, inner := range append(slices.Clone(b.inner), b.below...) {
		put(inner.draw(width - frame))
	}
	return append(drawn, "└"+strings.Repeat("─", width-2)+"┘")
}

// Boxes draws who lives where: a box for each user namespace, nested as they descend from one another, and in it the
// containers, each with the namespaces that are its own and those that it shares. No line is wider than width columns.
// With ids it is these containers alone; with whom they share is told of all.
func Boxes(s *Snapshot, language lang.Lang, width int, ids ...string) string {
	host := &box{title: language.Say("host: user namespace %d", s.Host["user"])}
	var words []string
	for _, kind := range types[1:] {
		if inode, ok := s.Host[kind]; ok {
			words = append(words, fmt.Sprintf("%s %d", kind, inode))
		}
	}
	wanted := func(id string) bool { return len(ids) == 0 || slices.Contains(ids, id) }
	host.lines = []line{{words: words}}
	for i := range s.Processes {
		p := &s.Processes[i]
		if wanted(p.Container) && (p.Role == Supervisor || (p.Role == Helper || p.Role == Sandbox) && len(p.Inside) == 0) {
			host.add("PID %-7d %s", p.PID, p.Label())
		}
	}
	users := userBoxes(s, language, host, wanted)
	for _, c := range s.Containers {
		sandbox := s.process(c.PID)
		if sandbox == nil || !wanted(c.ID) {
			continue
		}
		in, ok := users[sandbox.Namespaces["user"]]
		if !ok {
			in = host
		}
		in.inner = append(in.inner, containerBox(s, language, c, sandbox))
	}
	return strings.Join(host.draw(width), "\n") + "\n"
}

// userBoxes makes a box for each user namespace that a sandbox lives in, and puts it into the one that it descends from.
func userBoxes(s *Snapshot, language lang.Lang, host *box, wanted func(id string) bool) map[uint64]*box {
	users := map[uint64]*box{s.Host["user"]: host}
	var order []uint64
	for _, c := range s.Containers {
		sandbox := s.process(c.PID)
		if sandbox == nil || !wanted(c.ID) {
			continue
		}
		inode, ok := sandbox.Namespaces["user"]
		if _, known := users[inode]; known || !ok {
			continue
		}
		title := language.Say("user namespace %d", inode)
		if owner, ok := s.Owners[inode]; ok && owner.UID >= 0 {
			title += language.Say(", made by uid %d", owner.UID)
		}
		users[inode] = &box{title: title}
		order = append(order, inode)
	}
	for _, inode := range order {
		parent := s.Owners[inode].Userns
		outer, ok := users[parent]
		switch {
		case !ok && parent == 0: // out of our sight
			outer = host
		case !ok: // no container lives in it: the one of which all that have a network descend
			outer = &box{title: language.Say("user namespace %d, which owns the pods' network", parent)}
			users[parent] = outer
			host.below = append(host.below, outer)
		}
		outer.below = append(outer.below, users[inode])
	}
	return users
}

// longest is how many processes of a container are drawn before the rest is only counted.
const longest = 12

func containerBox(s *Snapshot, language lang.Lang, c Container, sandbox *Process) *box {
	b := &box{title: language.Say("container %s", Printable(c.Name))}
	var own []string
	shared := map[string][]string{}
	var partners []string
	home := s.home(c, sandbox)
	for _, kind := range types[1:] {
		inode, ok := home[kind]
		if !ok {
			continue
		}
		word, with := fmt.Sprintf("%s %d", kind, inode), partnersOf(s, language, c, kind, inode)
		if with == "" {
			own = append(own, word)
			continue
		}
		if !slices.Contains(partners, with) {
			partners = append(partners, with)
		}
		shared[with] = append(shared[with], word)
	}
	if len(own) > 0 {
		b.lines = append(b.lines, line{language.Say("its own: "), own})
	}
	for _, with := range partners {
		head := language.Say("shared with %s: ", with)
		if with == language.Say("host") {
			head = language.Say("shared with host: ")
		}
		b.lines = append(b.lines, line{head, shared[with]})
	}
	drawn := 0
	for i := range s.Processes {
		p := &s.Processes[i]
		if p.Container != c.ID || len(p.Inside) == 0 {
			continue
		}
		if drawn++; drawn > longest {
			continue
		}
		differs := ""
		if list := differences(p, home); len(list) > 0 { // before the command line, which may be long
			differs = language.Say("[in %s] ", strings.Join(list, ", "))
		}
		b.add("%s", language.Say("PID %-7d here %-5s %s%s", p.PID, p.inside(), differs, p.Label()))
	}
	if drawn > longest {
		b.add("%s", language.Say("and %d more", drawn-longest))
	}
	return b
}

// home are the namespaces that a container's processes live in: its sandbox's, but for the pid namespace where the sandbox stays in the
// host's and the command has joined another container's.
func (s *Snapshot) home(c Container, sandbox *Process) map[string]uint64 {
	if sandbox.Namespaces["pid"] != s.Host["pid"] {
		return sandbox.Namespaces
	}
	home := maps.Clone(sandbox.Namespaces)
	for _, p := range s.Processes {
		if inode, ok := p.Namespaces["pid"]; ok && p.Container == c.ID && p.Role == Command {
			home["pid"] = inode
		}
	}
	return home
}

// partnersOf says with whom a container's sandbox shares a namespace: the host, other containers, or nobody.
func partnersOf(s *Snapshot, language lang.Lang, c Container, kind string, inode uint64) string {
	var names []string
	if s.Host[kind] == inode {
		names = append(names, language.Say("host"))
	}
	for _, other := range s.Containers {
		if p := s.process(other.PID); other.ID != c.ID && p != nil && s.home(other, p)[kind] == inode && s.Host[kind] != inode {
			names = append(names, Printable(other.Name))
		}
	}
	return strings.Join(names, language.Say(", "))
}

// differences are the namespaces that a process has made for itself in the container.
func differences(p *Process, home map[string]uint64) []string {
	var list []string
	for _, kind := range types {
		if inode, ok := p.Namespaces[kind]; ok && inode != home[kind] {
			list = append(list, fmt.Sprintf("%s %d", kind, inode))
		}
	}
	return list
}

func (s *Snapshot) process(pid int) *Process {
	i, ok := slices.BinarySearchFunc(s.Processes, pid, func(p Process, pid int) int { return p.PID - pid })
	if !ok {
		return nil
	}
	return &s.Processes[i]
}

// inside is the process's PID in the container; where it lives in another pid namespace in there, that one's follows.
func (p *Process) inside() string {
	var parts []string
	for _, pid := range p.Inside {
		parts = append(parts, strconv.Itoa(pid))
	}
	return strings.Join(parts, "/")
}

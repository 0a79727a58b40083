package view

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/lang"
)

// CgroupTree draws the groups, each with its limits and usage and then the processes in it. Lines end at width columns; 0 is
// no end. Without cgroup v2 it is one line that says so, and what /proc/PID/cgroup has.
func CgroupTree(h *Hierarchy, s *Snapshot, language lang.Lang, width int) string {
	var b strings.Builder
	put := func(line string) {
		if width > 0 {
			line = Cut(line, width)
		}
		b.WriteString(line + "\n")
	}
	if h.Missing != "" {
		put(language.Say("no limits or usage to show: ") + h.why(language))
		for _, c := range s.Containers {
			put(fmt.Sprintf("%s: /proc/%d/cgroup", Printable(c.Name), c.PID))
			for _, line := range h.Text[c.PID] {
				put("  " + Printable(line))
			}
		}
		return b.String()
	}
	top := &node{}
	nodes := map[string]*node{}
	for i := range h.Groups {
		g := &h.Groups[i]
		up, ok := nodes[path.Dir(g.Path)]
		text := path.Base(g.Path)
		if !ok || g.Path == "/" {
			up, text = top, g.Path
		}
		if outside(g.Path) {
			up, text = top, language.Say("%s (outside of this cgroup namespace)", g.Path)
		}
		n := &node{text: Printable(text), notes: g.lines(language)}
		nodes[g.Path] = n
		up.children = append(up.children, n)
		for _, pid := range g.Processes {
			if p := s.process(pid); p != nil {
				n.children = append(n.children, &node{text: fmt.Sprintf("%d %s", pid, p.Label())})
			}
		}
	}
	for _, root := range top.children {
		put(root.text)
		root.draw(func(branches, text string, _ *node) { put(branches + text) })
	}
	return b.String()
}

// lines are what the group's controllers say, one a line.
func (g *Cgroup) lines(language lang.Lang) []string {
	var lines []string
	if g.MemoryCurrent != "" {
		line := language.Say("memory %s of %s", bytesText(g.MemoryCurrent), bytesText(g.MemoryMax))
		if g.SwapMax != "" {
			line += language.Say(", swap of %s", bytesText(g.SwapMax))
		}
		if g.OOMKills > 0 {
			line += language.Say(", OOM kills: %d", g.OOMKills)
		}
		lines = append(lines, line)
	}
	if g.PidsCurrent != "" {
		lines = append(lines, language.Say("pids %s of %s", g.PidsCurrent, g.PidsMax))
	}
	if g.CPUMax != "" {
		line := language.Say("cpu %s", cpuText(g.CPUMax, language))
		if g.CPUWeight != "" {
			line += language.Say(", weight %s", g.CPUWeight)
		}
		line += language.Say(", used %s", microseconds(g.CPUStat["usage_usec"]))
		if n := g.CPUStat["nr_throttled"]; n > 0 {
			line += language.Say(", throttled %d times for %s", n, microseconds(g.CPUStat["throttled_usec"]))
		}
		lines = append(lines, line)
	}
	return lines
}

// bytesText is a number of a memory file for people, in the binary units that these limits are set in.
func bytesText(text string) string {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return text // max
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return strconv.FormatFloat(value, 'g', 4, 64) + " " + units[unit]
}

// cpuText is cpu.max in processors: "50000 100000" are 0.5.
func cpuText(text string, language lang.Lang) string {
	quota, period, _ := strings.Cut(text, " ")
	q, err := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err != nil || err2 != nil || p == 0 {
		return language.Say("of %s", quota) // max
	}
	return language.Say("of %s (%s µs in each %s µs)", strconv.FormatFloat(q/p, 'g', 3, 64), quota, period)
}

func microseconds(n uint64) string {
	return (time.Duration(n) * time.Microsecond).Round(time.Millisecond).String()
}

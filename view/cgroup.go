package view

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/lang"
)

// A Cgroup is a group of the unified hierarchy (cgroup v2) that a container's process is in, or that holds such a group.
// Where a controller is not enabled for the group, or for the root, its files are not there and the fields are "".
type Cgroup struct {
	Path          string // below the mount, "/" for the root
	MemoryCurrent string // bytes
	MemoryMax     string // bytes, or max
	SwapMax       string
	PidsCurrent   string
	PidsMax       string
	CPUMax        string            // microseconds of quota and of period
	CPUWeight     string            // 1 to 10000
	CPUStat       map[string]uint64 // usage_usec, nr_throttled, throttled_usec …
	OOMKills      uint64            // of memory.events
	Processes     []int             // the containers' in this very group, on the host
}

// A Hierarchy is what ReadCgroups found.
type Hierarchy struct {
	Root    string   // where cgroup v2 is mounted
	Missing string   // why there is nothing to show: this machine's cgroups are not v2
	Groups  []Cgroup // sorted by path
	why     func(lang.Lang) string
	Text    map[int][]string // /proc/PID/cgroup of each container's PID 1, line by line
}

// ReadCgroups reads the groups of the snapshot's processes, root being where cgroup v2 is mounted.
func ReadCgroups(from Source, root string, s *Snapshot) (*Hierarchy, error) {
	h := &Hierarchy{Root: root, Groups: []Cgroup{}, Text: map[int][]string{}}
	for _, c := range s.Containers {
		if text, err := os.ReadFile(from.file(c.PID, "cgroup")); err == nil {
			h.Text[c.PID] = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		}
	}
	var err error
	if h.why, err = notUnified(root); err != nil || h.why != nil {
		if h.why != nil {
			h.Missing = h.why(lang.English)
		}
		return h, err
	}
	members := map[string][]int{}
	for i := range s.Processes {
		pid := s.Processes[i].PID
		text, err := os.ReadFile(from.file(pid, "cgroup"))
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
				members[name] = append(members[name], pid)
			}
		}
	}
	groups := map[string]bool{}
	for name := range members {
		groups[name] = true
		if outside(name) {
			continue // what holds it can't be seen either
		}
		for up := path.Dir(name); up != "." && !groups[up]; up = path.Dir(up) {
			groups[up] = true
		}
	}
	for name := range groups {
		g := Cgroup{Path: name, Processes: members[name]}
		if !outside(name) {
			g.read(filepath.Join(root, filepath.FromSlash(name)))
		}
		h.Groups = append(h.Groups, g)
	}
	slices.SortFunc(h.Groups, func(a, b Cgroup) int { // so that a group stands right above those in it
		return slices.Compare(strings.Split(a.Path, "/"), strings.Split(b.Path, "/"))
	})
	return h, nil
}

// outside tells of a group that is not below the root of the reader's cgroup namespace: cgroup_namespaces(7) shows it
// as /../name.
func outside(name string) bool { return strings.HasPrefix(name, "/..") }

// notUnified says why root is no cgroup v2 that has anything to tell, or nil. Where version 1 has the controllers, systemd
// mounts a version 2 without them beside it, at unified (or at none).
func notUnified(root string) (why func(lang.Lang) string, err error) {
	because := func(format string, v ...any) func(lang.Lang) string {
		return func(language lang.Lang) string { return language.Say(format, v...) }
	}
	controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err == nil {
		if useful(string(controllers)) {
			return nil, nil
		}
		return because("the cgroup v2 at %s has no controller for memory, pids or cpu: this machine uses cgroup v1 for them", root), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the cgroups: %w", err)
	}
	beside := filepath.Join(root, "unified")
	if controllers, err := os.ReadFile(filepath.Join(beside, "cgroup.controllers")); err == nil && !useful(string(controllers)) {
		return because("%s is cgroup v1, and the v2 at %s has no controller for memory, pids or cpu", root, beside), nil
	}
	return because("%s is not cgroup v2: it has no cgroup.controllers", root), nil
}

func useful(controllers string) bool {
	return slices.ContainsFunc(strings.Fields(controllers), func(name string) bool { return name == "memory" || name == "pids" || name == "cpu" })
}

// read fills in what the group's files tell. Those that are not there belong to controllers that are not enabled.
func (g *Cgroup) read(dir string) {
	value := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	g.MemoryCurrent, g.MemoryMax, g.SwapMax = value("memory.current"), value("memory.max"), value("memory.swap.max")
	g.PidsCurrent, g.PidsMax = value("pids.current"), value("pids.max")
	g.CPUMax, g.CPUWeight = value("cpu.max"), value("cpu.weight")
	g.CPUStat = flatKeyed(value("cpu.stat"))
	g.OOMKills = flatKeyed(value("memory.events"))["oom_kill"]
}

// flatKeyed parses the kernel's "flat keyed" files (cgroup-v2.rst): a name and a number a line.
func flatKeyed(text string) map[string]uint64 {
	values := map[string]uint64{}
	for line := range strings.Lines(text) {
		key, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(digits, 10, 64); err == nil {
			values[key] = n
		}
	}
	return values
}

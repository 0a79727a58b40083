package labs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A kernel is what there is to read of the machine, by paths as they are written everywhere: /proc/812/status.
type kernel struct{ files fs.FS }

func (k kernel) read(name string) (string, error) {
	data, err := fs.ReadFile(k.files, inFS(name))
	return string(data), unwrapped(name, err)
}

// stat follows links, the kernel's magic ones, too.
func (k kernel) stat(name string) (*syscall.Stat_t, error) {
	info, err := fs.Stat(k.files, inFS(name))
	if err != nil {
		return nil, unwrapped(name, err)
	}
	return statOf(name, info)
}

func (k kernel) lstat(name string) (*syscall.Stat_t, error) {
	info, err := fs.Lstat(k.files, inFS(name))
	if err != nil {
		return nil, unwrapped(name, err)
	}
	return statOf(name, info)
}

func statOf(name string, info fs.FileInfo) (*syscall.Stat_t, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("stat %s: %w", name, errors.ErrUnsupported)
	}
	return st, nil
}

func inFS(name string) string { return strings.TrimPrefix(path.Clean(name), "/") }

// unwrapped gives an error of an fs.FS the path that a person knows.
func unwrapped(name string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return &fs.PathError{Op: at.Op, Path: name, Err: at.Err}
	}
	return err
}

// A Process is one, by its number and its start time: numbers are used again.
type Process struct {
	PID   int    `json:"pid"`
	Birth uint64 `json:"birth"` // in clock ticks since boot
}

func (p Process) file(name string) string { return fmt.Sprintf("/proc/%d/%s", p.PID, name) }

// A stat is what of /proc/PID/stat is of use.
type stat struct {
	state  byte
	parent int
	birth  uint64
	reaped uint64 // cminflt: the page faults of the children that it has waited for. No process lives without one
}

func (k kernel) procStat(pid int) (s stat, err error) {
	name := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := k.read(name)
	if err != nil {
		return s, err
	}
	// proc(5): the second field, the command's name in parentheses, may hold anything.
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return s, fmt.Errorf("%s: only %d fields", name, len(f))
	}
	s.state = f[0][0]
	s.parent, err = strconv.Atoi(f[1])
	for _, field := range []struct {
		to    *uint64
		index int // that of proc(5), less 3
	}{{&s.reaped, 8}, {&s.birth, 19}} {
		if err == nil {
			*field.to, err = strconv.ParseUint(f[field.index], 10, 64)
		}
	}
	return s, err
}

// Process is the living process with that number.
func (k kernel) process(pid int) (Process, error) {
	s, err := k.procStat(pid)
	if err != nil {
		return Process{}, err
	}
	return Process{pid, s.birth}, nil
}

// alive tells whether it still is the process that it was.
func (k kernel) alive(p Process) bool {
	s, err := k.procStat(p.PID)
	return err == nil && s.birth == p.Birth && s.state != 'Z' && s.state != 'X'
}

// children are the processes whose parent it is, the eldest first.
func (k kernel) children(parent int) (list []Process, states []byte, err error) {
	entries, err := fs.ReadDir(k.files, "proc")
	if err != nil {
		return nil, nil, err
	}
	type child struct {
		Process
		state byte
	}
	var found []child
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := k.procStat(pid); err == nil && s.parent == parent {
			found = append(found, child{Process{pid, s.birth}, s.state})
		}
	}
	slices.SortFunc(found, func(a, b child) int {
		if a.Birth != b.Birth {
			return int(int64(a.Birth - b.Birth))
		}
		return a.PID - b.PID
	})
	for _, c := range found {
		list, states = append(list, c.Process), append(states, c.state)
	}
	return list, states, nil
}

// cmdline is what a process was started with, its words with blanks between.
func (k kernel) cmdline(p Process) (string, error) {
	text, err := k.read(p.file("cmdline"))
	return strings.ReplaceAll(strings.TrimRight(text, "\x00"), "\x00", " "), err
}

// status is a line of /proc/PID/status.
func (k kernel) status(p Process, field string) (string, error) {
	text, err := k.read(p.file("status"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == field {
			return strings.Join(strings.Fields(value), " "), nil
		}
	}
	return "", fmt.Errorf("%s: no line %s: %w", p.file("status"), field, errors.ErrUnsupported)
}

// A namespace is one, as the kernel names it.
type namespace struct{ dev, ino uint64 }

func (k kernel) namespace(p Process, kind string) (namespace, error) {
	st, err := k.stat(p.file("ns/" + kind))
	if err != nil {
		return namespace{}, err
	}
	return namespace{st.Dev, st.Ino}, nil
}

func (n namespace) text(kind string) string { return fmt.Sprintf("%s:[%d]", kind, n.ino) }

// A mount is a line of mountinfo: man 5 proc_pid_mountinfo.
type mount struct {
	device, root, at string
	options, tags    []string
	fstype, source   string
	super            []string
}

func (k kernel) mounts(p Process) ([]mount, error) {
	text, err := k.read(p.file("mountinfo"))
	if err != nil {
		return nil, err
	}
	var list []mount
	for line := range strings.Lines(text) {
		m, ok := parseMount(strings.TrimSuffix(line, "\n"))
		if !ok {
			return nil, fmt.Errorf("%s: %q is no line of it", p.file("mountinfo"), line)
		}
		list = append(list, m)
	}
	return list, nil
}

func parseMount(line string) (m mount, ok bool) {
	before, after, found := strings.Cut(line, " - ")
	f, g := strings.Fields(before), strings.Fields(after)
	if !found || len(f) < 6 || len(g) < 2 {
		return m, false
	}
	m = mount{device: f[2], root: unescape(f[3]), at: unescape(f[4]), options: strings.Split(f[5], ","), tags: f[6:], fstype: g[0], source: unescape(g[1])}
	if len(g) > 2 {
		m.super = strings.Split(g[2], ",")
	}
	return m, true
}

// unescape undoes what the kernel does to blanks, tabs, line ends and backslashes in paths.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// option is the value of one of a mount's own or its file system's options; ok tells whether it is there.
func (m *mount) option(name string) (value string, ok bool) {
	for _, o := range append(slices.Clone(m.options), m.super...) {
		if key, value, _ := strings.Cut(o, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// cgroup is the process's folder in the cgroup v2 tree, below /sys/fs/cgroup.
func (k kernel) cgroup(p Process) (string, error) {
	text, err := k.read(p.file("cgroup"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		if folder, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(folder), nil
		}
	}
	return "", fmt.Errorf("%s: no line 0::, so no cgroup v2: %w", p.file("cgroup"), errors.ErrUnsupported)
}

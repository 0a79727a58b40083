package view

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"codeberg.org/minipod/minipod/internal/lang"

	"codeberg.org/minipod/minipod/internal/linux"
)

// fake is a process for a proc folder.
type fake struct {
	pid, parent int
	birth       uint64
	name        string
	args        []string
	inside      []int
	namespaces  string // "user=2 net=1": inodes; what is not named is 1001, 1002 … by the order of types
}

const host = "self"

// fakeProc writes a proc folder; the processes' user is uid 1000. Its owners are made up: namespaces from 2000 on belong
// to the user namespace 2000, that one and the rest to 1001, which is the first one.
func fakeProc(t *testing.T, processes ...fake) Source {
	t.Helper()
	proc := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	links := func(process, own string) {
		t.Helper()
		dir := filepath.Join(proc, process, "ns")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for i, kind := range types {
			inode := strconv.Itoa(1001 + i)
			for word := range strings.FieldsSeq(own) {
				if value, ok := strings.CutPrefix(word, kind+"="); ok {
					inode = value
				}
			}
			if err := os.Symlink(kind+":["+inode+"]", filepath.Join(dir, kind)); err != nil {
				t.Fatal(err)
			}
		}
	}
	links(host, "")
	write(filepath.Join(proc, "uptime"), "1 1\n") // no process
	for _, p := range processes {
		dir := filepath.Join(proc, strconv.Itoa(p.pid))
		write(filepath.Join(dir, "stat"), fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 %d 1 1\n", p.pid, p.name, p.parent, p.birth))
		nspid := strconv.Itoa(p.pid)
		for _, n := range p.inside {
			nspid += "\t" + strconv.Itoa(n)
		}
		write(filepath.Join(dir, "status"), fmt.Sprintf("Name:\tx\nState:\tS (sleeping)\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t%s\n", nspid))
		cmdline := ""
		for _, a := range p.args {
			cmdline += a + "\x00"
		}
		write(filepath.Join(dir, "cmdline"), cmdline)
		links(strconv.Itoa(p.pid), p.namespaces)
	}
	return Source{proc, func(path string) (uint64, int, error) {
		text, err := os.Readlink(path)
		_, digits, _ := strings.Cut(strings.TrimSuffix(text, "]"), "[")
		inode, _ := strconv.Atoi(digits)
		switch {
		case err != nil || inode == 1001:
			return 0, 0, err
		case inode > 2000:
			return 2000, 1000, nil
		}
		return 1001, map[bool]int{true: 1000}[inode == 2000], nil
	}}
}

// webNamespaces are those of the container web: its own but for time.
const webNamespaces = "user=2000 mnt=2001 pid=2002 net=2003 ipc=2004 uts=2005 cgroup=2006"

// web is a container with an orphan, which was born in the tick of its command, a grandchild, one that joined it by way of
// `minipod exec`, and its FUSE; db has the host's network and is PID 1 itself. Beside them run a shell and a kernel thread.
func web(t *testing.T) (Source, []Container) {
	source := fakeProc(t,
		fake{1, 0, 1, "init", []string{"/sbin/init"}, nil, ""},
		fake{2, 0, 1, "kthreadd", nil, nil, ""},
		fake{90, 1, 50, "bash", []string{"bash"}, nil, ""},
		fake{100, 90, 100, "minipod", []string{"minipod", "run", "--name", "web", "nginx"}, nil, ""},
		fake{101, 100, 100, "minipod", []string{"minipod", "sandbox", "web"}, []int{1}, webNamespaces},
		fake{105, 101, 102, "or) phan", []string{"orphan"}, []int{9}, webNamespaces},
		fake{110, 101, 102, "nginx", []string{"/bin/nginx", "-g", "\x1b[2Jx"}, []int{5}, webNamespaces},
		fake{111, 110, 103, "worker", []string{"worker"}, []int{6, 1}, webNamespaces + " pid=2009"},
		fake{112, 110, 103, "zombie\x1b", nil, []int{7}, webNamespaces},
		fake{115, 1, 104, "fuse-overlayfs", []string{"fuse-overlayfs"}, nil, "user=2000 mnt=2001"},
		fake{116, 100, 104, "minipod", []string{"minipod", "run", "--name", "web", "nginx"}, nil, ""}, // the guard
		fake{120, 90, 200, "minipod", []string{"/usr/bin/minipod", "exec", "web", "sh"}, nil, ""},
		fake{121, 120, 201, "sh", []string{"sh"}, []int{12}, webNamespaces},
		fake{200, 1, 300, "minipod", []string{"minipod", "--root", "/x", "run", "db"}, nil, ""},
		fake{201, 200, 300, "数据库", []string{"数据库", "--端口=5432"}, []int{1}, "user=2100 mnt=2101 pid=2102 ipc=2104 uts=2105 cgroup=2106"},
	)
	return source, []Container{
		{"web-id", "web", 101, 100},
		{"db-id", "db", 201, 300},
		{"gone-id", "gone", 999, 1},    // it ended just now
		{"reused-id", "reused", 90, 7}, // and of this one, somebody has the number
		{"created-id", "created", 0, 0},
	}
}

func read(t *testing.T, from Source, containers []Container) *Snapshot {
	t.Helper()
	s, err := Read(from, containers)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRoles(t *testing.T) {
	s := readWeb(t)
	want := map[int]string{
		100: "web-id supervisor", 101: "web-id sandbox", 105: "web-id child", 110: "web-id command", 111: "web-id child", 112: "web-id child",
		115: "web-id helper", 116: "web-id helper", 120: "web-id helper", 121: "web-id joined",
		200: "db-id supervisor", 201: "db-id command",
	}
	for _, p := range s.Processes {
		if got := p.Container + " " + string(p.Role); got != want[p.PID] {
			t.Errorf("process %d is %q, want %q", p.PID, got, want[p.PID])
		}
		delete(want, p.PID)
	}
	if len(want) > 0 || len(s.Containers) != 2 {
		t.Errorf("missing %v; containers %v", want, s.Containers)
	}
}

// TestSharedPIDs: debug lives among web's processes. Its sandbox does not, and its orphan, which web's PID 1 has adopted, and who joined
// it have its files.
func TestSharedPIDs(t *testing.T) {
	const debug = "user=2000 mnt=2301 pid=2002 net=2303 ipc=2304 uts=2305 cgroup=2306"
	from := fakeProc(t,
		fake{1, 0, 1, "init", []string{"/sbin/init"}, nil, ""},
		fake{100, 1, 100, "minipod", []string{"minipod", "supervisor", "web"}, nil, ""},
		fake{101, 100, 100, "minipod", []string{"minipod", "sandbox", "web"}, []int{1}, webNamespaces},
		fake{110, 101, 102, "nginx", []string{"nginx"}, []int{5}, webNamespaces},
		fake{200, 1, 200, "minipod", []string{"minipod", "supervisor", "debug"}, nil, ""},
		fake{201, 200, 200, "minipod", []string{"minipod", "sandbox", "debug"}, nil, strings.Replace(debug, "pid=2002", "", 1)},
		fake{210, 201, 201, "sh", []string{"sh"}, []int{9}, debug},
		fake{211, 101, 202, "orphan", []string{"orphan"}, []int{10}, debug},
		fake{212, 200, 203, "ls", []string{"ls"}, []int{11}, debug},
	)
	containers := []Container{{"web-id", "web", 101, 100}, {"debug-id", "debug", 201, 200}}
	s := read(t, from, containers)
	want := map[int]string{
		100: "web-id supervisor", 101: "web-id sandbox", 110: "web-id command",
		200: "debug-id supervisor", 201: "debug-id sandbox", 210: "debug-id command", 211: "debug-id child", 212: "debug-id joined",
	}
	for _, p := range s.Processes {
		if got := p.Container + " " + string(p.Role); got != want[p.PID] {
			t.Errorf("process %d is %q, want %q", p.PID, got, want[p.PID])
		}
	}
	boxes := Boxes(s, lang.English, 100)
	for _, line := range []string{"shared with web: pid 2002", "shared with debug: pid 2002", "PID 201     minipod sandbox debug", "PID 211     here 10    orphan"} {
		if !strings.Contains(boxes, line) {
			t.Errorf("%q is missing in\n%s", line, boxes)
		}
	}
	if strings.Contains(boxes, "[in ") {
		t.Errorf("somebody is said to be elsewhere:\n%s", boxes)
	}
	alone := read(t, from, containers[1:])
	if p := alone.process(211); p == nil || p.Container != "debug-id" || p.Role != Joined {
		t.Errorf("without web the orphan is %+v", p)
	}
}

// TestVanishing: processes that are gone, or half gone, are left out; one whose parent's number was given away since has no
// known parent; a circle ends.
func TestVanishing(t *testing.T) {
	from, containers := web(t)
	for _, name := range []string{"111/stat", "112/status"} {
		if err := os.Remove(filepath.Join(from.Proc, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range types { // a zombie's namespaces can't be read
		if err := os.Remove(filepath.Join(from.Proc, "105/ns", kind)); err != nil {
			t.Fatal(err)
		}
	}
	s := read(t, from, containers)
	for _, p := range s.Processes {
		if p.PID == 111 || p.PID == 112 {
			t.Errorf("process %d is there", p.PID)
		}
		if p.PID == 105 && len(p.Namespaces) > 0 {
			t.Error(p)
		}
	}
	odd := fakeProc(t,
		fake{10, 11, 5, "a", nil, nil, ""}, fake{11, 10, 5, "b", nil, nil, ""}, // each other's parent
		fake{20, 1, 50, "minipod", []string{"minipod", "run"}, nil, ""},
		fake{21, 20, 40, "minipod", []string{"minipod", "sandbox", "x"}, []int{1}, webNamespaces}, // older than its parent
	)
	if s := read(t, odd, []Container{{"x", "x", 21, 40}}); len(s.Processes) != 1 || s.Processes[0].PID != 21 {
		t.Errorf("%+v", s.Processes)
	}
	for name, stat := range map[string]string{"no name": "5 x S 1", "short": "5 (x) S 1", "no number": "5 (x) S a" + strings.Repeat(" 1", 30), "empty": ""} {
		if err := os.WriteFile(filepath.Join(odd.Proc, "10/stat"), []byte(stat), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, ok := odd.stat(10); ok {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if _, err := Read(Source{filepath.Join(odd.Proc, "nowhere"), nil}, []Container{{}}); err == nil {
		t.Error("no proc, and no error")
	}
}

// TestKernel starts a process in namespaces of its own, and looks at it: what lsns shows, and who owns what.
func TestKernel(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	birth, err := linux.StartTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	s := read(t, Kernel(), []Container{{"x-id", "x", cmd.Process.Pid, birth}})
	p := s.process(cmd.Process.Pid)
	if p == nil || p.Role != Command || p.Parent != os.Getpid() || !slices.Equal(p.Inside, []int{1}) || p.UID != os.Getuid() {
		t.Fatalf("%+v", p)
	}
	if len(p.Args) != 2 || p.Args[0] != "sleep" || !strings.HasPrefix(p.State, "S") && !strings.HasPrefix(p.State, "R") {
		t.Errorf("%q %q", p.Args, p.State)
	}
	for _, kind := range types {
		own := kind == "user" || kind == "pid" || kind == "uts"
		inode := p.Namespaces[kind]
		if inode == 0 || (inode != s.Host[kind]) != own {
			t.Errorf("%s: %d, the host's is %d", kind, inode, s.Host[kind])
		}
		want := Owner{s.Host["user"], 0}
		if own {
			want = Owner{p.Namespaces["user"], os.Getuid()}
		}
		switch got := s.Owners[inode]; {
		case kind == "user" && got != Owner{s.Host["user"], os.Getuid()}:
			t.Errorf("user: %+v", got)
		case own && kind != "user" && got != want:
			t.Errorf("%s: %+v, want %+v", kind, got, want)
		}
	}
	if supervisor := s.process(os.Getpid()); supervisor == nil || supervisor.Role != Supervisor {
		t.Errorf("our own process: %+v", supervisor)
	}
}

func readWeb(t *testing.T) *Snapshot {
	t.Helper()
	from, containers := web(t)
	return read(t, from, containers)
}

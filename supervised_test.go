package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
)

// TestAttachTerminal attaches to a shell in a detached container, leaves it by the keys, comes back, and ends it.
func TestAttachTerminal(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("pull", alpine())
	before := takeCensus(t)
	m.must("run", "-dit", "--name", "shell", "-e", "PS1=ready> ", alpine(), "sh")

	cmd := m.command("attach", "shell")
	s := startOn(t, cmd)
	was := s.mode()
	s.write("\r")
	s.expect("ready> ")
	s.write("tty; stty size; echo $((40+2))\r")
	s.expect(`/dev/(pts/0|console)\r\n24 80\r\n42\r\n`)
	if err := pty.Setsize(s.master, &pty.Winsize{Rows: 50, Cols: 132}); err != nil {
		t.Fatal(err)
	}
	s.write("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; stty size\r")
	s.expect("50 132\r\n")
	s.write("x=kept\r")
	s.expect("ready> ")
	s.write("\x10\x11") // Ctrl-P Ctrl-Q
	if status := ended(t, cmd); status != 0 {
		t.Errorf("detached: status %d", status)
	}
	if now := s.mode(); now != was {
		t.Errorf("the terminal was %+v, and is %+v", was, now)
	}

	cmd = m.command("attach", "--detach-keys", "ctrl-a,x", "shell")
	s = startOn(t, cmd)
	s.write("\recho again $x\r")
	s.expect("again kept\r\n")
	s.job()
	s.write("\x03")
	s.expect("ready> ")
	s.write("echo status $?\r")
	s.expect("status 130\r\n")
	s.write("\x01x")
	if status := ended(t, cmd); status != 0 {
		t.Errorf("detached by other keys: status %d", status)
	}

	cmd = m.command("attach", "shell")
	s = startOn(t, cmd)
	s.write("\r")
	s.expect("ready> ")
	s.write("exit 5\r")
	if status := ended(t, cmd); status != 5 {
		t.Errorf("status %d, want 5", status)
	}
	if now := s.mode(); now != was {
		t.Errorf("the terminal was %+v, and is %+v", was, now)
	}
	if status, _, stderr := m.run("attach", "shell"); status != 1 || !strings.Contains(stderr, "not running") {
		t.Errorf("attach to what ended: status %d, %s", status, stderr)
	}
	m.must("rm", "shell")
	before.settles(t)
}

// TestExecTerminal talks to a shell that exec started.
func TestExecTerminal(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("pull", alpine())
	before := takeCensus(t)
	m.must("run", "-d", "--name", "box", alpine(), "sleep", "600")
	cmd := m.command("exec", "-it", "-e", "PS1=ready> ", "box", "sh")
	s := startOn(t, cmd)
	was := s.mode()
	s.expect("ready> ")
	s.write("tty; stty size; echo $TERM\r")
	s.expect(`/dev/pts/\d\r\n24 80\r\nxterm\r\n`)
	if err := pty.Setsize(s.master, &pty.Winsize{Rows: 50, Cols: 132}); err != nil {
		t.Fatal(err)
	}
	s.write("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; stty size\r")
	s.expect("50 132\r\n")
	s.job()
	s.write("\x1a")
	s.expect("Stopped +sh -c")
	s.write("fg\r")
	s.expect("goes-43\r\n")
	s.write("\x03")
	s.expect("ready> ")
	s.write("exit 5\r")
	if status := ended(t, cmd); status != 5 {
		t.Errorf("status %d, want 5", status)
	}
	if now := s.mode(); now != was {
		t.Errorf("the terminal was %+v, and is %+v", was, now)
	}
	for what, end := range map[string]func(){
		"stop":           func() { m.must("stop", "-t", "0", "box") },
		"the supervisor": func() { _ = syscall.Kill(m.containers()[0].Supervisor, syscall.SIGKILL) },
	} {
		m.must("start", "box")
		cmd = m.command("exec", "-it", "-e", "PS1=ready> ", "box", "sh")
		s = startOn(t, cmd)
		s.expect("ready> ")
		end()
		if status := ended(t, cmd); status == 0 {
			t.Errorf("the container ended by %s: exec's status is 0", what)
		}
		if now := s.mode(); now != was {
			t.Errorf("%s: the terminal was %+v, and is %+v", what, was, now)
		}
	}
	m.must("rm", "-f", "box")
	before.settles(t)
}

// connect is a connection to the supervisor of the container with that name.
func (m *machine) connect(name string) *linux.Socket {
	m.t.Helper()
	r, err := runtime.Find(m.dirs(), name)
	if err != nil {
		m.t.Fatal(err)
	}
	dir, err := linux.OpenDir(filepath.Join(m.dirs().Containers(), r.ID))
	if err != nil {
		m.t.Fatal(err)
	}
	defer dir.Close()
	conn, err := linux.Connect(dir, "control")
	if err != nil {
		m.t.Fatal(err)
	}
	return conn
}

// TestHostileCallers: whoever connects and says nothing, attaches and does not read, or asks for nonsense, is in nobody's way: not in that
// of exec, and not in that of stop.
func TestHostileCallers(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("pull", alpine())
	before := takeCensus(t)
	m.must("run", "-d", "--name", "loud", "--stop-timeout", "1", alpine(), "sh", "-c", "trap '' TERM; while :; do echo 0123456789012345678901234567890123456789; done")
	var callers []*linux.Socket
	for range 200 {
		callers = append(callers, m.connect("loud"))
	}
	for _, record := range []string{`{"Op":"attach"}`, `{"Op":"attach","Stdin":true}`, "{", `{"Op":"wait"}`, `{"Op":"exec"}`} {
		conn := m.connect("loud")
		if err := conn.Send([]byte(record)); err != nil {
			t.Error(err)
		}
		callers = append(callers, conn)
	}
	time.Sleep(500 * time.Millisecond) // the output has filled whatever there is
	began := time.Now()
	m.must("exec", "loud", "true")
	command := time.Since(began) // on this machine
	began = time.Now()
	m.must("stop", "loud")
	if took := time.Since(began); took > 10*time.Second+20*command { // a second for the command, five for who does not read
		t.Errorf("stop took %v, and an exec %v", took, command)
	}
	for _, conn := range callers {
		conn.Close()
	}
	m.must("rm", "loud")
	before.settles(t)
}

// TestStopsAndStarts: stop ends a container that is just being started; two stops at once both succeed; a kill in the pause before a
// restart ends that.
func TestStopsAndStarts(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("pull", alpine())
	before := takeCensus(t)
	m.must("create", "--name", "box", alpine(), "sleep", "600")
	for i := range 15 {
		var both sync.WaitGroup
		both.Go(func() { m.racer("start", "box") })
		time.Sleep(time.Duration(4+2*i) * time.Millisecond)
		both.Go(func() { m.racer("stop", "box") })
		both.Go(func() { m.racer("stop", "-t", "0", "box") })
		both.Wait()
		m.must("stop", "box") // where both were too early
		if r := m.containers()[0]; r.Live() {
			t.Fatalf("it is %s", r.Status)
		}
	}
	m.must("rm", "box")
	// The first restart comes at once: the stop finds the container ending, starting or running.
	for i := range 10 {
		m.must("run", "-d", "--name", "box", "--restart", "always", alpine(), "true")
		time.Sleep(time.Duration(3*i) * time.Millisecond)
		if status, out := m.racer("stop", "box"); status != 0 {
			t.Errorf("stop: %s", out)
		}
		if r := m.containers()[0]; r.Status != runtime.StatusExited {
			t.Errorf("it is %s", r.Status)
		}
		m.must("rm", "box")
	}
	before.settles(t)
}

// TestManyExecs runs a hundred commands at once in a container, and then some more: each has its own exit status, and the supervisor is
// as it was before, in its files and its memory.
func TestManyExecs(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("pull", alpine())
	before := takeCensus(t)
	m.must("run", "-d", "--name", "box", alpine(), "sleep", "600")
	m.must("exec", "box", "true")
	supervisor := m.containers()[0].Supervisor
	files := func() (n int) {
		folder := fmt.Sprintf("/proc/%d/fd", supervisor)
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries { // its one watch may come late: it waits for others' where the user has few left
			if to, err := os.Readlink(filepath.Join(folder, e.Name())); err != nil || to != "anon_inode:inotify" {
				n++
			}
		}
		return n
	}
	were := files()
	hundred := func() {
		var all sync.WaitGroup
		slots := make(chan struct{}, 100)
		for i := range 100 {
			slots <- struct{}{}
			all.Go(func() {
				if status, out := m.racer("exec", "box", "sh", "-c", "exit "+strconv.Itoa(i)); status != i {
					t.Errorf("status %d, want %d: %s", status, i, out)
				}
				<-slots
			})
		}
		all.Wait()
	}
	hundred()
	memory := rss(t, supervisor)
	hundred()
	for range 30 { // with a terminal, detached, and such as fail
		m.racer("exec", "-t", "box", "true")
		m.racer("exec", "-d", "box", "true")
		m.racer("exec", "box", "nosuch")
		m.racer("exec", "-u", "ghost", "box", "true")
	}
	now := 0
	for range 1000 {
		if now = files(); now <= were {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if now > were {
		out, _ := exec.Command("ls", "-l", fmt.Sprintf("/proc/%d/fd", supervisor)).Output()
		t.Errorf("the supervisor had %d files open, and has %d:\n%s", were, now, out)
	}
	if grown := rss(t, supervisor) - memory; grown > 8<<20 {
		t.Errorf("the supervisor has %d bytes more than after the first hundred", grown)
	}
	m.must("rm", "-f", "box")
	before.settles(t)
}

// rss is the anonymous memory of a process, in bytes.
func rss(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	var kilobytes int
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// TestExecIsTheContainers: what exec runs is in the namespaces and the group of PID 1, and has the limits of the container's command.
func TestExecIsTheContainers(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	const look = `ls -l /proc/self/ns | sed 's/.*-> //'; cat /proc/self/cgroup; grep -E 'Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigIgn|SigBlk|SigCgt' /proc/self/status;
sed 's/ *$//' /proc/self/limits; cat /proc/self/oom_score_adj; umask; env | grep -v -E 'SHLVL|PWD|_=' | sort; ls /proc/self/fd; pwd; echo whole`
	for _, flags := range [][]string{
		{},
		{"--user", "nobody"},
		{"--user", "1000:1001"},
		{"--cap-drop", "ALL"},
		{"--cap-add", "SYS_PTRACE"},
		{"--pid=private"},
		{"--network", "host"},
		{"--security-opt", "seccomp=unconfined"},
		{"--security-opt", "no-new-privileges=false"},
		{"--ulimit", "nofile=99:100", "--oom-score-adj", "300"},
		{"-w", "/tmp", "-e", "A=b"},
	} {
		name := "box" + strings.Join(flags, "")
		name = strings.NewReplacer("-", "", "=", "", ":", "", "/", "").Replace(name)
		if status, _, stderr := m.run(append(append([]string{"run", "-d", "--name", name}, flags...), alpine(), "sh", "-c", "("+look+") >/dev/shm/look; exec sleep 600")...); status != 0 {
			t.Errorf("%v: %s", flags, stderr)
			continue
		}
		var own string
		for range 2000 {
			if _, own, _ = m.run("exec", name, "cat", "/dev/shm/look"); strings.HasSuffix(own, "whole\n") {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		other := m.must("exec", name, "sh", "-c", look)
		if own != other {
			a, b := strings.Split(own, "\n"), strings.Split(other, "\n")
			for i := range min(len(a), len(b)) {
				if a[i] != b[i] {
					t.Errorf("%v: the command has %q, and exec's %q", flags, a[i], b[i])
				}
			}
			if len(a) != len(b) {
				t.Errorf("%v: the command has\n%s\nand exec's\n%s", flags, own, other)
			}
		}
		r, err := runtime.Find(m.dirs(), name)
		if err != nil {
			t.Fatal(err)
		}
		// The group is compared by what /proc/self/cgroup says.
		for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} {
			ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", r.PID, kind))
			if err == nil && !strings.Contains(other, ns) {
				t.Errorf("%v: PID 1's %s is not exec's:\n%s", flags, ns, other)
			}
		}
		m.must("rm", "-f", name)
	}
}

// TestExecIsUnreachable has root in a container, with every power that it can be given, reach for whatever process appears. From the
// clone to the execve exec's is a copy of the supervisor, with its memory, and its /proc/PID/exe is our binary.
func TestExecIsUnreachable(t *testing.T) {
	if ok, err := static(); err != nil || !ok {
		t.Skip("this test binary is linked with C, and can't run in the container", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	m.must("pull", alpine())
	for _, flags := range [][]string{{}, {"--cap-add", "ALL", "--security-opt", "seccomp=unconfined"}} {
		args := append([]string{"run", "-d", "--name", "box", "-v", self + ":/bin/watcher:ro"}, flags...)
		id := strings.TrimSpace(m.must(append(args, alpine(), "watcher")...))
		said := func() string {
			text, err := os.ReadFile(filepath.Join(m.dirs().Containers(), id, "log.json"))
			if err != nil {
				t.Error(err)
			}
			return string(text)
		}
		for began := time.Now(); time.Since(began) < 2*time.Minute && strings.Count(said(), "refused") < 5; {
			m.must("exec", "box", "true")
			m.racer("exec", "box", "nosuch")
		}
		if text := said(); strings.Contains(text, "reached") {
			t.Errorf("%v: %s", flags, text)
		} else if !strings.Contains(text, "refused") {
			t.Errorf("%v: the watcher never saw a process before its execve: %s", flags, text)
		}
		m.must("rm", "-f", "box")
	}
}

// watch is the one in the container. It prints a line about each process that is or was not what it is in the end.
func watch() {
	told := map[string]bool{}
	tell := func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); !told[line] {
			told[line] = true
			fmt.Println(line)
		}
	}
	self, header := strconv.Itoa(os.Getpid()), make([]byte, 64)
	exe, err := os.Open("/proc/self/exe") // the binary that minipod is here, too
	if err == nil {
		_, err = io.ReadFull(exe, header)
	}
	if err != nil {
		tell("reached nothing: %v", err)
		return
	}
	for {
		proc, err := os.Open("/proc")
		if err != nil {
			tell("%v", err)
			return
		}
		names, _ := proc.Readdirnames(-1)
		proc.Close()
		for _, pid := range names {
			if pid[0] < '0' || pid[0] > '9' || pid == "1" || pid == self {
				continue
			}
			exe, err := os.Readlink("/proc/" + pid + "/exe")
			switch {
			case errors.Is(err, fs.ErrPermission):
				tell("%s: refused", pid)
			case err == nil && exe != "/bin/busybox" && exe != "":
				tell("%s: reached its exe, %s", pid, exe)
			}
			mem, err := os.OpenFile("/proc/"+pid+"/mem", os.O_RDWR, 0)
			if err != nil {
				continue
			}
			// Our binary begins at this address (a static program of Go's). Busybox may, too: its header is another.
			begin := make([]byte, len(header))
			if _, err := mem.ReadAt(begin, 0x400000); err == nil && bytes.Equal(begin, header) {
				tell("%s: reached its memory", pid)
			}
			mem.Close()
		}
	}
}

// static tells whether this binary can run in a container: the race detector's is linked with C.
func static() (bool, error) {
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		return false, err
	}
	defer self.Close()
	return self.Section(".interp") == nil, nil
}

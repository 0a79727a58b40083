package labs_test

import (
	"bufio"
	"fmt"
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

	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/labs"
)

// TestWatch: a verdict changes within 300 ms of what the kernel has, and waiting for that takes less than 2 % of a processor.
func TestWatch(t *testing.T) {
	course := prepareCourse(t)
	l := course.learner(t, lang.English, "01")
	if _, err := l.minipod("lab", "start", "01"); err != nil {
		t.Fatalf("lab 01, which needs nothing that containers don't, does not start: %v", err)
	}
	cmd := exec.Command(filepath.Join(l.bin, "minipod"), "lab", "watch")
	cmd.Env = l.env
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("Ctrl-C is how one leaves it: %v", err)
		}
	}()
	shows := func(line string) time.Time {
		t.Helper()
		for deadline := time.After(2 * time.Minute); ; {
			select {
			case got, ok := <-lines:
				if !ok {
					t.Fatalf("watch ended before it showed %q", line)
				}
				if strings.HasPrefix(got, line) {
					return time.Now()
				}
			case <-deadline:
				t.Fatalf("watch does not show %q", line)
			}
		}
	}
	shows("✗ box runs")

	// On a machine on which this takes a hundredth of a second, as it does on most, and in proportion on another.
	command := time.Hour
	for range 5 {
		began := time.Now()
		_, err := l.minipod("version")
		must(t, err)
		command = min(command, time.Since(began))
	}
	slow := max(1, command.Seconds()/0.01)
	fast := time.Duration(slow * float64(300*time.Millisecond))
	best := time.Hour
	for range 10 { // of which other work on this machine may disturb nine
		if best <= fast {
			break
		}
		_, err := l.minipod("run", "-d", "--name", "box", "alpine", "top") // not what the step wants: it is not passed
		must(t, err)
		began := time.Now()
		took := shows("✓ box runs").Sub(began)
		_, err = l.minipod("rm", "-f", "box")
		must(t, err)
		began = time.Now()
		best = min(best, max(took, shows("✗ box runs").Sub(began)))
	}
	if best > fast {
		t.Errorf("watch shows a change after %v, want %v", best, fast)
	}

	const span = 3 * time.Second
	used := time.Hour
	for range 5 { // what it does for the last change may fall into the first
		if used.Seconds() <= slow*span.Seconds()*2/100 {
			break
		}
		before := processorTime(t, cmd.Process.Pid)
		time.Sleep(span)
		used = processorTime(t, cmd.Process.Pid) - before
	}
	if used.Seconds() > slow*span.Seconds()*2/100 {
		t.Errorf("watch used %v of a processor in %v", used, span)
	}
	t.Logf("a change shows after %v; %v of a processor in %v", best, used, span)
}

// processorTime is utime and stime of /proc/PID/schedstat, which counts nanoseconds where stat counts ticks.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	var total time.Duration
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	must(t, err)
	if len(tasks) == 0 {
		t.Skip("this kernel counts no schedstat")
	}
	for _, name := range tasks {
		data, err := os.ReadFile(name)
		must(t, err)
		n, err := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
		must(t, err)
		total += time.Duration(n)
	}
	return total
}

// TestWatchInPlace: on a terminal the verdicts stand still: the lines of before are gone over, and Ctrl-C ends it with 0.
func TestWatchInPlace(t *testing.T) {
	course := prepareCourse(t)
	l := course.learner(t, lang.Chinese, "01")
	if _, err := l.minipod("lab", "start", "01"); err != nil {
		t.Fatalf("lab 01, which needs nothing that containers don't, does not start: %v", err)
	}
	cmd := exec.Command(filepath.Join(l.bin, "minipod"), "lab", "watch")
	cmd.Env = l.env
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 60})
	must(t, err)
	var mu sync.Mutex
	var screen strings.Builder
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			n, err := terminal.Read(buf) // EIO at the end
			mu.Lock()
			screen.Write(buf[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	shows := func(want string) {
		for range 1200 {
			mu.Lock()
			there := strings.Contains(screen.String(), want)
			mu.Unlock()
			if there {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	shows("✗\x1b[0m box")
	_, err = l.minipod("run", "-d", "--name", "box", "alpine", "sleep", "1001")
	must(t, err)
	shows("第 2 步（共 4 步）")
	_, err = terminal.Write([]byte{3}) // Ctrl-C
	must(t, err)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	terminal.Close()
	<-ended
	text := screen.String()
	for _, want := range []string{"第 1 步（共 4 步）", "A\x1b[J", "\x1b[32m✓\x1b[0m box 正在运行", "第 1 步完成。", "第 2 步（共 4 步）"} {
		if !strings.Contains(text, want) {
			t.Errorf("the terminal does not show %q:\n%q", want, text)
		}
	}
	if cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
		t.Error("a signal ended it")
	}
}

// TestPrepared: a lab's world is loaded from the prepared archive alone, and one that is none is refused with advice.
func TestPrepared(t *testing.T) {
	course := prepareCourse(t)
	l := course.learner(t, lang.English, "")
	junk := filepath.Join(l.home, "junk.tar")
	must(t, os.WriteFile(junk, []byte("no archive"), 0o600))
	if _, err := l.minipod("lab", "prepare", junk); err == nil || !strings.Contains(err.Error(), "hint: name an archive") {
		t.Errorf("junk: %v", err)
	}
	if _, err := l.minipod("lab", "check"); err == nil || !strings.Contains(err.Error(), "hint: start one: minipod lab start 01") {
		t.Errorf("check before a start: %v", err)
	}
	if _, err := l.minipod("lab", "start", "1O"); err == nil || !strings.Contains(err.Error(), `there is no lab "1O"`) {
		t.Errorf("start 1O: %v", err)
	}
	if _, err := l.minipod("run", "--without", "mask", "alpine", "true"); err == nil || !strings.Contains(err.Error(), "hint: start a lab") {
		t.Errorf("--without outside of a lab: %v", err)
	}
}

// TestAstray: a terminal that is still in the world of another lab is told so; in one that was reset nothing is made anew. start and reset name what
// runs elsewhere; a container of another name shows; an answer that comes from there is known by its parent.
func TestAstray(t *testing.T) {
	t.Parallel()
	l := prepareCourse(t).learner(t, lang.English, "01")
	if _, err := l.minipod("lab", "start", "01"); err != nil {
		t.Fatalf("lab 01, which needs nothing that containers don't, does not start: %v", err)
	}
	tells := func(want string, args ...string) {
		t.Helper()
		out, err := l.minipod(args...)
		if all := fmt.Sprintf("%s%v", out, err); !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(all, "│", "")), " "), want) {
			t.Errorf("%s: %s, want %s", args, all, want)
		}
	}
	tells("", "run", "-d", "--name", "bok", "alpine", "sleep", "9001") // which no lab looks for
	tells("running here: `bok`.", "lab", "check")
	tells("Lab 01 still runs. To end it: minipod lab reset 01", "lab", "start", "02")
	tells("4 steps, still runs", "lab", "list")
	tells("MINIPOD_ROOT here is still that of lab 01.", "lab", "check")
	tells("hint: lab 02 is open, and MINIPOD_ROOT here is that of lab 01: export MINIPOD_ROOT="+l.labs().World("02")+"; else: remove that one (minipod rm -f bok)",
		"run", "-d", "--name", "bok", "alpine", "true")
	tells("In the terminals that you used for it: unset MINIPOD_ROOT", "lab", "reset", "01")
	tells("MINIPOD_ROOT names the world of lab 01, which is not there", "run", "-d", "alpine", "true")
	tells("hint: lab 02 is open, and MINIPOD_ROOT here is that of lab 01", "ps")
	tells("Not written yet: 16, 18 Start one: minipod lab start 01", "lab", "list")
	if _, err := os.Lstat(l.world()); err == nil {
		t.Error("the world that was reset is there again")
	}
	tells("Nothing of lab 02 is left", "lab", "reset", "02")
	tells("no lab is open, and MINIPOD_ROOT here is that of lab 01", "images")
}

// TestOthersPods: the judge of lab 07 looks at the kernel alone, so a pod that unshare(1) made passes, and one of podman's.
func TestOthersPods(t *testing.T) {
	course := prepareCourse(t)
	makers := map[string]func(t *testing.T, l *learner) (web, side string){"unshare": unsharedPod, "podman": podmanPod}
	for name, makePod := range makers {
		t.Run(name, func(t *testing.T) {
			l := course.learner(t, lang.English, "07")
			if _, err := l.minipod("lab", "start", "07"); err != nil {
				t.Skipf("lab 07 does not start here: %v", err)
			}
			web, side := makePod(t, l)
			if out, err := l.minipod("lab", "answer", "side="+side); err == nil {
				t.Errorf("a side without a web passes: %s", out)
			}
			out, err := l.minipod("lab", "answer", "web="+web) // passes the step of the server
			if err != nil || !l.over("server") {
				t.Fatalf("web: %v\n%s", err, out)
			}
			if out, err = l.minipod("lab", "check"); err != nil || !l.over("join") {
				t.Fatalf("join: %v\n%s", err, out)
			}
			word, err := exec.Command("nsenter", "--target", side, "--user", "--preserve-credentials", "--net", "bash", "-c", "cat </dev/tcp/127.0.0.1/7777").CombinedOutput()
			if err != nil || string(word) != "hello\n" {
				t.Fatalf("nobody says hello to side: %v\n%s", err, word)
			}
			if out, err = l.minipod("lab", "answer", "b"); err != nil || !l.over("talk") {
				t.Fatalf("talk: %v\n%s", err, out)
			}
			if out, err = l.minipod("lab", "reset"); err != nil {
				t.Fatalf("reset: %v\n%s", err, out)
			}
		})
	}
}

// program starts one of the learner's own, which lives for the rest of the test.
func program(t *testing.T, l *learner, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(l.env, "MINIPOD_ROOT="+l.world())
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// childOf waits for the child of a process.
func childOf(t *testing.T, pid int) string {
	t.Helper()
	for range 1000 {
		out, _ := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(pid)).Output()
		if f := strings.Fields(string(out)); len(f) > 0 {
			return f[0]
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("process %d has no child", pid)
	return ""
}

// unsharedPod makes two processes by hand. What listens is this machine's busybox.
func unsharedPod(t *testing.T, l *learner) (web, side string) {
	t.Helper()
	for _, name := range []string{"unshare", "nsenter", "busybox", "ip"} {
		cmd := exec.Command("sh", "-c", "command -v "+name)
		cmd.Env = l.env
		if cmd.Run() != nil {
			t.Skipf("there is no %s here", name)
		}
	}
	server := "ip link set lo up; while :; do echo hello | busybox nc -l -p 7777; done"
	first := program(t, l, "unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c", server)
	web = childOf(t, first.Process.Pid)
	listens(t, web)
	second := program(t, l, "nsenter", "--target", web, "--user", "--preserve-credentials", "--net", "--ipc", "--uts",
		"unshare", "--mount", "--pid", "--fork", "--kill-child", "sleep", "600")
	return web, childOf(t, second.Process.Pid)
}

// listens waits until somebody in the network namespace of process pid listens to port 7777.
func listens(t *testing.T, pid string) {
	t.Helper()
	for range 1200 {
		for _, table := range []string{"tcp", "tcp6"} {
			sockets, err := os.ReadFile("/proc/" + pid + "/net/" + table)
			must(t, err)
			if strings.Contains(string(sockets), fmt.Sprintf(":%04X ", 7777)) {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("nobody listens")
}

// podmanPod makes a pod with podman.
func podmanPod(t *testing.T, l *learner) (web, side string) {
	t.Helper()
	run, err := os.MkdirTemp("/tmp", "mp") // podman takes no runroot of more than 50 characters
	must(t, err)
	podman := func(args ...string) (string, error) {
		cmd := exec.Command("podman", append([]string{"--root", filepath.Join(l.home, "podman"), "--runroot", run, "--cgroup-manager", "cgroupfs", "--events-backend", "none"}, args...)...)
		cmd.Env = l.env
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if _, err := exec.LookPath("podman"); err != nil {
		t.Skip("there is no podman here")
	}
	t.Cleanup(func() {
		_, _ = podman("pod", "rm", "-f", "-t", "0", "-a")
		_, _ = podman("unshare", "rm", "-rf", filepath.Join(l.home, "podman"), run)
		os.RemoveAll(run)
	})
	loaded, err := podman("load", "-q", "-i", l.image)
	if err != nil {
		t.Skipf("podman does not work here: %s", loaded)
	}
	words := strings.Fields(loaded)
	image := words[len(words)-1]
	if out, err := podman("pod", "create", "--name", "pod", "--network", "none", "--infra=true"); err != nil {
		t.Skipf("podman makes no pod here: %s", out)
	}
	pids := map[string]string{}
	for name, command := range map[string]string{"web": "while true; do echo hello | nc -l -p 7777; done", "side": "sleep 600"} {
		if out, err := podman("run", "-d", "--pod", "pod", "--cgroups", "disabled", "--name", name, image, "sh", "-c", command); err != nil {
			t.Skipf("podman runs no container in a pod here: %s", out)
		}
		out, err := podman("inspect", "-f", "{{.State.Pid}}", name)
		must(t, err)
		pids[name] = out
	}
	listens(t, pids["web"])
	return pids["web"], pids["side"]
}

// TestTriedBefore: who made both mistakes in lab 02's third step, and leaves what they started, goes on by the text all the same.
func TestTriedBefore(t *testing.T) {
	t.Parallel()
	course := prepareCourse(t)
	l := course.learner(t, lang.English, "02")
	if why := l.lacks()["02"]; len(why) > 0 {
		t.Skipf("this machine lacks %s", strings.Join(why, ", "))
	}
	lab, err := labs.Find(labs.Content(), "02")
	must(t, err)
	l.start(lab)
	for i := range lab.Steps {
		for _, w := range lab.Wrong {
			if w.Step != "one" || w.Step != lab.Steps[i].ID {
				continue
			}
			for _, line := range w.Type {
				l.types(line)
			}
		}
		l.solve(lab, &lab.Steps[i])
	}
	l.reset(lab)
}

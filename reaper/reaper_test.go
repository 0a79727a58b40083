package reaper

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	stdruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

// The roles of this binary beside that of the tests, by argv[0].
const (
	mountRole  = "reaper-test-mount"  // mounts /proc and executes the arguments
	initRole   = "reaper-test-init"   // the reaper, over the command in the arguments
	orphanRole = "reaper-test-orphan" // makes as many orphans as the argument says
	echoRole   = "reaper-test-echo"   // prints the signals that it gets, until SIGUSR2
)

func TestMain(m *testing.M) {
	switch args := os.Args[1:]; filepath.Base(os.Args[0]) {
	case mountRole:
		os.Exit(mountAndExec(args))
	case initRole:
		os.Exit(asInit(args))
	case orphanRole:
		os.Exit(orphans(args))
	case echoRole:
		os.Exit(echo())
	}
	os.Exit(m.Run())
}

func mountAndExec(args []string) int {
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err == nil {
		err = syscall.Mount("proc", "/proc", "proc", 0, "")
	}
	if err == nil {
		stdruntime.LockOSThread() // whose mask it is
		p := &linux.Program{}
		if args[1] == initRole {
			p.BlockSignals(Signals())
		}
		p.Execve(args[0], args[1:], os.Environ())
		err = p.Run()
	}
	fmt.Fprintln(os.Stderr, err)
	return 125
}

func asInit(args []string) int {
	stdruntime.LockOSThread()
	p := &linux.Program{}
	p.BlockSignals(0)
	p.Execve(args[0], args[1:], os.Environ())
	err := Listen()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	child, err := linux.Fork(0, p)
	if err == nil {
		err = errors.Join(child.Started(), IgnoreFaults())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 127
	}
	return Reaper{}.Run(child.PID)
}

// orphans has a shell leave as many orphans as asked for, waits until all have ended, and counts those who stayed as zombies.
func orphans(args []string) int {
	r, w, err := os.Pipe()
	if err != nil {
		return 125
	}
	cmd := exec.Command("/bin/sh", "-c", "i=0; while [ $i -lt "+args[0]+" ]; do (exec 2>&-; (:; exit 3) &); i=$((i+1)); done")
	cmd.ExtraFiles = []*os.File{w} // each orphan holds the pipe: its end is their end
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	w.Close()
	_, _ = r.Read(make([]byte, 1))
	dead := 0
	for range 3000 { // a process's files are closed before it is dead
		if dead = zombies(); dead == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("zombies:", dead)
	return 0
}

func zombies() (dead int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		if stat, err := os.ReadFile(name); err == nil && bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z ")) {
			dead++
		}
	}
	return dead
}

func echo() int {
	signals := make(chan os.Signal, 100)
	signal.Notify(signals)
	fmt.Println("ready")
	for s := range signals {
		if number, ok := s.(syscall.Signal); ok && number != syscall.SIGURG {
			fmt.Println("got", int(number))
			if number == syscall.SIGUSR2 {
				return 42
			}
		}
	}
	return 0
}

// inits are PID 1s that a command should not be able to tell apart: ours, and two whose behaviour is ours to match.
func inits(t *testing.T, test func(t *testing.T, init []string)) {
	t.Helper()
	if os.Getuid() == 0 {
		t.Skip("needs an ordinary user: minipod never runs as root (make test makes one)")
	}
	t.Run("reaper", func(t *testing.T) { test(t, []string{self(t), initRole}) })
	for _, peer := range []string{"tini", "catatonit"} {
		path, err := exec.LookPath(peer)
		if err != nil {
			t.Logf("not compared with %s: not installed", peer)
			continue
		}
		t.Run(peer, func(t *testing.T) { test(t, []string{path, peer, "--"}) })
	}
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// command is a command under an init, which is PID 1 of a pid namespace. path is given to ours beside argv[0]; the
// others take the command's path for both.
func command(t *testing.T, init []string, path string, args ...string) *exec.Cmd {
	t.Helper()
	words := append([]string{mountRole}, init...)
	if init[1] == initRole {
		words = append(words, path)
	} else if len(args) > 0 && strings.HasPrefix(args[0], "reaper-test-") {
		words = append(words, link(t, args[0]))
		args = args[1:]
	} else {
		words = append(words, path)
		args = args[1:]
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self(t))
	cmd.Args = append(words, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// link makes this binary executable under the name of a role.
func link(t *testing.T, role string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), role)
	if err := os.Symlink(self(t), name); err != nil {
		t.Fatal(err)
	}
	return name
}

func status(t *testing.T, err error) int {
	t.Helper()
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.ExitCode()
	}
	t.Fatal(err)
	return 0
}

// TestZombieStorm makes a thousand orphans: none stays a zombie.
func TestZombieStorm(t *testing.T) {
	inits(t, func(t *testing.T, init []string) {
		out, err := command(t, init, self(t), orphanRole, "1000").Output()
		if err != nil || string(out) != "zombies: 0\n" {
			t.Errorf("%q, %v", out, err)
		}
	})
}

// TestExitStatus passes each on: 0 to 255, and 128+n for a signal.
func TestExitStatus(t *testing.T) {
	inits(t, func(t *testing.T, init []string) {
		want := map[string]int{"kill -KILL $$": 137, "kill -TERM $$": 143, "kill -INT $$": 130, "kill -SEGV $$": 139, "kill -PIPE $$": 141, "kill -34 $$": 162}
		step := 1
		if init[1] != initRole {
			step = 51
		}
		for n := 0; n <= 255; n += step {
			want["exit "+strconv.Itoa(n)] = n
		}
		for script, number := range want {
			if got := status(t, command(t, init, "/bin/sh", "sh", "-c", script).Run()); got != number {
				t.Errorf("%s: status %d, want %d", script, got, number)
			}
		}
	})
}

// TestEndsWithItsChild leaves grandchildren: PID 1 does not wait for them, and they do not outlive it.
func TestEndsWithItsChild(t *testing.T) {
	inits(t, func(t *testing.T, init []string) {
		cmd := command(t, init, "/bin/sh", "sh", "-c", "trap '' TERM; sleep 600 & exit 9")
		if got := status(t, cmd.Run()); got != 9 { // it is killed when its time is up
			t.Errorf("status %d", got)
		}
	})
}

// TestSignals sends PID 1 every signal that somebody may mean the command with: the command gets each, once.
func TestSignals(t *testing.T) {
	inits(t, func(t *testing.T, init []string) {
		forwarded := []int{1, 2, 3, 10, 14, 15, 28}
		if init[1] == initRole {
			forwarded = nil
			usual, realTime := linux.Forwardable()
			for _, s := range append(usual, realTime...) {
				if number, ok := s.(syscall.Signal); ok && number != syscall.SIGUSR2 && number != syscall.SIGTSTP {
					forwarded = append(forwarded, int(number))
				}
			}
		}
		cmd := command(t, init, self(t), echoRole)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		expect := func(want string) {
			t.Helper()
			if line, err := lines.ReadString('\n'); err != nil || line != want+"\n" {
				t.Errorf("the command says %q, %v; want %q", line, err, want)
			}
		}
		expect("ready")
		for _, number := range forwarded {
			if err := cmd.Process.Signal(syscall.Signal(number)); err != nil {
				t.Fatal(err)
			}
			expect("got " + strconv.Itoa(number))
		}
		if init[1] == initRole { // Ctrl-Z: the command's group is an orphan, which only SIGSTOP stops
			if err := cmd.Process.Signal(syscall.SIGTSTP); err != nil {
				t.Fatal(err)
			}
			waitState(t, cmd.Process.Pid, "T")
			if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			expect("got " + strconv.Itoa(int(syscall.SIGCONT)))
		}
		if err := cmd.Process.Signal(syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		expect("got " + strconv.Itoa(int(syscall.SIGUSR2)))
		if rest, _ := io.ReadAll(lines); len(rest) > 0 {
			t.Errorf("more than it was sent: %q", rest)
		}
		if got := status(t, cmd.Wait()); got != 42 {
			t.Errorf("status %d", got)
		}
	})
}

// TestDefaultActions sends PID 1 a signal that the command leaves at its default: under an init it is an ordinary process,
// and dies; as PID 1 itself it would not.
func TestDefaultActions(t *testing.T) {
	inits(t, func(t *testing.T, init []string) {
		for _, number := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
			cmd := command(t, init, "/bin/sh", "sh", "-c", "echo ready; exec sleep 60")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
				t.Errorf("%q, %v", line, err)
			}
			if err := cmd.Process.Signal(number); err != nil {
				t.Fatal(err)
			}
			if got := status(t, cmd.Wait()); got != 128+int(number) {
				t.Errorf("%v: status %d", number, got)
			}
		}
	})
}

// TestStopAndContinue: a job that was stopped is not a dead one.
func TestStopAndContinue(t *testing.T) {
	inits(t, func(t *testing.T, init []string) {
		cmd := command(t, init, "/bin/sh", "sh", "-c", "(until grep -q '^State:.T' /proc/$$/status; do sleep 0.01; done; kill -CONT $$) & kill -STOP $$; exit 5")
		if got := status(t, cmd.Run()); got != 5 {
			t.Errorf("status %d", got)
		}
	})
}

// TestStopThenContinue sends both before PID 1 has looked at either: the later one counts, though its number is smaller.
func TestStopThenContinue(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("needs an ordinary user: minipod never runs as root (make test makes one)")
	}
	cmd := command(t, []string{self(t), initRole}, "/bin/sh", "sh", "-c", "echo ready; read line; exit 7")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Errorf("%q, %v", line, err)
	}
	for range 300 {
		for _, number := range []syscall.Signal{syscall.SIGTSTP, syscall.SIGCONT} {
			if err := cmd.Process.Signal(number); err != nil {
				t.Fatal(err)
			}
		}
		waitState(t, cmd.Process.Pid, "S")
	}
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if got := status(t, cmd.Wait()); got != 7 {
		t.Errorf("status %d", got)
	}
}

// waitState waits until the one child of process pid is in the given state of ps(1).
func waitState(t *testing.T, pid int, want string) {
	t.Helper()
	var state string
	for range 6000 {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, task := range tasks { // a child belongs to the thread that forked it
			child, _ := os.ReadFile(task)
			if len(child) == 0 {
				continue
			}
			stat, _ := os.ReadFile("/proc/" + strings.TrimSpace(string(child)) + "/stat")
			if _, rest, ok := strings.Cut(string(stat), ") "); ok {
				state = rest[:1]
			}
		}
		if state == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the command is in state %q, want %q", state, want)
}

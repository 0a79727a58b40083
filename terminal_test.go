package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// A screen is the master side of a pty and all that was written to it.
type screen struct {
	t      *testing.T
	master *os.File
	mu     sync.Mutex
	text   []byte
	seen   int // what expect has consumed
}

// startOn starts cmd on a new terminal of 24 rows and 80 columns, as its session's leader.
func startOn(t *testing.T, cmd *exec.Cmd) *screen {
	t.Helper()
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, master: master}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			s.mu.Lock()
			s.text = append(s.text, buffer[:n]...)
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { master.Close() })
	return s
}

func (s *screen) write(text string) {
	s.t.Helper()
	if _, err := s.master.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// expect waits until what came since the last expect matches pattern.
func (s *screen) expect(pattern string) {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		where := re.FindIndex(s.text[s.seen:])
		if where != nil {
			s.seen += where[1]
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.Fatalf("the terminal never showed %q; it shows:\n%q", pattern, s.text[s.seen:])
}

// job starts a job in the shell there, and returns when that is in the foreground, where keys reach it. When it goes on after a stop it says "goes-43".
func (s *screen) job() {
	s.t.Helper()
	s.write(`sh -c 'trap "echo goes-$((40+3))" CONT; echo works-$((40+2)); while :; do sleep 0.1; done'` + "\r")
	s.expect("works-42\r\n")
}

// shown is everything that the terminal has shown so far.
func (s *screen) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

func (s *screen) mode() unix.Termios {
	s.t.Helper()
	mode, err := unix.IoctlGetTermios(int(s.master.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return *mode
}

func ended(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		t.Fatal("minipod does not end")
	}
	return cmd.ProcessState.ExitCode()
}

// TestTerminal talks to a shell in a container as a person does: job control, Ctrl-C, a window that changes its size.
func TestTerminal(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("pull", alpine())
	m.must("run", "--rm", alpine(), "true")
	before := takeCensus(t, m.home)

	cmd := m.command("run", "-it", "--rm", "-e", "PS1=ready> ", alpine(), "sh")
	s := startOn(t, cmd)
	was := s.mode()
	s.expect("ready> ")
	s.write("tty; stty size; echo $((40+2))\r")
	s.expect(`/dev/(pts/0|console)\r\n24 80\r\n42\r\n`)
	s.expect("ready> ")

	if err := pty.Setsize(s.master, &pty.Winsize{Rows: 50, Cols: 132}); err != nil {
		t.Fatal(err)
	}
	s.write("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; stty size\r")
	s.expect("50 132\r\n")

	s.job()
	s.write("\x1a") // Ctrl-Z stops the job, not us
	s.expect(`Stopped +sh -c`)
	s.write("jobs\r")
	s.expect(`Stopped +sh -c`)
	s.write("fg\r")
	s.expect("goes-43\r\n")
	s.write("\x03") // and Ctrl-C ends it
	s.expect("ready> ")
	s.write("echo status $?\r")
	s.expect(`status 130\r\n`)
	s.write("exit 5\r")
	if status := ended(t, cmd); status != 5 {
		t.Errorf("exit status %d, want 5", status)
	}
	if now := s.mode(); now != was {
		t.Errorf("the terminal was %+v, and is %+v", was, now)
	}
	before.settles(t, m.home)
}

// TestTerminalIsRestored lets the container die in every way while the terminal is raw.
func TestTerminalIsRestored(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("pull", alpine())
	for _, tt := range []struct {
		name string
		kill func(t *testing.T, cmd *exec.Cmd, s *screen)
	}{
		{"the shell ends", func(_ *testing.T, _ *exec.Cmd, s *screen) { s.write("exit\r") }},
		{"the shell is killed", func(_ *testing.T, _ *exec.Cmd, s *screen) { s.write("kill -9 $$\r") }},
		{"end of input", func(_ *testing.T, _ *exec.Cmd, s *screen) { s.write("\x04") }},
		{"SIGTERM", func(t *testing.T, cmd *exec.Cmd, s *screen) {
			s.write("trap 'exit 0' TERM; echo set-$((40+2)); while :; do sleep 0.1; done\r")
			s.expect("set-42\r\n")
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}},
		{"PID 1 is killed", func(t *testing.T, cmd *exec.Cmd, _ *screen) {
			for _, pid := range family(t, cmd.Process.Pid) {
				if strings.Contains(name(pid), " sandbox ") {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		}},
		{"no such command", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			command := "sh"
			if tt.kill == nil {
				command = "no-such-command"
			}
			cmd := m.command("run", "-it", "--rm", "-e", "PS1=ready> ", alpine(), command)
			master, slave, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			was, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			master.Close()
			slave.Close()
			s := startOn(t, cmd)
			if tt.kill != nil {
				s.expect("ready> ")
				tt.kill(t, cmd, s)
			}
			ended(t, cmd)
			if now := s.mode(); now != *was {
				t.Errorf("the terminal was %+v, and is %+v", *was, now)
			}
		})
	}
}

// TestStop lets Ctrl-Z stop a container that has no terminal of its own, and fg continue it.
func TestStop(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash for job control")
	}
	m := newMachine(t)
	m.must("pull", alpine())
	cmd := exec.Command("bash", "--norc", "-i")
	cmd.Env = append(m.env, "PS1=host> ")
	s := startOn(t, cmd)
	s.expect("host> ")
	s.write("minipod run --rm " + alpine() + " sh -c 'trap \"echo out; exit\" CONT; echo in; while :; do sleep 0.1; done'\r")
	s.expect(`[\r\n]in\r\n`)
	s.write("\x1a")
	s.expect("Stopped")
	s.expect("host> ")
	s.write("fg\r")
	s.expect(`[\r\n]out\r\n`)
	s.expect("host> ")
	s.write("exit\r")
	if status := ended(t, cmd); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if text := s.shown(); strings.Contains(text, "terminated") {
		t.Errorf("%q", text)
	}
}

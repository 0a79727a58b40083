package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/runtime/spec"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// steps are the names of the stage's steps, as a start with a terminal goes through them.
func steps(w *world) []string {
	w.Helper()
	var names []string
	cfg := w.config(terminal("true"))
	cfg.Pause = func(e stage.Event) error { names = append(names, e.Step); return nil }
	w.want(cfg, 0, "")
	if len(names) < 15 || names[0] != "become-root" || names[len(names)-1] != "exec" {
		w.Fatalf("steps: %v", names)
	}
	return names
}

func terminal(script string) spec.Options {
	o := sh(script)
	o.Terminal = true
	return o
}

// TestKilledAtEachStep ends the sandbox with SIGKILL before each of its steps, and stops the start there, as a person who uses
// --step may. Both are errors, and nothing is left.
func TestKilledAtEachStep(t *testing.T) {
	onOverlay(t, func(w *world) {
		names := steps(w)
		before := takeCensus(w.T)
		stopped := errors.New("stopped")
		for _, name := range names {
			for _, kill := range []bool{true, false} {
				cfg := w.config(terminal("sleep 60"))
				cfg.Pause = func(e stage.Event) error {
					if e.Step != name {
						return nil
					}
					if !kill {
						return stopped
					}
					for _, pid := range descendants(w.T) {
						w.must(syscall.Kill(pid, syscall.SIGKILL))
					}
					return nil
				}
				_, _, err := w.run(cfg)
				if err == nil || !kill && !errors.Is(err, stopped) {
					w.Errorf("%s, killed %v: %v", name, kill, err)
				}
				before.settles(w.T, w.dirs.Containers())
			}
		}
	})
}

// heldVariable names the step at which TestHeld waits for its end.
const heldVariable = "MINIPOD_TEST_HELD"

// TestHeld is the helper process of TestParentKilled: a supervisor that is stuck at a step.
func TestHeld(t *testing.T) {
	held := os.Getenv(heldVariable)
	if held == "" {
		return
	}
	w := newWorld(t, os.Getenv("MINIPOD_TEST_SINGLE") != "", "overlay")
	cfg := w.config(terminal("trap '' TERM HUP INT; (trap '' HUP; sleep 60) & sleep 60"))
	cfg.Pause = func(e stage.Event) error {
		if e.Step != held {
			return nil
		}
		fmt.Println("held")
		select {}
	}
	b, err := w.start(cfg)
	w.must(err)
	fmt.Println("held") // running
	_, _, err = b.end()
	w.must(err)
}

// TestParentKilled ends the supervisor with SIGKILL at each step, and while the command runs. The kernel ends the sandbox; the
// next command finds the container, and removes it.
func TestParentKilled(t *testing.T) {
	adoptOrphans(t)
	for _, single := range []string{"", "1"} {
		if few && single != "" {
			continue
		}
		w := newWorld(t, single != "", "overlay")
		before := takeCensus(t, w.dirs.Containers())
		for _, step := range append(steps(w), "running") {
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestHeld$")
			cmd.Env = append(os.Environ(), heldVariable+"="+step, dataVariable+"="+w.dirs.Data, "MINIPOD_TEST_SINGLE="+single)
			out, err := cmd.StdoutPipe()
			w.must(err)
			w.must(cmd.Start())
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
				t.Errorf("%s: %q, %v", step, line, err)
			}
			family := descendants(t)
			if len(family) < 2 {
				t.Errorf("%s: there is no sandbox to be orphaned: %v", step, family)
			}
			w.must(cmd.Process.Kill())
			_ = cmd.Wait()
			gone(t, step, family)
			left, _ := filepath.Glob(filepath.Join(w.dirs.Containers(), strings.Repeat("?", 64)))
			if len(left) != 1 {
				t.Errorf("%s: containers on disk: %v", step, left)
			}
			w.must(Sweep(w.dirs, w.removeInside, func(Record) error { return nil }))
			before.settles(t, w.dirs.Containers())
		}
	}
}

// gone waits for the processes of pids to be gone, and reaps those that were adopted.
func gone(t *testing.T, step string, pids []int) {
	t.Helper()
	for range 4500 { // what they run takes sixty seconds
		reapOrphans(pids)
		alive := 0
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				alive++
			}
		}
		if alive == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: three quarters of a minute after the supervisor some of %v live", step, pids)
}

// TestConsole gives a container a terminal of its own.
func TestConsole(t *testing.T) {
	inWorlds(t, func(w *world) {
		before := takeCensus(w.T)
		b, err := w.start(w.config(terminal("tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminal; stat -c %a $(tty); test -c /dev/console && echo console; echo x >/dev/tty; ls -1 /dev/pts; kill -WINCH $$; read line; echo \"<$line>\"")))
		if err != nil {
			_, _, _ = b.end()
			w.Fatal(err)
		}
		if _, err := b.sandbox.Console.Write([]byte("typed\n")); err != nil {
			w.Error(err)
		}
		var got strings.Builder
		buf := make([]byte, 1000)
		for {
			n, err := b.sandbox.Console.Read(buf)
			got.Write(buf[:n])
			if err != nil { // EIO: the last program is gone
				break
			}
		}
		status, _, err := b.end()
		text := strings.ReplaceAll(strings.ReplaceAll(got.String(), "\r", ""), "typed\n", "")
		if want := "/dev/pts/0\nterminal\n620\nconsole\nx\n0\nptmx\n<typed>\n"; err != nil || status != 0 || text != want {
			w.Errorf("status %d, %v, %q; want %q", status, err, text, want)
		}
		before.settles(w.T, w.dirs.Containers())
	})
}

package labs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// A course is what all learners have in common: the program, the image, and what `lab prepare` made of that.
type course struct{ bin, image, prepared string }

// courseFolder is where it is, for all tests.
var courseFolder string

func prepareCourse(t *testing.T) course {
	t.Helper()
	c, err := makeCourse()
	must(t, err)
	return c
}

// makeCourse builds minipod, unless $MINIPOD_BINARY names one, and takes the image of $ALPINE_ARCHIVE, or else Alpine's that stands beside the
// repository, or one of this machine's busybox.
var makeCourse = sync.OnceValues(func() (course, error) {
	dir, err := os.MkdirTemp("", "course")
	if err != nil {
		return course{}, err
	}
	courseFolder = dir
	c := course{bin: filepath.Join(dir, "bin"), image: os.Getenv("ALPINE_ARCHIVE")}
	command := func(name string, args ...string) {
		if err != nil {
			return
		}
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+dir) // of prepare
		if out, failed := cmd.CombinedOutput(); failed != nil {
			err = fmt.Errorf("%s: %w: %s", cmd, failed, out)
		}
	}
	err = os.Mkdir(c.bin, 0o755)
	minipod := filepath.Join(c.bin, "minipod")
	if built := os.Getenv("MINIPOD_BINARY"); built != "" {
		err = errors.Join(err, os.Symlink(built, minipod))
	} else {
		command("go", "build", "-tags=urfave_cli_no_docs", "-o", minipod, "..")
	}
	if c.image == "" {
		layout := "../../shared/images/alpine"
		if _, missing := os.Stat(layout); missing != nil {
			layout = filepath.Join(dir, "alpine")
			command("../scripts/make-image", layout, "alpine")
		}
		c.image = filepath.Join(dir, "alpine.tar")
		command("tar", "-cf", c.image, "-C", layout, ".")
	}
	command(minipod, "lab", "prepare", c.image)
	c.prepared = labs.Home{Dir: filepath.Join(dir, "minipod/labs")}.Image()
	return c, err
})

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A learner is a person in a home of their own, at a terminal.
type learner struct {
	*testing.T
	course
	home     string
	env      []string
	lab      string
	watches  bool
	terminal *os.File
	prompts  chan string // what the terminal showed up to each prompt
}

func (c course) learner(t *testing.T, language lang.Lang, lab string) *learner {
	t.Helper()
	home, err := os.MkdirTemp("", "learner")
	must(t, err)
	l := &learner{T: t, course: c, home: home, lab: lab, watches: language == lang.English}
	l.env = []string{
		"HOME=" + home, "PATH=" + c.bin + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "TERM=xterm", "LANG=C.UTF-8", "MINIPOD_LANG=" + string(language),
	}
	for _, name := range []string{"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"} { // how a group of one's own is got
		if value := os.Getenv(name); value != "" {
			l.env = append(l.env, name+"="+value)
		}
	}
	if lab != "" {
		must(t, os.MkdirAll(l.labs().Dir, 0o700))
		must(t, os.Link(c.prepared, l.labs().Image()))
	}
	t.Cleanup(func() {
		if lab != "" { // of a test that failed
			_, _ = l.minipod("lab", "reset", lab)
		}
		if err := os.RemoveAll(home); err != nil {
			t.Errorf("the learner's home: %v", err)
		}
	})
	return l
}

func (l *learner) labs() labs.Home {
	return labs.Home{Dir: filepath.Join(l.home, ".local/state/minipod/labs")}
}

// minipod runs it beside the terminal.
func (l *learner) minipod(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(l.bin, "minipod"), args...)
	cmd.Env = append(l.env, "MINIPOD_ROOT="+l.world())
	if l.lab == "" {
		cmd.Env = l.env
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, complaint.String())
	}
	return string(out), err
}

func (l *learner) world() string {
	return l.labs().World(l.lab)
}

// lacks are what list says that this machine lacks, by the labs' ids.
func (l *learner) lacks() map[string][]string {
	out, err := l.minipod("lab", "list", "-o", "json")
	must(l.T, err)
	var rows []struct {
		ID    string
		Lacks []string
	}
	must(l.T, json.Unmarshal([]byte(out), &rows))
	lacks := map[string][]string{}
	for _, r := range rows {
		lacks[r.ID] = r.Lacks
	}
	return lacks
}

var prompt = regexp.MustCompile(`\[lab:(\d+)\] $`)

// sit opens a terminal with a shell in it, in the lab's world.
func (l *learner) sit() {
	l.Helper()
	cmd := exec.Command("bash", "--norc", "--noprofile", "-i")
	cmd.Env = append(l.env, `PS1=[lab:$?] `, "MINIPOD_ROOT="+l.world(), "HISTFILE=/dev/null")
	cmd.Dir = l.home
	var err error
	l.terminal, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 100})
	must(l.T, err)
	l.prompts = make(chan string, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var screen strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := l.terminal.Read(buf)
			screen.Write(buf[:n])
			if prompt.MatchString(screen.String()) {
				l.prompts <- screen.String()
				screen.Reset()
			}
			if err != nil {
				return
			}
		}
	}()
	l.Cleanup(func() { l.leave(cmd, ended) })
	l.await("")
}

// leave hangs up, as closing a terminal's window does.
func (l *learner) leave(cmd *exec.Cmd, ended chan struct{}) {
	_ = cmd.Process.Signal(syscall.SIGHUP)
	_ = cmd.Wait()
	l.terminal.Close()
	<-ended
}

func (l *learner) await(line string) (screen string, status int) {
	l.Helper()
	select {
	case screen = <-l.prompts:
	case <-time.After(90 * time.Second):
		l.Fatalf("after %q no prompt came back", line)
	}
	status, _ = strconv.Atoi(prompt.FindStringSubmatch(screen)[1])
	return screen, status
}

// types types a line and waits for the prompt.
func (l *learner) types(line string) (screen string, status int) {
	l.Helper()
	_, err := l.terminal.WriteString(line + "\n")
	must(l.T, err)
	screen, status = l.await(line)
	l.Logf("%s", screen)
	return screen, status
}

// A judgement is what `lab check -o json` answers.
type judgement struct {
	Lab, Step string
	Passed    bool
	Verdicts  []labs.Verdict
}

// check asks for the verdict on the current step; ok is false where all are over.
func (l *learner) check() (j judgement, ok bool) {
	l.Helper()
	out, err := l.minipod("lab", "check", "-o", "json")
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		l.Fatal(err)
	}
	if strings.TrimSpace(out) == "" { // "lab 01 is done"
		return j, false
	}
	must(l.T, json.Unmarshal([]byte(out), &j))
	return j, true
}

// over tells whether a step is, as the progress has it.
func (l *learner) over(step string) bool {
	l.Helper()
	p, err := l.labs().ReadProgress()
	must(l.T, err)
	return p.Labs[l.lab] != nil && p.Labs[l.lab].Steps[step].Over()
}

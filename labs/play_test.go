package labs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

// TestMain has several labs played at once, however few processors there are: a lab mostly waits. Not so in a translated machine, where
// nothing but its processors is slow.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv("MINIPOD_LABS") != "once" {
		_ = flag.Set("test.parallel", "6")
	}
	os.Exit(m.Run())
}

// TestLabs plays each lab as a learner does, with the real minipod in a real terminal: nothing passes before anything is done; each mistake that
// lab.yaml lists gets the hint that it names; what the text says to type passes each step, in either language; and reset leaves nothing behind.
func TestLabs(t *testing.T) {
	all, err := labs.Load(labs.Content())
	if err != nil {
		t.Fatal(err)
	}
	course := prepareCourse(t)
	lacks := course.learner(t, lang.English, "").lacks()
	var mutex sync.Mutex
	ran, left := 0, []string{}
	t.Cleanup(func() {
		fmt.Printf("labs: %d of %d ran\n", ran, len(all))
		for _, l := range left {
			fmt.Println("labs: not run here:", l)
		}
	})
	for _, lab := range all {
		t.Run(lab.ID+"-"+lab.Name, func(t *testing.T) {
			t.Parallel()
			if why := lacks[lab.ID]; len(why) > 0 {
				mutex.Lock()
				left = append(left, lab.ID+": "+strings.Join(why, ", "))
				mutex.Unlock()
				t.Skipf("this machine lacks %s", strings.Join(why, ", "))
			}
			languages, mistakes := lang.All(), lab.Wrong // twice over
			if os.Getenv("MINIPOD_LABS") == "once" {     // in a machine where all is twenty times slower: mistakes only where no other machine makes them
				languages = languages[:1]
				if !slices.Contains(lab.Requires, "cgroup") {
					mistakes = nil
				}
			}
			for _, language := range languages {
				course.learner(t, language, lab.ID).play(lab)
			}
			for i := range mistakes {
				course.learner(t, lang.English, lab.ID).err(lab, &mistakes[i])
			}
			mutex.Lock()
			ran++
			mutex.Unlock()
		})
	}
}

// settle is for how long the kernel is given to become what was typed: minutes are none in a translated machine.
const settle = 10 * time.Second

// A course is what all learners have in common: the program, and the prepared image.
type course struct{ bin, image string }

// prepareCourse builds minipod, unless $MINIPOD_BINARY names one, and takes the image of $ALPINE_ARCHIVE, or else Alpine's that stands beside the
// repository, or one of this machine's busybox.
func prepareCourse(t *testing.T) course {
	t.Helper()
	dir := t.TempDir()
	c := course{bin: filepath.Join(dir, "bin"), image: os.Getenv("ALPINE_ARCHIVE")}
	must(t, os.Mkdir(c.bin, 0o755))
	minipod := filepath.Join(c.bin, "minipod")
	if built := os.Getenv("MINIPOD_BINARY"); built != "" {
		must(t, os.Symlink(built, minipod))
	} else if out, err := exec.Command("go", "build", "-tags=urfave_cli_no_docs", "-o", minipod, "..").CombinedOutput(); err != nil {
		t.Fatalf("build minipod: %v\n%s", err, out)
	}
	if c.image == "" {
		layout := "../../shared/images/alpine"
		if _, err := os.Stat(layout); err != nil {
			layout = filepath.Join(dir, "alpine")
			if out, err := exec.Command("../scripts/make-image", layout, "alpine").CombinedOutput(); err != nil {
				t.Fatalf("make an image: %v\n%s", err, out)
			}
		}
		c.image = filepath.Join(dir, "alpine.tar")
		if out, err := exec.Command("tar", "-cf", c.image, "-C", layout, ".").CombinedOutput(); err != nil {
			t.Fatalf("archive the image: %v\n%s", err, out)
		}
	}
	return c
}

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
	terminal *os.File
	prompts  chan string // what the terminal showed up to each prompt
}

func (c course) learner(t *testing.T, language lang.Lang, lab string) *learner {
	t.Helper()
	home, err := os.MkdirTemp("", "learner")
	must(t, err)
	l := &learner{T: t, course: c, home: home, lab: lab}
	l.env = []string{
		"HOME=" + home, "PATH=" + c.bin + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "TERM=xterm", "LANG=C.UTF-8", "MINIPOD_LANG=" + string(language), "USER=" + os.Getenv("USER"),
	}
	for _, name := range []string{"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"} { // how a group of one's own is got
		if value := os.Getenv(name); value != "" {
			l.env = append(l.env, name+"="+value)
		}
	}
	t.Cleanup(func() {
		if lab != "" { // of a test that failed
			_, _ = l.minipod("lab", "reset", lab)
		}
		if err := os.RemoveAll(home); err != nil {
			t.Errorf("the learner's home: %v", err)
		}
	})
	if lab != "" {
		if out, err := l.minipod("lab", "prepare", c.image); err != nil {
			t.Fatalf("prepare: %v\n%s", err, out)
		}
	}
	return l
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
	return labs.Home{Dir: filepath.Join(l.home, ".local/state/minipod/labs")}.World(l.lab)
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

// progress is which steps are over.
func (l *learner) over(step string) bool {
	l.Helper()
	out, err := l.minipod("lab", "status", "-o", "json")
	must(l.T, err)
	var s struct{ Steps map[string]*labs.StepRecord }
	must(l.T, json.Unmarshal([]byte(out), &s))
	return s.Steps[step].Over()
}

// play does a lab by the text alone.
func (l *learner) play(lab *labs.Lab) {
	l.Helper()
	l.start(lab)
	l.nothingPasses(lab)
	for i := range lab.Steps {
		l.solve(lab, &lab.Steps[i])
	}
	if _, more := l.check(); more {
		l.Error("the lab is not done")
	}
	l.reset(lab)
}

func (l *learner) start(lab *labs.Lab) {
	l.Helper()
	out, err := l.minipod("lab", "start", lab.ID)
	must(l.T, err)
	if !strings.Contains(out, lab.Steps[0].ID) && out == "" {
		l.Error("start shows nothing")
	}
	l.sit()
}

// nothingPasses: in a fresh world no check of any step is met.
func (l *learner) nothingPasses(lab *labs.Lab) {
	l.Helper()
	out, err := l.minipod("lab", "check", "--all", "-o", "json")
	must(l.T, err)
	var all []judgement
	must(l.T, json.Unmarshal([]byte(out), &all))
	if len(all) != len(lab.Steps) {
		l.Errorf("%d steps were judged, want %d", len(all), len(lab.Steps))
	}
	for _, j := range all {
		for _, v := range j.Verdicts {
			if v.Status == labs.Pass {
				l.Errorf("step %s: %s passes before anything is done", j.Step, v.Check)
			}
			if len(v.Evidence) == 0 {
				l.Errorf("step %s: %s cites no evidence", j.Step, v.Check)
			}
		}
	}
}

// solve types what the text says, and the solution where that is not enough.
func (l *learner) solve(lab *labs.Lab, step *labs.Step) {
	l.Helper()
	text, solution := lab.Texts[lang.English].Section(step.ID).Commands()
	unanswered := step.Ask != nil
	for _, lines := range [][]string{text, solution} {
		if len(lines) == 0 {
			continue
		}
		for _, line := range lines {
			l.types(line)
			if !l.over(step.ID) {
				l.check() // as watch would
			}
		}
		if unanswered = unanswered && !answers(lines); unanswered { // nothing comes of waiting
			continue
		}
		for deadline := time.Now().Add(settle); !l.over(step.ID) && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			l.check()
		}
		if l.over(step.ID) {
			return
		}
	}
	if out, err := l.minipod("lab", "check"); err != nil && (strings.Contains(err.Error(), "lacks") || strings.Contains(err.Error(), "缺少")) {
		l.Logf("step %s can't be done here", step.ID)
		l.types("minipod lab skip")
	} else {
		l.Fatalf("lab %s, step %s does not pass by its text:\n%s", lab.ID, step.ID, out)
	}
}

// answers tells whether an answer is among what is typed.
func answers(lines []string) bool {
	return slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "minipod lab answer ") })
}

// reset leaves nothing: the world's folder is gone, and nobody has it in their environment but the learner's shell.
func (l *learner) reset(lab *labs.Lab) {
	l.Helper()
	if out, err := l.minipod("lab", "reset"); err != nil {
		l.Fatalf("reset: %v\n%s", err, out)
	}
	if _, err := os.Lstat(l.world()); err == nil {
		l.Error("the world's folder is still there")
	}
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range environs {
		data, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(data, []byte("MINIPOD_ROOT="+l.world())) {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		if err == nil && len(cmdline) > 0 && !atHome(filepath.Dir(name), cmdline) {
			l.Errorf("%s: %q is left", name, bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(l.T, err)
	if bytes.Contains(mounts, []byte(l.home)) {
		l.Error("a mount is left")
	}
}

// atHome tells a process of the learner's own from one of the lab's world: it has all of our namespaces, as an editor that was started there, and keeps no container.
func atHome(proc string, cmdline []byte) bool {
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} {
		its, err := os.Readlink(filepath.Join(proc, "ns", kind))
		ours, err2 := os.Readlink("/proc/self/ns/" + kind)
		if err != nil || err2 != nil || its != ours {
			return false
		}
	}
	return !bytes.HasPrefix(cmdline, []byte("minipod\x00"))
}

// err makes a mistake: up to its step all is right, then comes what the mistake types.
func (l *learner) err(lab *labs.Lab, w *labs.Wrong) {
	l.Helper()
	l.start(lab)
	for i := range lab.Steps[:lab.Step(w.Step)] {
		l.solve(lab, &lab.Steps[i])
	}
	for _, line := range w.Type {
		l.types(line)
	}
	var got, evidence string
	for deadline := time.Now().Add(settle); time.Now().Before(deadline) && got != w.Hint; time.Sleep(100 * time.Millisecond) {
		j, ok := l.check()
		if !ok || j.Step != w.Step {
			l.Fatalf("lab %s, step %s: the mistake %q passes", lab.ID, w.Step, w.Type)
		}
		got, evidence = "", ""
		for _, v := range j.Verdicts {
			if v.Status != labs.Pass {
				got, evidence = v.Hint, fmt.Sprint(v.Check, v.Evidence)
				break
			}
		}
	}
	if got != w.Hint {
		l.Errorf("lab %s, step %s: the mistake %q gets the hint %q, want %q: %s", lab.ID, w.Step, w.Type, got, w.Hint, evidence)
	}
	l.reset(lab)
}

package labs_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/labs"
)

// TestMain has several labs played at once, however few processors there are: a lab mostly waits. Not so in a translated machine, where
// nothing but its processors is slow.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv("MINIPOD_LABS") != "once" {
		_ = flag.Set("test.parallel", "8")
	}
	status := m.Run()
	for _, line := range played { // here, where it is no test's own output: what passes is shown, too
		fmt.Println("labs:", line)
	}
	if err := os.RemoveAll(courseFolder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// played tells which labs ran, and why others did not.
var played []string

// TestLabs plays each lab as a learner does, with the real minipod in a real terminal: nothing passes before anything is done; each mistake that
// lab.yaml lists gets the hint that it names; what the text says to type passes each step, in either language; and reset leaves nothing behind.
func TestLabs(t *testing.T) {
	t.Parallel() // with the other test that does: those which measure are over by then
	all, err := labs.Load(labs.Content())
	if err != nil {
		t.Fatal(err)
	}
	course := prepareCourse(t)
	lacks := course.learner(t, lang.English, "").lacks()
	var mutex sync.Mutex
	ran, left := 0, []string{}
	t.Cleanup(func() {
		played = append(played, fmt.Sprintf("%d of %d ran", ran, len(all)))
		for _, l := range left {
			played = append(played, "not run here: "+l)
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
				course.learner(t, lang.Chinese, lab.ID).err(lab, &mistakes[i])
			}
			mutex.Lock()
			ran++
			mutex.Unlock()
		})
	}
}

// settle is for how long the kernel is given to become what was typed. In a translated machine, which may have to share its processors, too, a Pod's
// two restarts take a minute.
func settle() time.Duration {
	if os.Getenv("MINIPOD_LABS") == "once" {
		return 2 * time.Minute
	}
	return 10 * time.Second
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

// solve types what the text says, and the solution where that is not enough. One who learns in English has `lab watch` run beside, which judges after
// each line; one who learns in Chinese asks for the verdict at the end, and rather asks again and again than to sleep.
func (l *learner) solve(lab *labs.Lab, step *labs.Step) {
	l.Helper()
	text, solution := lab.Texts[lang.English].Section(step.ID).Commands()
	unanswered := step.Ask != nil
	if unanswered && step.Ask.Kind == "choice" && !answers(text) { // a guess, which the text leaves to the learner
		for _, line := range solution {
			if answers([]string{line}) && !strings.Contains(line, "$") {
				l.types(line)
				unanswered = false
			}
		}
	}
	for i, lines := range [][]string{text, solution} {
		if len(lines) == 0 {
			continue
		}
		unanswered = unanswered && !answers(lines)
		for _, line := range lines {
			if seconds, ok := strings.CutPrefix(line, "sleep "); ok && !l.watches && !unanswered {
				patience, err := time.ParseDuration(seconds + "s")
				must(l.T, err)
				l.waitFor(step, patience)
				continue
			}
			l.types(line)
			if (l.watches || step.Edge) && !l.over(step.ID) {
				l.check()
			}
		}
		if unanswered || len(step.Requires) > 0 && l.lacking() { // nothing comes of waiting
			continue
		}
		patience := settle()
		if i == 1 || len(solution) == 0 { // nothing comes after it
			patience = 2 * time.Minute
		}
		if l.waitFor(step, patience) {
			return
		}
	}
	if l.lacking() {
		l.Logf("step %s can't be done here", step.ID)
		l.types("minipod lab skip")
		return
	}
	out, _ := l.minipod("lab", "check")
	l.Fatalf("lab %s, step %s does not pass by its text:\n%s", lab.ID, step.ID, out)
}

// waitFor asks for the verdict until the step is over, or the learner's patience is.
func (l *learner) waitFor(step *labs.Step, patience time.Duration) bool {
	l.Helper()
	for deadline := time.Now().Add(patience); !l.over(step.ID); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
		l.check()
	}
	return true
}

// lacking tells whether check says that this machine lacks what the step needs.
func (l *learner) lacking() bool {
	_, err := l.minipod("lab", "check")
	return err != nil && (strings.Contains(err.Error(), "lacks") || strings.Contains(err.Error(), "缺少"))
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
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline) && got != w.Hint; time.Sleep(100 * time.Millisecond) {
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

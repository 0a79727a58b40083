package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/labs"
)

// look is how often watch looks: a person who has done something sees the verdict change within 300 ms, and what a look costs (a few files of
// /proc) stays below 2 % of a processor. cli/lab_watch_test.go measures both.
const look = 100 * time.Millisecond

// changeTime is for how long a container may be starting or ending before that is told: most do while what would be said is read.
const changeTime = 2 * time.Second

// inBetween tells whether a verdict is about a container that is starting or ending.
func inBetween(verdicts []labs.Verdict) bool {
	return slices.ContainsFunc(verdicts, func(v labs.Verdict) bool {
		return v.Lacks != nil && (v.Lacks.Status == labs.Changing || v.Lacks.Status == "created")
	})
}

// watch judges the current step until all are over or Ctrl-C ends it. On a terminal the verdicts stand still and change; elsewhere each change is a line.
func (k *course) watch(c *urfave.Context) error {
	screen := &screen{out: k.out, still: k.style.Colour || k.isTerminal()}
	told := false
	for {
		lab, record, step, err := k.at()
		if err != nil {
			return err
		}
		screen.settle()
		if !told {
			k.tellWorld(lab)
		}
		told = true
		k.tellStep(lab, step)
		over, err := k.watchStep(c, screen, lab, record, step)
		if err != nil || over {
			return err
		}
	}
}

func (k *course) watchStep(c *urfave.Context, screen *screen, lab *labs.Lab, record *labs.LabRecord, step *labs.Step) (over bool, err error) {
	judge := k.judgeOf(lab, record)
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	written := k.home.Changed()
	able := len(k.lacks(c.Context, step.Requires)) == 0
	var changing time.Time
	for {
		verdicts, passed, err := k.decide(judge, record, step)
		if err != nil {
			return false, err
		}
		if !inBetween(verdicts) {
			changing = time.Time{}
		} else if changing.IsZero() {
			changing = time.Now()
		}
		if changing.IsZero() || time.Since(changing) > changeTime {
			screen.show(k.verdictLines(lab, step, verdicts, able))
		}
		if passed {
			if err := k.record(judge, lab, record, step); err != nil {
				return false, err
			}
			screen.settle()
			k.println("")
			if record.At(lab) == len(lab.Steps) {
				k.tellPassed(lab, record, step)
				return true, nil
			}
			k.println(k.style.Good(k.say("Step %d is done.", lab.Step(step.ID)+1)), "")
			if after := lab.Texts[k.language].Section(step.ID).Parts["after"]; after != "" {
				k.println(k.style.Markdown(after))
			}
			return false, nil
		}
		select {
		case <-c.Context.Done():
			screen.settle()
			return true, nil // Ctrl-C is how one leaves it
		case <-ticker.C:
		}
		now := k.home.Changed()
		if now.Equal(written) {
			continue
		}
		written = now // an answer, a hint or a skip, typed in another terminal
		current, fresh, next, err := k.at()
		switch {
		case err != nil && fresh == nil: // all steps are over, or the lab was reset
			screen.settle()
			if _, record, err := k.current(); err == nil && record.At(lab) == len(lab.Steps) {
				k.println(k.say("The lab is done. End what runs in it: minipod lab reset"))
			}
			return true, nil
		case err != nil:
			return false, err
		case current.ID != lab.ID || next.ID != step.ID:
			return false, nil
		}
		record = fresh
		judge.Answers, judge.Passed = fresh.Answers, fresh.Snapshots()
	}
}

func (k *course) isTerminal() bool { return isTerminal(k.out) }

// A screen shows lines in place of those that it showed before.
type screen struct {
	out   io.Writer
	still bool // the lines stand still; else only what is new is printed
	shown []string
}

func (s *screen) show(lines []string) {
	if slices.Equal(lines, s.shown) {
		return
	}
	if s.still {
		if n := s.rows(); n > 0 {
			fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", n) // cursor up, erase below: ECMA-48
		}
		fmt.Fprintln(s.out, strings.Join(lines, "\n"))
	} else {
		for _, line := range lines {
			if !slices.Contains(s.shown, line) {
				fmt.Fprintln(s.out, line)
			}
		}
	}
	s.shown = lines
}

// rows is how many the shown lines take: a long one takes two.
func (s *screen) rows() int {
	columns := 0
	if f, ok := s.out.(*os.File); ok {
		if size, err := linux.WindowSizeOf(int(f.Fd())); err == nil {
			columns = int(size.Columns)
		}
	}
	n := 0
	for _, line := range s.shown {
		n += labs.Rows(line, columns)
	}
	return n
}

// settle leaves what is shown where it is.
func (s *screen) settle() { s.shown = nil }

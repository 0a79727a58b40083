package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/labs"
	"codeberg.org/minipod/minipod/state"
)

const groupLearning = "Learning"

// labGroup is `minipod lab`.
func (a *app) labGroup() *urfave.Command {
	verb := func(name, usage, arguments string, least, most int, do func(*course, *urfave.Context) error, flags ...urfave.Flag) *urfave.Command {
		return &urfave.Command{
			Name: name, Usage: usage, ArgsUsage: arguments,
			Flags: append([]urfave.Flag{&urfave.StringFlag{Name: "lang", Usage: "the language of the text, `en|zh` (default: $MINIPOD_LANG, else the locale)"}}, flags...),
			Action: func(c *urfave.Context) error {
				if err := checkArgs(c, least, most); err != nil {
					return err
				}
				course, err := a.course(c)
				if err != nil {
					return err
				}
				if err := do(course, c); err != nil {
					return &spokenError{err, course}
				}
				return nil
			},
		}
	}
	g := group("lab", groupLearning, "Learn how containers and pods work, with a judge that reads the kernel", []*urfave.Command{
		verb("list", "List the labs, and how far you are", "", 0, 0, (*course).list, recordFlags()...),
		verb("prepare", "Get the image that all labs use, from a registry or from FILE, so that they need no network; FILE is an archive (docker save, podman save) or the folder of an OCI layout, with its index.json", "[FILE]", 0, 1, (*course).prepare),
		verb("start", "Start a lab, or go on with it", "LAB", 1, 1, (*course).start),
		verb("check", "Judge the step that you are at", "", 0, 0, (*course).check,
			append(recordFlags(), &urfave.BoolFlag{Name: "all", Usage: "judge every step of the lab, and record nothing"})...),
		verb("watch", "Judge the step that you are at, again and again, while you work in another terminal", "", 0, 0, (*course).watch),
		verb("answer", "Answer a question of the lab, or say which process plays a role", "ANSWER|ROLE=PID", 1, 1, (*course).answer),
		verb("hint", "Help with the step that you are at; more each time", "", 0, 0, (*course).hint),
		verb("solution", "Show how the step is done", "", 0, 0, (*course).solution),
		verb("skip", "Leave the step out", "", 0, 0, (*course).skip),
		verb("status", "Show where you are, with the text of the step", "", 0, 0, (*course).status, recordFlags()...),
		verb("reset", "End everything that runs in a lab, and begin it anew", "[LAB]", 0, 1, (*course).reset),
	})
	g.Description = examples("minipod lab list", "minipod lab start 01", "minipod lab watch", "minipod lab check", "minipod lab start 07 --lang zh")
	return g
}

// A course is the labs as one person sees them.
type course struct {
	*app
	language lang.Lang
	style    labs.Style
	home     labs.Home
}

func (a *app) course(c *urfave.Context) (*course, error) {
	k := &course{app: a, language: lang.Find(os.Getenv), style: labs.Style{Width: 80}}
	var err error
	if text := c.String("lang"); text != "" {
		if k.language, err = lang.Parse(text); err != nil {
			return nil, fmt.Errorf("--lang: %w", err)
		}
	}
	if isTerminal(a.out) {
		out := a.out.(*os.File)
		k.style.Colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" // https://no-color.org
		if size, err := linux.WindowSizeOf(int(out.Fd())); err == nil && size.Columns > 0 {
			k.style.Width = min(int(size.Columns), 100)
		}
	}
	if state.CheckWorld(os.Getenv) != nil { // this terminal's was reset: what doctor tries out is not to make the folder anew
		elsewhere := *a
		elsewhere.dirs, err = state.Find(func(name string) string {
			if name == "MINIPOD_ROOT" {
				return ""
			}
			return os.Getenv(name)
		})
		if err != nil {
			return nil, err
		}
		k.app = &elsewhere
	}
	k.home, err = labs.FindHome(os.Getenv)
	return k, err
}

// say is a sentence of ours in the person's language.
func (k *course) say(format string, args ...any) string {
	return fmt.Sprintf(labs.Translate(k.language, format), args...)
}

// A spokenError is one of the labs', which is told in the person's language, and like all of their text does not end lines within words.
type spokenError struct {
	error
	course *course
}

func (e *spokenError) Unwrap() error { return e.error }

func (e *spokenError) print(out io.Writer) {
	k := e.course
	var text strings.Builder
	hint.Print(&text, e.error)
	for _, line := range linesOf(text.String()) {
		if advice, ok := strings.CutPrefix(line, "hint: "); ok {
			line = k.say("hint: %s", advice)
		}
		if !isTerminal(out) {
			fmt.Fprintln(out, line)
			continue
		}
		for _, part := range k.style.Wrap("", line) {
			fmt.Fprintln(out, part)
		}
	}
}

// refuse is an error with advice, both in the person's language already.
func refuse(problem, advice string) error { return hint.Wrap(errors.New(problem), advice) }

// find is labs.Find, whose complaint it translates.
func (k *course) find(id string) (*labs.Lab, error) {
	id = halfWidth(id)
	lab, err := labs.Find(labs.Content(), id)
	var none *labs.NoLabError
	if errors.As(err, &none) && k.language != lang.English {
		return nil, refuse(k.say("there is no lab %q", id), k.say("see which there are: minipod lab list"))
	}
	return lab, err
}

// tell prints a sentence as a paragraph.
func (k *course) tell(text string) { k.println(k.style.Wrap("", text)...) }

func (k *course) println(lines ...string) {
	for _, line := range lines {
		fmt.Fprintln(k.out, line)
	}
}

// current is the lab that was started last, and how far the learner is in it.
func (k *course) current() (*labs.Lab, *labs.LabRecord, error) {
	progress, err := k.home.ReadProgress()
	if err != nil {
		return nil, nil, err
	}
	if progress.Current == "" {
		return nil, nil, refuse(k.say("no lab is started"), k.say("start one: minipod lab start 01 (minipod lab list shows all)"))
	}
	lab, err := k.find(progress.Current)
	return lab, progress.Lab(progress.Current), err
}

// at is current, and the step that the learner is at.
func (k *course) at() (*labs.Lab, *labs.LabRecord, *labs.Step, error) {
	lab, record, err := k.current()
	if err != nil {
		return nil, nil, nil, err
	}
	i := record.At(lab)
	if i == len(lab.Steps) {
		return nil, nil, nil, refuse(k.say("lab %s is done", lab.ID), k.say("go on with another (minipod lab list), or do it again: minipod lab reset"))
	}
	return lab, record, &lab.Steps[i], nil
}

// A labRow is what list tells of a lab.
type labRow struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Minutes int      `json:"minutes"`
	Steps   int      `json:"steps"`
	Over    int      `json:"over"`
	Done    bool     `json:"done"`
	Current bool     `json:"current"`
	Skipped int      `json:"skipped,omitempty"`
	Runs    bool     `json:"runs,omitempty"`    // something does in its world
	Lacks   []string `json:"lacks,omitempty"`   // why it can't be done on this machine
	Without []int    `json:"without,omitempty"` // the steps, counted from 1, that can't
}

func (k *course) list(c *urfave.Context) error {
	progress, err := k.home.ReadProgress()
	if err != nil {
		return err
	}
	all, err := labs.Load(labs.Content())
	if err != nil {
		return err
	}
	reader := *k
	if c.String("output") != "" { // a program
		reader.language = lang.English
	}
	machine := reader.machine(c.Context)
	var rows []labRow
	for _, l := range all {
		row := labRow{ID: l.ID, Title: l.Title(k.language), Minutes: l.Minutes, Steps: len(l.Steps), Current: progress.Current == l.ID}
		if r := progress.Labs[l.ID]; r != nil {
			row.Done = !r.Done.IsZero()
			for _, s := range l.Steps {
				if r.Steps[s.ID].Over() {
					row.Over++
				}
				if step := r.Steps[s.ID]; step != nil && step.Skipped {
					row.Skipped++
				}
			}
		}
		row.Runs = k.runs(l.ID)
		for _, lack := range machine.lacks(l.Requires) {
			row.Lacks = append(row.Lacks, lack.Title)
		}
		for i, s := range l.Steps {
			if len(row.Lacks) == 0 && len(machine.lacks(s.Requires)) > 0 {
				row.Without = append(row.Without, i+1)
			}
		}
		rows = append(rows, row)
	}
	return k.printRecord(c, rows, func() { k.printList(rows) })
}

func (k *course) printList(rows []labRow) {
	widest := 0
	for _, r := range rows {
		widest = max(widest, labs.Width(r.Title))
	}
	for _, r := range rows {
		mark, state := " ", k.say("%d steps", r.Steps)
		switch {
		case r.Done:
			mark = k.style.Good("✓")
		case r.Over > 0:
			state = k.say("%d of %d steps", r.Over, r.Steps)
		}
		switch {
		case r.Current && r.Over == r.Steps:
			state += k.say(", done, not reset")
		case r.Current:
			state += k.say(", started")
		case r.Runs:
			state += k.say(", still runs")
		}
		if r.Skipped > 0 {
			state += k.say(", %d left out", r.Skipped)
		}
		if len(r.Lacks) > 0 {
			state += k.say("; ") + k.style.Odd(k.say("not on this machine: %s", k.listed(r.Lacks)))
		}
		for _, n := range r.Without {
			state += k.say("; ") + k.style.Odd(k.say("step %d not on this machine", n))
		}
		k.println(fmt.Sprintf("%s %s  %s%s  %s  %s", mark, k.style.Bold(r.ID), r.Title, strings.Repeat(" ", widest-labs.Width(r.Title)),
			k.style.Dim(k.say("%2d min", r.Minutes)), state))
	}
	k.println("")
	if missing := missingIDs(rows); len(missing) > 0 {
		k.println(k.say("Not written yet: %s", strings.Join(missing, k.say(", "))))
	}
	next := rows[0].ID
	if i := slices.IndexFunc(rows, func(r labRow) bool { return !r.Done && len(r.Lacks) == 0 }); i >= 0 {
		next = rows[i].ID
	}
	k.println(k.say("Start one: minipod lab start %s", next))
}

// missingIDs are the numbers that are left out between the labs: they are kept for labs to come.
func missingIDs(rows []labRow) (missing []string) {
	for i := 1; i < len(rows); i++ {
		before, _ := strconv.Atoi(rows[i-1].ID)
		this, _ := strconv.Atoi(rows[i].ID)
		for n := before + 1; n < this; n++ {
			missing = append(missing, fmt.Sprintf("%02d", n))
		}
	}
	return missing
}

// listed are the titles of doctor's checks.
func (k *course) listed(titles []string) string {
	var list []string
	for _, title := range titles {
		if title == "cgroup v2 and delegation" {
			title = k.say("cgroup v2, delegated to you")
		}
		list = append(list, title)
	}
	return strings.Join(list, k.say(", "))
}

// A statusRecord is what status tells to programs.
type statusRecord struct {
	Lab     string                      `json:"lab"`
	Step    string                      `json:"step,omitempty"` // "" once all are over
	World   string                      `json:"world"`
	Steps   map[string]*labs.StepRecord `json:"steps"`
	Answers map[string]labs.Answer      `json:"answers"`
}

func (k *course) status(c *urfave.Context) error {
	lab, record, err := k.current()
	if err != nil {
		return err
	}
	s := statusRecord{Lab: lab.ID, World: k.home.World(lab.ID), Steps: record.Steps, Answers: record.Answers}
	i := record.At(lab)
	if i < len(lab.Steps) {
		s.Step = lab.Steps[i].ID
	}
	return k.printRecord(c, s, func() {
		k.println(k.style.Bold(lab.ID + "  " + lab.Title(k.language)))
		for n, step := range lab.Steps {
			title := lab.Texts[k.language].Section(step.ID).Title
			mark := "  "
			switch r := record.Steps[step.ID]; {
			case r != nil && r.Skipped:
				mark = k.style.Odd("- ")
			case r.Over():
				mark = k.style.Good("✓ ")
			case n == i:
				mark = k.style.Bold("> ")
			}
			line := mark + title
			if r := record.Steps[step.ID]; r != nil && r.Solution {
				line += k.style.Dim(k.say(" (the solution was shown)"))
			}
			if answer, ok := record.Answers[step.ID]; ok && step.Ask != nil && step.Ask.Name == step.ID {
				line += k.style.Dim(k.say(" (you answered %s)", answer.Text))
			}
			k.println(line)
		}
		k.println("")
		k.tellWorld(lab)
		if i < len(lab.Steps) {
			k.tellStep(lab, &lab.Steps[i])
		}
	})
}

func (k *course) answer(c *urfave.Context) error {
	lab, record, step, err := k.at()
	if err != nil {
		return err
	}
	text := strings.Trim(halfWidth(strings.TrimSpace(c.Args().First())), `"'“”‘’`)
	name, value, named := strings.Cut(text, "=")
	_, role := lab.Roles[name]
	isRole := named && (role || slices.ContainsFunc(lab.Steps, func(s labs.Step) bool { return s.Ask != nil && s.Ask.Kind == "pid" && s.Ask.Name == name }))
	if !isRole {
		if step.Ask == nil {
			return refuse(k.say("this step asks nothing"), k.say("see what it wants: minipod lab status"))
		}
		name, value = step.Ask.Name, text
	}
	answer := labs.Answer{Text: value}
	switch {
	case isRole || step.Ask.Kind == "pid":
		answer.Process, err = labs.FindProcess(os.DirFS("/"), value)
		switch {
		case errors.Is(err, labs.ErrNoPID):
			return refuse(k.say("%q is no PID", value), k.say("type the number that ps or lsns shows"))
		case errors.Is(err, fs.ErrNotExist):
			return refuse(k.say("there is no process %s", value), k.say("type the PID that it has on the host"))
		case err != nil:
			return err
		}
	case step.Ask.Kind == "choice" && !slices.Contains(step.Ask.Choices, strings.ToLower(value)):
		return refuse(k.say("%q is none of the choices", value), k.say("type one of %s", strings.Join(step.Ask.Choices, k.say(", "))))
	case step.Ask.Kind == "choice":
		answer.Text = strings.ToLower(value)
	case step.Ask.Kind == "number" && (value == "" || strings.Trim(value, "0123456789") != ""):
		return refuse(k.say("%q is no number", value), k.say("type one in digits"))
	}
	err = k.home.Change(func(p *labs.Progress) error {
		p.Lab(lab.ID).Answers[name] = answer
		return nil
	})
	if err != nil {
		return err
	}
	record.Answers[name] = answer
	return k.judge(c, lab, record, step)
}

// halfWidth turns what a Chinese keyboard makes of ASCII (U+FF01 to U+FF5E) back.
func halfWidth(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0xff01 && r <= 0xff5e {
			return r - 0xff01 + '!'
		}
		return r
	}, text)
}

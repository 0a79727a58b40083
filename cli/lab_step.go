package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/labs"
)

// start makes the lab's world where there is none, and shows where the learner is.
func (k *course) start(c *urfave.Context) error {
	lab, err := k.find(c.Args().First())
	if err != nil {
		return err
	}
	if lacks := k.lacks(c.Context, lab.Requires); len(lacks) > 0 {
		k.println(k.style.Bold(lab.ID+"  "+lab.Title(k.language)), "", k.style.Markdown(lab.Texts[k.language].Section(labs.Intro).Body))
		for _, s := range lab.Steps {
			k.tellStep(lab, &s)
		}
		k.tellLacks(lacks)
		return errors.New(k.say("lab %s can be read here, not done", lab.ID))
	}
	if err := k.makeWorld(lab); err != nil {
		return err
	}
	k.tellOthers(lab)
	var record *labs.LabRecord
	err = k.home.Change(func(p *labs.Progress) error {
		p.Current, record = lab.ID, p.Lab(lab.ID)
		if record.Started.IsZero() {
			record.Started = time.Now()
		}
		return nil
	})
	if err != nil {
		return err
	}
	k.println(k.style.Bold(lab.ID+"  "+lab.Title(k.language))+k.style.Dim(k.say("  (about %d minutes)", lab.Minutes)), "")
	k.println(k.style.Markdown(lab.Texts[k.language].Section(labs.Intro).Body))
	k.tellWorld(lab)
	if i := record.At(lab); i < len(lab.Steps) {
		k.tellStep(lab, &lab.Steps[i])
		k.tell(k.say("When you have done that: minipod lab check. In a second terminal minipod lab watch does it for you, all along. Stuck: minipod lab hint"))
	} else {
		k.println(k.say("You have done this lab. To do it again: minipod lab reset %s", lab.ID))
	}
	return nil
}

// tellWorld says how a terminal gets into the lab's world, where this one is not.
func (k *course) tellWorld(lab *labs.Lab) {
	root := k.home.World(lab.ID)
	here := os.Getenv("MINIPOD_ROOT")
	if here == root {
		return
	}
	if filepath.Dir(here) == filepath.Dir(root) {
		k.tell(k.style.Odd(k.say("MINIPOD_ROOT here is still that of lab %s.", filepath.Base(here))))
	}
	k.tell(k.say("In each terminal that you use for this lab, type first (it leads into the lab's world: a store of containers of its own, apart from your others):"))
	k.println("", k.style.Bold("    export MINIPOD_ROOT="+quoted(root)), "")
}

// quoted is a word as a shell reads it.
func quoted(word string) string {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@"
	for _, r := range word {
		if !slices.Contains([]rune(safe), r) {
			return fmt.Sprintf("%q", word)
		}
	}
	return word
}

func (k *course) tellStep(lab *labs.Lab, step *labs.Step) {
	k.println(k.style.Bold(k.title(lab, step)), "")
	k.tellUnable(step)
	k.println(k.style.Markdown(lab.Texts[k.language].Section(step.ID).Body))
}

func (k *course) title(lab *labs.Lab, step *labs.Step) string {
	return k.say("Step %d of %d: %s", lab.Step(step.ID)+1, len(lab.Steps), lab.Texts[k.language].Section(step.ID).Title)
}

// tellUnable says of a step that can't be done on this machine why, before anybody types it.
func (k *course) tellUnable(step *labs.Step) bool {
	lacks := k.lacks(context.Background(), step.Requires)
	if len(lacks) == 0 {
		return false
	}
	k.tellLacks(lacks)
	k.tell(k.style.Odd(k.say("This step can't be done here. Read it, and go on: minipod lab skip")))
	k.println("")
	return true
}

// tellOthers names the other labs in whose worlds something runs still.
func (k *course) tellOthers(lab *labs.Lab) {
	worlds, err := os.ReadDir(filepath.Dir(k.home.World(lab.ID)))
	if err != nil {
		return
	}
	for _, w := range worlds {
		if w.Name() == lab.ID {
			continue
		}
		if k.runs(w.Name()) {
			k.tell(k.style.Odd(k.say("Lab %s still runs. To end it: minipod lab reset %s", w.Name(), w.Name())))
			k.println("")
		}
	}
}

// runs tells whether something does in the world of that lab.
func (k *course) runs(id string) bool {
	root := k.home.World(id)
	if _, err := os.Lstat(root); err != nil {
		return false
	}
	inhabitants, err := labs.InhabitantsOf(os.DirFS("/"), root, os.Getpid(), nil)
	return err == nil && len(inhabitants) > 0
}

// judgeOf is who decides, with what the learner has said so far.
func (k *course) judgeOf(lab *labs.Lab, record *labs.LabRecord) *labs.Judge {
	return &labs.Judge{
		Files: os.DirFS("/"), World: k.world(lab), Lab: lab, Language: k.language, UID: os.Getuid(), Self: os.Getpid(),
		Answers: record.Answers, Passed: record.Snapshots(),
	}
}

// A verdictRecord is what check tells to programs.
type verdictRecord struct {
	Lab      string         `json:"lab"`
	Step     string         `json:"step"`
	Passed   bool           `json:"passed"`
	Verdicts []labs.Verdict `json:"verdicts"`
}

func (k *course) check(c *urfave.Context) error {
	if c.Bool("all") {
		return k.checkAll(c)
	}
	lab, record, step, err := k.at()
	if err != nil {
		return err
	}
	return k.judge(c, lab, record, step)
}

// checkAll judges every step as things are now: none of it counts.
func (k *course) checkAll(c *urfave.Context) error {
	lab, record, err := k.current()
	if err != nil {
		return err
	}
	judge := k.judgeOf(lab, record)
	var all []verdictRecord
	for i := range lab.Steps {
		verdicts := judge.Step(&lab.Steps[i])
		all = append(all, verdictRecord{lab.ID, lab.Steps[i].ID, labs.Passes(verdicts), verdicts})
	}
	return k.printRecord(c, all, func() {
		for i, r := range all {
			k.println(k.style.Bold(lab.Texts[k.language].Section(r.Step).Title))
			k.println(k.verdictLines(lab, &lab.Steps[i], r.Verdicts, true)...)
		}
	})
}

// judge decides on a step and tells of it. It answers exit status 1 where the step is not passed.
func (k *course) judge(c *urfave.Context, lab *labs.Lab, record *labs.LabRecord, step *labs.Step) error {
	judge := k.judgeOf(lab, record)
	verdicts, passed, err := k.decide(judge, record, step)
	if err != nil {
		return err
	}
	if passed {
		if err := k.record(judge, lab, record, step); err != nil {
			return err
		}
	}
	err = k.printRecord(c, verdictRecord{lab.ID, step.ID, passed, verdicts}, func() {
		k.println(k.style.Bold(k.title(lab, step)))
		able := passed || len(k.lacks(c.Context, step.Requires)) == 0
		k.println(k.verdictLines(lab, step, verdicts, able)...)
		k.println("")
		if passed {
			k.tellPassed(lab, record, step)
			return
		}
		if k.tellUnable(step) {
			return
		}
		if root := k.home.World(lab.ID); os.Getenv("MINIPOD_ROOT") != root {
			k.tellWorld(lab)
		}
		k.println(k.say("More help: minipod lab hint"))
	})
	if err == nil && !passed {
		err = statusError(exitFailure)
	}
	return err
}

// decide judges a step. What a level step asks for must hold for a while; of an edge step each check is remembered once it was true.
func (k *course) decide(judge *labs.Judge, record *labs.LabRecord, step *labs.Step) (verdicts []labs.Verdict, passed bool, err error) {
	verdicts = judge.Step(step)
	if step.Edge {
		return k.remember(judge.Lab, record, step, verdicts)
	}
	if !labs.Passes(verdicts) {
		return verdicts, false, nil
	}
	time.Sleep(labs.Stable)
	verdicts = judge.Step(step)
	return verdicts, labs.Passes(verdicts), nil
}

// remember notes which checks of an edge step were true, now or before.
func (k *course) remember(lab *labs.Lab, record *labs.LabRecord, step *labs.Step, verdicts []labs.Verdict) ([]labs.Verdict, bool, error) {
	seen := slices.Clone(record.Step(step.ID).Seen)
	var added bool
	for i := range verdicts {
		switch known := slices.Contains(seen, i); {
		case verdicts[i].Status == labs.Pass && !known:
			seen, added = append(seen, i), true
		case verdicts[i].Status != labs.Pass && known:
			verdicts[i] = labs.Verdict{Check: verdicts[i].Check, Says: verdicts[i].Says, Status: labs.Pass, Evidence: []labs.Evidence{{Path: "lab watch", Got: k.say("it was so before")}}}
		}
	}
	if added {
		record.Step(step.ID).Seen = seen
		err := k.home.Change(func(p *labs.Progress) error {
			p.Lab(lab.ID).Step(step.ID).Seen = seen
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	return verdicts, len(seen) == len(step.Checks), nil
}

// record writes down that a step was passed, and by which processes.
func (k *course) record(judge *labs.Judge, lab *labs.Lab, record *labs.LabRecord, step *labs.Step) error {
	now, roles := time.Now(), judge.Snapshots()
	return k.home.Change(func(p *labs.Progress) error {
		for _, r := range []*labs.LabRecord{p.Lab(lab.ID), record} {
			r.Step(step.ID).Passed, r.Step(step.ID).Roles = now, roles
			if r.At(lab) == len(lab.Steps) && r.Done.IsZero() {
				r.Done = now
			}
		}
		return nil
	})
}

// tellPassed says what the step has shown, and what comes next.
func (k *course) tellPassed(lab *labs.Lab, record *labs.LabRecord, step *labs.Step) {
	k.println(k.style.Good(k.say("Step %d is done.", lab.Step(step.ID)+1)), "")
	if after := lab.Texts[k.language].Section(step.ID).Parts["after"]; after != "" {
		k.println(k.style.Markdown(after))
	}
	k.tellNext(lab, record)
}

func (k *course) tellNext(lab *labs.Lab, record *labs.LabRecord) {
	if i := record.At(lab); i < len(lab.Steps) {
		k.tellStep(lab, &lab.Steps[i])
		return
	}
	next := lab.Texts[k.language].Section(labs.Next)
	k.println(k.style.Bold(next.Title), "", k.style.Markdown(next.Body))
	k.println(k.say("The lab is done. End what runs in it: minipod lab reset"))
}

// hint climbs: what the evidence means, then a nudge, then the solution.
func (k *course) hint(c *urfave.Context) error {
	lab, record, step, err := k.at()
	if err != nil {
		return err
	}
	level := record.Step(step.ID).Hints
	if level >= 2 {
		return k.solution(c)
	}
	err = k.home.Change(func(p *labs.Progress) error {
		p.Lab(lab.ID).Step(step.ID).Hints = level + 1
		return nil
	})
	if err != nil {
		return err
	}
	if k.tellUnable(step) {
		return nil
	}
	k.tellWorld(lab)
	if level == 0 {
		verdicts := k.judgeOf(lab, record).Step(step)
		k.println(k.verdictLines(lab, step, verdicts, true)...)
		k.println("", k.say("More: minipod lab hint, once more"))
		return nil
	}
	k.println(k.style.Markdown(lab.Texts[k.language].Section(step.ID).Parts["nudge"]), k.say("The solution: minipod lab hint, once more"))
	return nil
}

func (k *course) solution(*urfave.Context) error {
	lab, _, step, err := k.at()
	if err != nil {
		return err
	}
	err = k.home.Change(func(p *labs.Progress) error {
		p.Lab(lab.ID).Step(step.ID).Solution = true
		return nil
	})
	if err == nil {
		k.println(k.style.Markdown(lab.Texts[k.language].Section(step.ID).Parts["solution"]))
	}
	return err
}

func (k *course) skip(*urfave.Context) error {
	lab, record, step, err := k.at()
	if err != nil {
		return err
	}
	judge := k.judgeOf(lab, record)
	roles := judge.Snapshots() // what a later step compares with
	err = k.home.Change(func(p *labs.Progress) error {
		for _, r := range []*labs.LabRecord{p.Lab(lab.ID), record} {
			r.Step(step.ID).Skipped, r.Step(step.ID).Roles = true, roles
			if r.At(lab) == len(lab.Steps) && r.Done.IsZero() {
				r.Done = time.Now()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	k.println(k.say("Step %d is left out.", lab.Step(step.ID)+1), "")
	k.tellNext(lab, record)
	return nil
}

// reset ends a lab's world and takes the learner back to its first step.
func (k *course) reset(c *urfave.Context) error {
	progress, err := k.home.ReadProgress()
	if err != nil {
		return err
	}
	id := c.Args().First()
	if id == "" {
		id = progress.Current
	}
	if id == "" {
		return refuse(k.say("no lab is started"), k.say("name the one that you mean: minipod lab reset 01"))
	}
	lab, err := k.find(id)
	if err != nil {
		return err
	}
	if err := k.end(lab, progress.Lab(lab.ID)); err != nil {
		return err
	}
	err = k.home.Change(func(p *labs.Progress) error {
		if r := p.Labs[lab.ID]; r != nil {
			*r = labs.LabRecord{Done: r.Done}
		}
		if p.Current == lab.ID {
			p.Current = ""
		}
		return nil
	})
	if err == nil {
		k.tell(k.say("Nothing of lab %s is left: no process, mount, namespace, control group or file. Start it again: minipod lab start %s", lab.ID, lab.ID))
		k.tell(k.say("In the terminals that you used for it: unset MINIPOD_ROOT"))
		k.tellOthers(lab)
	}
	return err
}

func linesOf(text string) []string { return strings.Split(strings.TrimRight(text, "\n"), "\n") }

package labs

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/internal/nearest"
)

//go:embed all:content
var embedded embed.FS

// Content is the labs that this binary holds.
func Content() fs.FS {
	content, err := fs.Sub(embedded, "content")
	if err != nil {
		panic(err) // the name is a constant
	}
	return content
}

// A Lab is one lab, read and checked.
type Lab struct {
	ID       string // "07": never changes
	Name     string // "pod-by-hand"
	Minutes  int
	Requires []string          // what the machine must offer: names of `minipod doctor`'s checks, or command:PROGRAM
	Roles    map[string]string // who plays a role unless the learner says otherwise: container:NAME, sandbox:NAME, supervisor:NAME, pod:POD/CONTAINER, or "" for nobody
	Steps    []Step
	Wrong    []Wrong

	Invariants []Invariant // what holds as long as nothing is broken; the earlier ones explain the later

	Texts map[lang.Lang]*Text

	Files fs.FS // files/, or nil
}

// A Step is what the learner does at a time.
type Step struct {
	ID       string
	Edge     bool // each check has to have been true once; else all at once, and for a while
	Requires []string
	Ask      *Ask
	Checks   []Check
	Diagnose []Diagnosis
}

// An Ask is what the learner is to type with `lab answer`.
type Ask struct {
	Name    string   // "" for the one answer of the step
	Kind    string   // pid, choice, number, text
	Choices []string // of a choice
	Removes string   // a pattern: the learner's file that the answer names, if it fits, is removed at the end
}

// A Check is a probe and its arguments. Hint is the section of the text that helps where it fails.
type Check struct {
	Kind string
	Args Args
	Hint string
	line int
}

// A Diagnosis is a mistake that can be told from what the kernel shows: where its check passes, its hint comes before those of the step's checks.
type Diagnosis struct {
	When Check
	Hint string
}

// An Invariant is a few checks under a name.
type Invariant struct {
	Name   string
	Checks []Check
}

// A Wrong is a mistake that learners make: what is typed instead in a step, and the hint that it must get.
type Wrong struct {
	Step string
	Type []string
	Hint string
}

// Title is the lab's title in that language.
func (l *Lab) Title(language lang.Lang) string { return l.Texts[language].Title }

// Step returns the index of the step with that id, or -1.
func (l *Lab) Step(id string) int {
	return slices.IndexFunc(l.Steps, func(s Step) bool { return s.ID == id })
}

// Load reads all labs of a tree, in the order of their ids, and complains about each mistake in them with its file, its line and what to do.
func Load(content fs.FS) ([]*Lab, error) {
	folders, err := fs.ReadDir(content, ".")
	if err != nil {
		return nil, fmt.Errorf("read the labs: %w", err)
	}
	var labs []*Lab
	var errs []error
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		lab, err := load(content, folder.Name())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if i := slices.IndexFunc(labs, func(other *Lab) bool { return other.ID == lab.ID }); i >= 0 {
			errs = append(errs, fmt.Errorf("%s: the id %s is taken by %s", folder.Name(), lab.ID, labs[i].Name))
		}
		labs = append(labs, lab)
	}
	return labs, errors.Join(errs...)
}

var folderName = lazily(`^(\d\d)-([a-z0-9-]+)$`)

func load(content fs.FS, folder string) (*Lab, error) {
	parts := folderName().FindStringSubmatch(folder)
	if parts == nil {
		return nil, hint.Wrap(fmt.Errorf("the folder %s is no lab's", folder), "name it NN-a-few-words")
	}
	name := path.Join(folder, "lab.yaml")
	data, err := fs.ReadFile(content, name)
	if err != nil {
		return nil, err
	}
	lab, err := decode(name, data)
	if err != nil {
		return nil, err
	}
	lab.Name = parts[2]
	if lab.ID != parts[1] {
		return nil, hint.Wrap(fmt.Errorf("%s: id %q, and the folder says %q", name, lab.ID, parts[1]), "an id never changes: rename the folder")
	}
	lab.Texts = map[lang.Lang]*Text{}
	for _, l := range lang.All() {
		name := path.Join(folder, string(l)+".md")
		data, err := fs.ReadFile(content, name)
		if err != nil {
			return nil, err
		}
		text, err := ParseText(name, string(data))
		if err != nil {
			return nil, err
		}
		if err := lab.fits(name, text); err != nil {
			return nil, err
		}
		lab.Texts[l] = text
	}
	if files, err := fs.Sub(content, path.Join(folder, "files")); err == nil {
		if _, err := fs.Stat(files, "."); err == nil {
			lab.Files = files
		}
	}
	return lab, nil
}

// fits checks that a text has a section for each step and each hint of the lab, and none for what it doesn't have.
func (l *Lab) fits(name string, text *Text) error {
	want := []string{Intro}
	for _, s := range l.Steps {
		want = append(want, s.ID)
	}
	want = append(want, Next)
	var got []string
	for _, s := range text.Sections {
		got = append(got, s.Anchor)
	}
	if !slices.Equal(got, want) {
		return hint.Wrap(fmt.Errorf("%s: the sections are %s, and the steps of lab.yaml ask for %s", name, strings.Join(got, " "), strings.Join(want, " ")),
			"give each step one section, in the same order: ## Title {#step}")
	}
	for _, s := range l.Steps {
		section := text.Section(s.ID)
		hints := s.hints()
		for _, key := range hints {
			if section.Parts["hint: "+key] == "" {
				return hint.Wrap(fmt.Errorf("%s: step %s has no text for the hint %s", name, s.ID, key), "write it below: ### hint: "+key)
			}
		}
		for part := range section.Parts {
			if key, ok := strings.CutPrefix(part, "hint: "); ok && !slices.Contains(hints, key) {
				return fmt.Errorf("%s: step %s has a text for the hint %s, which no check of lab.yaml names", name, s.ID, key)
			}
		}
		for _, part := range []string{"nudge", "solution"} {
			if section.Parts[part] == "" {
				return hint.Wrap(fmt.Errorf("%s: step %s has no %s", name, s.ID, part), "write it below: ### "+part)
			}
		}
	}
	return nil
}

func (s *Step) hints() []string {
	var keys []string
	for _, c := range s.Checks {
		if c.Hint != "" && !slices.Contains(keys, c.Hint) {
			keys = append(keys, c.Hint)
		}
	}
	for _, d := range s.Diagnose {
		if !slices.Contains(keys, d.Hint) {
			keys = append(keys, d.Hint)
		}
	}
	return keys
}

// Find reads the lab that somebody means by its id, with or without a leading zero, or by its name. It reads no other: all of them take 20 ms.
func Find(content fs.FS, id string) (*Lab, error) {
	folders, err := fs.ReadDir(content, ".")
	if err != nil {
		return nil, fmt.Errorf("read the labs: %w", err)
	}
	var known []string
	for _, folder := range folders {
		number, name, ok := strings.Cut(folder.Name(), "-")
		if !ok {
			continue
		}
		if id == number || id == strings.TrimLeft(number, "0") || id == name || id == folder.Name() {
			return load(content, folder.Name())
		}
		known = append(known, name)
	}
	advice := "see which there are: minipod lab list"
	if near := nearest.Name(id, known); near != "" {
		advice = "did you mean " + near + "? minipod lab list shows all"
	}
	return nil, hint.Wrap(&NoLabError{id}, advice)
}

// A NoLabError is what Find answers about a lab that there is none of.
type NoLabError struct{ ID string }

func (e *NoLabError) Error() string { return fmt.Sprintf("there is no lab %q", e.ID) }

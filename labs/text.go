package labs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
)

// The sections that every text has beside those of its steps: what the lab is about, and what to read afterwards.
const (
	Intro = "intro"
	Next  = "next"
)

// A Text is a lab in one language.
type Text struct {
	Title    string
	Sections []Section
}

// A Section is what belongs to an anchor. Its parts are those below "### NAME": nudge, solution, after, "hint: KEY".
type Section struct {
	Anchor string
	Title  string
	Body   string
	Parts  map[string]string
	Hash   string // what Stamp answered for the English section that this one was translated from; "" in English
	raw    string
}

// Section returns the section with that anchor, or an empty one.
func (t *Text) Section(anchor string) *Section {
	for i := range t.Sections {
		if t.Sections[i].Anchor == anchor {
			return &t.Sections[i]
		}
	}
	return &Section{Anchor: anchor}
}

var (
	sectionHeading = lazily(`^## (.+?) \{#([a-z][a-z0-9-]*)\}$`)
	stampLine      = lazily(`^<!-- en ([0-9a-f]{8}) -->$`)
	partName       = lazily(`^(nudge|solution|after|hint: [a-z][a-z0-9-]*)$`)
)

// ParseText reads an en.md or zh.md:
//
//	# Title
//	<!-- en 1a2b3c4d -->      in translations: the stamp of the English section
//	What the lab is about.
//	## A step {#anchor}
//	What to do, with commands in blocks of sh.
//	### hint: KEY
//	### nudge
//	### solution
//	### after
func ParseText(name, source string) (*Text, error) {
	t := &Text{}
	current := Section{Anchor: Intro, Parts: map[string]string{}}
	part := ""
	var body strings.Builder
	flush := func() {
		text := strings.TrimSpace(body.String())
		if part == "" {
			current.Body = text
		} else {
			current.Parts[part] = text
		}
		body.Reset()
	}
	fenced := false
	for i, line := range strings.Split(source, "\n") {
		bad := func(problem, advice string) (*Text, error) {
			return nil, hint.Wrap(fmt.Errorf("%s:%d: %s", name, i+1, problem), advice)
		}
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		switch {
		case fenced:
			body.WriteString(line + "\n")
		case strings.HasPrefix(line, "# "):
			if t.Title != "" {
				return bad("a second title", "use ## for a step")
			}
			t.Title = strings.TrimPrefix(line, "# ")
			current.Title = t.Title
		case strings.HasPrefix(line, "## "):
			heading := sectionHeading().FindStringSubmatch(line)
			if heading == nil {
				return bad("a heading without anchor", "write ## Title {#step}")
			}
			flush()
			t.Sections = append(t.Sections, current)
			current, part = Section{Title: heading[1], Anchor: heading[2], Parts: map[string]string{}}, ""
		case strings.HasPrefix(line, "### "):
			flush()
			if part = strings.TrimPrefix(line, "### "); !partName().MatchString(part) {
				return bad(fmt.Sprintf("no such part: %q", part), "use nudge, solution, after or hint: KEY")
			}
			if _, twice := current.Parts[part]; twice {
				return bad(fmt.Sprintf("a second %q", part), "put them together")
			}
			current.Parts[part] = ""
		case stampLine().MatchString(line):
			current.Hash = stampLine().FindStringSubmatch(line)[1]
			continue
		default:
			body.WriteString(line + "\n")
		}
		current.raw += line + "\n"
	}
	if fenced {
		return nil, hint.Wrap(fmt.Errorf("%s: a block of ``` that does not end", name), "end it")
	}
	flush()
	t.Sections = append(t.Sections, current)
	if t.Title == "" {
		return nil, hint.Wrap(fmt.Errorf("%s:1: no title", name), "begin with # Title")
	}
	return t, nil
}

// Stamp identifies what a section says: a translation names the stamp of what it translates, so one that lags behind shows.
func (s *Section) Stamp() string {
	sum := sha256.Sum256([]byte(strings.TrimSpace(s.raw)))
	return hex.EncodeToString(sum[:4])
}

// Commands are the lines that a learner types: those of the blocks of sh in the text, then those of the solution.
func (s *Section) Commands() (text, solution []string) {
	return commandsOf(s.Body), commandsOf(s.Parts["solution"])
}

// AllCommands are the commands of the section and of all of its parts.
func (s *Section) AllCommands() []string {
	all := commandsOf(s.Body)
	var names []string
	for name := range s.Parts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		all = append(all, commandsOf(s.Parts[name])...)
	}
	return all
}

func commandsOf(markdown string) (commands []string) {
	inside := false
	for line := range strings.Lines(markdown) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "```sh":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside && strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#"):
			if n := len(commands); n > 0 && strings.HasSuffix(commands[n-1], "\\") { // it goes on, as in a shell
				commands[n-1] += "\n" + line
				continue
			}
			commands = append(commands, line)
		}
	}
	return commands
}

// A Reference is a place in our own code that a text names: the comment "LAB: anchor" in a file.
type Reference struct{ File, Anchor string }

var reference = lazily("`([a-z0-9_/]+\\.go)`[^`]*`LAB: ([a-z0-9-]+)`")

// References are those of the whole text.
func References(t *Text) []Reference {
	var list []Reference
	for _, s := range t.Sections {
		for _, match := range reference().FindAllStringSubmatch(s.raw, -1) {
			list = append(list, Reference{match[1], match[2]})
		}
	}
	return list
}

package labs

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/nearest"
)

// decode reads a lab.yaml. Every mistake is one of a line.
func decode(name string, data []byte) (*Lab, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	d := &decoder{file: name}
	lab := &Lab{Minutes: 15, Roles: map[string]string{}}
	if len(document.Content) == 1 {
		d.lab(document.Content[0], lab)
	} else {
		d.fail(&document, "the file is empty", "begin it with id:")
	}
	if len(d.errs) == 0 {
		d.whole(lab)
	}
	return lab, errors.Join(d.errs...)
}

type decoder struct {
	file string
	errs []error
}

func (d *decoder) fail(n *yaml.Node, problem, advice string) {
	d.failAt(n.Line, problem, advice)
}

func (d *decoder) failAt(line int, problem, advice string) {
	d.errs = append(d.errs, hint.Wrap(fmt.Errorf("%s:%d: %s", d.file, line, problem), advice))
}

type fields map[string]func(*yaml.Node)

// mapping hands each value of a mapping to who knows its key.
func (d *decoder) mapping(n *yaml.Node, what string, known fields) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, what+" is no mapping", "write KEY: VALUE")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		set, ok := known[key.Value]
		switch {
		case !ok:
			names := slices.Sorted(maps.Keys(known))
			advice := "use " + strings.Join(names, ", ")
			if near := nearest.Name(key.Value, names); near != "" {
				advice = "did you mean " + near + "?"
			}
			d.fail(key, fmt.Sprintf("%s has no %q", what, key.Value), advice)
		case seen[key.Value]:
			d.fail(key, fmt.Sprintf("%s has two of %q", what, key.Value), "leave one of them out")
		default:
			set(value)
		}
		seen[key.Value] = true
	}
}

func (d *decoder) text(to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Value == "" {
			d.fail(n, "a text is expected here", "write it behind the colon")
			return
		}
		*to = n.Value
	}
}

// texts reads a list, or a single text for a list of one.
func (d *decoder) texts(to *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		items := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			items = n.Content
		}
		for _, item := range items {
			var text string
			d.text(&text)(item)
			*to = append(*to, text)
		}
	}
}

func (d *decoder) each(what string, do func(*yaml.Node)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			d.fail(n, what+" is no list", "begin each with -")
			return
		}
		for _, item := range n.Content {
			do(item)
		}
	}
}

func (d *decoder) lab(n *yaml.Node, lab *Lab) {
	d.mapping(n, "a lab", fields{
		"id": d.text(&lab.ID),
		"minutes": func(n *yaml.Node) {
			minutes, err := strconv.Atoi(n.Value)
			if err != nil || minutes < 1 || minutes > 60 {
				d.fail(n, "minutes is no number from 1 to 60", "say how long a newcomer needs")
			}
			lab.Minutes = minutes
		},
		"requires": d.requirements(&lab.Requires),
		"roles": func(n *yaml.Node) {
			if n.Kind != yaml.MappingNode {
				d.fail(n, "roles is no mapping", "write NAME: container:NAME")
				return
			}
			for i := 0; i+1 < len(n.Content); i += 2 {
				role := n.Content[i+1]
				if role.Value != "" && !selector().MatchString(role.Value) {
					d.fail(role, fmt.Sprintf("%q selects no process", role.Value), `use container:NAME, sandbox:NAME, supervisor:NAME, pod:POD/CONTAINER, sandbox:pod/POD, or "" for one that the learner names`)
				}
				lab.Roles[n.Content[i].Value] = role.Value
			}
		},
		"steps": d.each("steps", func(n *yaml.Node) {
			var s Step
			d.step(n, &s)
			if lab.Step(s.ID) >= 0 {
				d.fail(n, fmt.Sprintf("there are two steps %q", s.ID), "give one another id")
			}
			lab.Steps = append(lab.Steps, s)
		}),
		"invariants": func(n *yaml.Node) {
			if n.Kind != yaml.MappingNode {
				d.fail(n, "invariants is no mapping", "write NAME: and its checks below")
				return
			}
			for i := 0; i+1 < len(n.Content); i += 2 {
				one := Invariant{Name: n.Content[i].Value}
				d.each(one.Name, func(n *yaml.Node) { one.Checks = append(one.Checks, d.check(n, "hint")) })(n.Content[i+1])
				lab.Invariants = append(lab.Invariants, one)
			}
		},
		"wrong": d.each("wrong", func(n *yaml.Node) {
			var w Wrong
			d.mapping(n, "a mistake", fields{"step": d.text(&w.Step), "type": d.commands(&w.Type), "hint": d.text(&w.Hint)})
			if w.Step == "" || w.Hint == "" || len(w.Type) == 0 {
				d.fail(n, "a mistake needs step, type and hint", "add what is missing")
			}
			lab.Wrong = append(lab.Wrong, w)
		}),
	})
}

// lazily is a pattern that is compiled when a lab is read, and not at the start of every command.
func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

var (
	selector    = lazily(`^((container|supervisor):[A-Za-z0-9_.-]+|sandbox:(pod/)?[A-Za-z0-9_.-]+|pod:[a-z0-9.-]+/[a-z0-9.-]+)$`)
	requirement = lazily(`^(kernel|userns|proc|subuid|newuidmap|overlay|tun|cgroup|command:[a-z0-9-]+)$`)
	stepName    = lazily(`^[a-z][a-z0-9-]*$`)
)

func (d *decoder) requirements(to *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d.texts(to)(n)
		for _, r := range *to {
			if !requirement().MatchString(r) {
				d.fail(n, fmt.Sprintf("nobody can tell whether this machine has %q", r), "name a check of minipod doctor, or command:PROGRAM")
			}
		}
	}
}

// commands reads a block of lines, each of which is typed.
func (d *decoder) commands(to *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		for line := range strings.Lines(n.Value) {
			if line = strings.TrimSpace(line); line != "" {
				*to = append(*to, line)
			}
		}
	}
}

func (d *decoder) step(n *yaml.Node, s *Step) {
	mode := "level"
	d.mapping(n, "a step", fields{
		"id":       d.text(&s.ID),
		"mode":     d.text(&mode),
		"requires": d.requirements(&s.Requires),
		"ask": func(n *yaml.Node) {
			s.Ask = &Ask{Kind: "text"}
			d.mapping(n, "ask", fields{"name": d.text(&s.Ask.Name), "kind": d.text(&s.Ask.Kind), "choices": d.texts(&s.Ask.Choices), "removes": d.text(&s.Ask.Removes)})
			if !slices.Contains([]string{"pid", "choice", "number", "text"}, s.Ask.Kind) {
				d.fail(n, fmt.Sprintf("nobody answers with a %q", s.Ask.Kind), "use pid, choice, number or text")
			}
			if s.Ask.Name == "" {
				s.Ask.Name = s.ID
			}
			if _, err := path.Match(s.Ask.Removes, ""); err != nil || s.Ask.Removes != "" && !path.IsAbs(s.Ask.Removes) {
				d.fail(n, fmt.Sprintf("removes: %q is no pattern of paths from /", s.Ask.Removes), "write it as /dev/shm/note.*")
			}
			if (s.Ask.Kind == "choice") != (len(s.Ask.Choices) > 1) {
				d.fail(n, "choices are those of kind: choice, at least two", "add them")
			}
		},
		"checks": d.each("checks", func(n *yaml.Node) { s.Checks = append(s.Checks, d.check(n, "hint")) }),
		"diagnose": d.each("diagnose", func(n *yaml.Node) {
			c := d.check(n, "hint")
			if c.Hint == "" {
				d.fail(n, "a diagnosis without hint helps nobody", "name one")
			}
			s.Diagnose = append(s.Diagnose, Diagnosis{When: c, Hint: c.Hint})
		}),
	})
	switch mode {
	case "level", "edge":
		s.Edge = mode == "edge"
	default:
		d.fail(n, fmt.Sprintf("unknown mode %q", mode), "use level (true now) or edge (it happened)")
	}
	if !stepName().MatchString(s.ID) || s.ID == Intro || s.ID == Next {
		d.fail(n, fmt.Sprintf("%q can't be a step's id", s.ID), "use lower-case letters, digits and hyphens")
	}
	if len(s.Checks) == 0 {
		d.fail(n, "a step without checks can't fail", "add one")
	}
}

// check reads {KIND: {ARGUMENT: VALUE…}, hint: KEY}.
func (d *decoder) check(n *yaml.Node, hintKey string) Check {
	c := Check{Args: Args{}, line: n.Line}
	known := fields{hintKey: d.text(&c.Hint)}
	for name, kind := range kinds() {
		known[name] = func(n *yaml.Node) {
			if c.Kind != "" {
				d.fail(n, fmt.Sprintf("a check is one of %s and %s", c.Kind, name), "make two of it")
			}
			c.Kind = name
			arguments := fields{}
			for _, key := range kind.arguments() {
				arguments[key] = func(n *yaml.Node) {
					var values []string
					d.texts(&values)(n)
					c.Args[key] = values
				}
			}
			d.mapping(n, name, arguments)
			if err := kind.check(c.Args); err != nil {
				d.failAt(n.Line, name+": "+err.Error(), hint.Of(err))
			}
		}
	}
	d.mapping(n, "a check", known)
	if c.Kind == "" && len(d.errs) == 0 {
		d.fail(n, "a check without a kind", "see docs/labs.md for the kinds")
	}
	return c
}

// whole checks what only the whole file tells: that names which are used are there.
func (d *decoder) whole(lab *Lab) {
	if lab.ID == "" || len(lab.Steps) == 0 {
		d.failAt(1, "a lab needs an id and steps", "add what is missing")
	}
	asked := map[string]bool{}
	for _, s := range lab.Steps {
		if s.Ask != nil {
			asked[s.Ask.Name] = true
		}
	}
	var checks []Check
	for _, i := range lab.Invariants {
		checks = append(checks, i.Checks...)
	}
	for _, s := range lab.Steps {
		checks = append(checks, s.Checks...)
		for _, diagnosis := range s.Diagnose {
			checks = append(checks, diagnosis.When)
		}
	}
	for _, c := range checks {
		for _, key := range []string{"of", "with", "is", "beside", "by", "shows"} {
			for _, role := range c.Args[key] {
				if _, ok := lab.Roles[role]; !ok && role != Host && !asked[role] && kinds()[c.Kind].roles(c.Kind, key) {
					d.failAt(c.line, fmt.Sprintf("nobody plays the role %q", role), "add it to roles:, ask for it, or use "+Host)
				}
			}
		}
		name := c.Args.one("name")
		if c.Kind == "answer" && name != "" && !asked[name] {
			d.failAt(c.line, fmt.Sprintf("no step asks for %q", name), "add ask: to a step")
		}
		if answer, ok := strings.CutPrefix(name, "answer:"); strings.HasPrefix(c.Kind, "invariant.") {
			if one, _ := lab.invariant(name); ok && !asked[answer] || !ok && one == nil {
				d.failAt(c.line, fmt.Sprintf("there is no invariant %q", name), "add it to invariants:, or use answer:NAME")
			}
		}
	}
	for _, w := range lab.Wrong {
		i := lab.Step(w.Step)
		if i < 0 {
			d.failAt(1, fmt.Sprintf("a mistake is in step %q, which is none", w.Step), "name a step")
			continue
		}
		builtIn := w.Hint == OtherCommand && slices.ContainsFunc(lab.Steps[i].Checks, func(c Check) bool { return c.Kind == "proc.args" })
		if !builtIn && !slices.Contains(lab.Steps[i].hints(), w.Hint) {
			d.failAt(1, fmt.Sprintf("a mistake in step %s must get the hint %q, which no check of it has", w.Step, w.Hint), "give a check or diagnosis that hint")
		}
	}
}

// Package flags reads a command line the way docker's users type it, and holds `minipod run`'s.
//
// A verb's flags are a table. Parse reads arguments by it; the CLI renders the same table as help and completion. The
// parser exists beside urfave/cli because `run` must start within a few milliseconds, before heavy packages come alive,
// and because docker mixes flags as getopt does, which the std parser does not:
//
//	run -it --rm -eA=1 -v=/a:/b --init=false alpine sh -c 'exit 3'
//	     │  │    │     │        │            └─ the first word that is no flag: it and all the rest aren't ours
//	     │  │    │     │        └ a boolean takes its value after "=" only
//	     │  │    │     └ "=" is allowed after a short flag too
//	     │  │    └ a short flag's value may stick to it
//	     │  └ a long flag
//	     └ booleans in a cluster
package flags

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/nearest"
)

// Kind says which values a flag takes.
type Kind int

const (
	Bool     Kind = iota // nothing, or =true, =false and what else strconv.ParseBool knows
	String               // a value; the last one given counts
	Strings              // a value each time; all count
	Int                  // a decimal number, perhaps negative
	Optional             // nothing, or =value; never the next word
)

// Flag is one entry of a verb's table.
type Flag struct {
	Name    string // --Name
	Alias   string // another long name, for docker's old ones
	Short   string // -Short, one ASCII letter, or ""
	Kind    Kind
	Value   string // the placeholder of its value in the help
	Default string // what holds without it, where that isn't nothing
	Usage   string // a line for the help
}

// Setting is one flag as it was given. Value is "true" or "false" for a Bool and "" for an Optional without a value.
type Setting struct {
	Flag  *Flag
	Value string
}

// ErrHelp is Parse's answer to --help, and to -h in a table without an -h of its own.
var ErrHelp = errors.New("help was asked for")

// Parse splits arguments into settings, in their order, and what follows them: it stops at the first word that is no
// flag, and behind "--". The errors read like docker's; that of an unknown flag has the nearest one as its hint.
func Parse(table []Flag, arguments []string) (settings []Setting, rest []string, err error) {
	p := parser{table: table, rest: arguments}
	for len(p.rest) > 0 {
		word := p.rest[0]
		if len(word) < 2 || word[0] != '-' {
			break
		}
		p.rest = p.rest[1:]
		if word == "--" {
			break
		}
		if name, long := strings.CutPrefix(word, "--"); long {
			err = p.long(name)
		} else {
			err = p.cluster(word)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return p.settings, p.rest, nil
}

type parser struct {
	table    []Flag
	settings []Setting
	rest     []string
}

func (p *parser) long(word string) error {
	name, value, hasValue := strings.Cut(word, "=")
	flag := find(p.table, func(f *Flag) bool { return name != "" && (f.Name == name || f.Alias == name) })
	if flag == nil {
		return p.unknown(name)
	}
	return p.add(flag, "--"+name, value, hasValue)
}

// cluster reads "-it", "-eA=1", "-e=A=1" and "-ite A=1": letters up to the first that takes a value.
func (p *parser) cluster(word string) error {
	letters := word[1:]
	for letters != "" {
		letter, width := utf8.DecodeRuneInString(letters)
		short := letters[:width]
		letters = letters[width:]
		flag := find(p.table, func(f *Flag) bool { return f.Short == short })
		switch {
		case flag == nil && letter == 'h':
			return ErrHelp
		case flag == nil:
			err := fmt.Errorf("unknown shorthand flag: %q in %s", letter, word)
			if find(p.table, func(f *Flag) bool { return f.Name == word[1:] }) != nil {
				return hint.Wrap(err, "did you mean -"+word+"?")
			}
			return err
		}
		value, hasValue := strings.CutPrefix(letters, "=")
		if takesWord := flag.Kind != Bool && flag.Kind != Optional; takesWord && letters != "" {
			hasValue = true
		}
		if !hasValue {
			value = ""
		}
		if err := p.add(flag, "-"+short, value, hasValue); err != nil {
			return err
		}
		if hasValue {
			return nil
		}
	}
	return nil
}

// add records flag, which was spelt as shown, taking the next word for its value where it needs one and has none.
func (p *parser) add(flag *Flag, spelt, value string, hasValue bool) error {
	switch flag.Kind {
	case Bool:
		truth := true
		if hasValue {
			var err error
			if truth, err = strconv.ParseBool(value); err != nil {
				return hint.Wrap(fmt.Errorf("invalid value %q for %s: it is either true or false", value, spelt), "write "+spelt+" or "+spelt+"=false")
			}
		}
		value = strconv.FormatBool(truth)
	case String, Strings, Int:
		if !hasValue && len(p.rest) == 0 {
			return fmt.Errorf("flag needs an argument: %s", spelt)
		}
		if !hasValue {
			value, p.rest = p.rest[0], p.rest[1:]
		}
		if _, err := strconv.Atoi(value); flag.Kind == Int && err != nil {
			return fmt.Errorf("invalid value %q for %s: it must be a number", value, spelt)
		}
	}
	p.settings = append(p.settings, Setting{flag, value})
	return nil
}

func (p *parser) unknown(name string) error {
	if name == "help" {
		return ErrHelp
	}
	known := make([]string, 0, len(p.table))
	for i := range p.table {
		known = append(known, p.table[i].Name)
	}
	err := fmt.Errorf("unknown flag: --%s", name)
	if near := nearest.Name(name, known); near != "" {
		return hint.Wrap(err, "did you mean --"+near+"?")
	}
	return err
}

func find(table []Flag, matches func(*Flag) bool) *Flag {
	for i := range table {
		if matches(&table[i]) {
			return &table[i]
		}
	}
	return nil
}

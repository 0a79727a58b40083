// Package lang is the language that a person reads: of the labs, of what --explain tells, of doctor and of the drawings (ns --tree, ps --tree, cgroups).
// Everything else that minipod says, and all that programs read, is English.
package lang

import (
	"fmt"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
)

// A Lang is a language by its ISO 639 code.
type Lang string

// The languages that there are texts in. English comes first, and is what everybody else gets.
const (
	English Lang = "en"
	Chinese Lang = "zh"
)

// All are the languages.
func All() []Lang { return []Lang{English, Chinese} }

// Parse reads what somebody typed: "zh", or a locale as "zh_CN.UTF-8".
func Parse(text string) (Lang, error) {
	code := strings.ToLower(text)
	if i := strings.IndexAny(code, "_-.@"); i >= 0 {
		code = code[:i]
	}
	for _, l := range All() {
		if code == string(l) {
			return l, nil
		}
	}
	return "", hint.Wrap(fmt.Errorf("there are no texts in %q", text), "use en or zh")
}

// Find is what the environment asks for: MINIPOD_LANG, else the locale as setlocale(3) finds that of messages. A language that we don't have
// is English. getenv is os.Getenv but for tests.
func Find(getenv func(string) string) Lang {
	for _, name := range [...]string{"MINIPOD_LANG", "LC_ALL", "LC_MESSAGES", "LANG"} {
		if value := getenv(name); value != "" {
			if l, err := Parse(value); err == nil {
				return l
			}
			return English
		}
	}
	return English
}

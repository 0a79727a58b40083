package view

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Printable returns text as it may be shown on a terminal: what would move the cursor, hide or reorder what stands around
// it is written as Go writes it, \x1b or \u202e.
func Printable(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case !unicode.IsPrint(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteString(text[i : i+size])
		}
		i += size
	}
	return b.String()
}

// Width is the number of columns that text takes on a terminal.
func Width(text string) int { return uniseg.StringWidth(text) }

// Cut shortens text to at most width columns; an ellipsis shows where it was cut.
func Cut(text string, width int) string {
	if Width(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	end, used, state := 0, 0, -1
	for rest := text; rest != ""; {
		var cluster string
		var w int
		cluster, rest, w, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used+w > width-1 {
			break
		}
		end, used = end+len(cluster), used+w
	}
	return text[:end] + "…"
}

// pad fills text up with blanks to width columns.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-Width(text)))
}

// wrap puts words into lines of at most width columns; all but the first begin with as many blanks as head is wide.
func wrap(head string, words []string, separator string, width int) []string {
	indent := strings.Repeat(" ", Width(head))
	lines, line := []string{}, head
	for i, word := range words {
		switch {
		case i == 0:
			line += word
		case Width(line)+Width(separator)+Width(word) > width:
			lines, line = append(lines, line), indent+word
		default:
			line += separator + word
		}
	}
	return append(lines, line)
}

func (p *Process) text() string { return strconv.Itoa(p.PID) }

// Label is the process's command line, printable. Brackets mark the name of one that has none, a zombie, as in ps(1).
func (p *Process) Label() string {
	if len(p.Args) == 0 {
		return "[" + Printable(p.Name) + "]"
	}
	return Printable(strings.Join(p.Args, " "))
}

// short is the process in one or two words.
func (p *Process) short() string {
	switch {
	case p.Role == Supervisor && len(p.Args) > 1 && !strings.HasPrefix(p.Args[1], "-"):
		return "minipod " + Printable(p.Args[1])
	case p.Role == Supervisor:
		return "minipod run" // flags of minipod's own stand before the verb
	case p.Role == Sandbox:
		return "sandbox"
	case len(p.Args) == 0:
		return p.Label()
	}
	return Printable(path.Base(p.Args[0]))
}

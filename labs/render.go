package labs

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// A Style draws text for a terminal of that many columns, in colour or without.
type Style struct {
	Width  int
	Colour bool
}

// Width is the number of columns that text takes on a terminal.
func Width(text string) int { return uniseg.StringWidth(text) }

var escapes = lazily(`\x1b\[[0-9;]*m`)

// Rows is the number of rows that a line takes on a terminal of that many columns.
func Rows(line string, columns int) int {
	width := Width(escapes().ReplaceAllString(line, ""))
	if columns < 1 {
		return 1
	}
	return max(1, (width+columns-1)/columns)
}

// Narrower is the style for text that stands in from the margin.
func (s Style) Narrower(columns int) Style {
	s.Width -= columns
	return s
}

// The few things that are not plain.
const (
	plain     = "\x1b[0m"
	bold      = "\x1b[1m"
	dim       = "\x1b[2m"
	underline = "\x1b[4m"
	green     = "\x1b[32m"
	red       = "\x1b[31m"
	yellow    = "\x1b[33m"
	cyan      = "\x1b[36m"
)

func (s Style) paint(colour, text string) string {
	if !s.Colour || text == "" {
		return text
	}
	return colour + text + plain
}

// Bold, Dim, Good, Bad and Odd paint a word.
func (s Style) Bold(text string) string { return s.paint(bold, text) }
func (s Style) Dim(text string) string  { return s.paint(dim, text) }
func (s Style) Good(text string) string { return s.paint(green, text) }
func (s Style) Bad(text string) string  { return s.paint(red, text) }
func (s Style) Odd(text string) string  { return s.paint(yellow, text) }

var (
	listItem = lazily(`^(\s*(?:[-*]|\d+\.) +)(.*)$`)
	choice   = lazily(`^\*\*([a-z])\*\* (.*)$`) // of an answer
	link     = lazily(`\[([^\]]+)\]\(([^)]+)\)`)
)

// Markdown draws the part of Markdown that labs use: paragraphs, lists, quotes, blocks of code; code and bold in a line. Without colours it is text
// for a pager or a mail: of Markdown's marks only those around code in a line stay, where nothing else would tell what is to be typed.
func (s Style) Markdown(markdown string) string {
	var out strings.Builder
	paragraph, head := "", ""
	flush := func() {
		if paragraph != "" {
			for _, line := range s.inline(s.Wrap(head, paragraph)) {
				out.WriteString(line + "\n")
			}
		}
		paragraph, head = "", ""
	}
	fenced := false
	for line := range strings.Lines(markdown) {
		line = strings.TrimRight(line, "\n")
		item := listItem().FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "```"):
			flush()
			fenced = !fenced
		case fenced:
			out.WriteString("    " + s.paint(cyan, line) + "\n") // never wrapped: it is there to be copied
		case strings.TrimSpace(line) == "":
			flush()
			out.WriteString("\n")
		case item != nil:
			flush()
			head, paragraph = item[1], item[2]
			if letter := choice().FindStringSubmatch(paragraph); letter != nil && !s.Colour {
				paragraph = letter[1] + ") " + letter[2]
			}
		case strings.HasPrefix(line, "> "):
			if head != "│ " {
				flush()
			}
			head = "│ "
			paragraph = Join(paragraph, line[2:])
		default:
			paragraph = Join(paragraph, strings.TrimSpace(line))
		}
	}
	flush()
	return strings.Trim(squeeze().ReplaceAllString(out.String(), "\n\n"), "\n") + "\n"
}

var squeeze = lazily(`\n{3,}`)

// Join puts two lines of source into one. Between two characters of Chinese no blank belongs.
func Join(a, b string) string {
	if a == "" {
		return b
	}
	last, first := []rune(a), []rune(b)
	if len(first) > 0 && isWide(last[len(last)-1]) && isWide(first[0]) {
		return a + b
	}
	return a + " " + b
}

func isWide(r rune) bool { return r >= 0x2e80 && uniseg.StringWidth(string(r)) == 2 }

// A span is what is painted between two marks.
type span struct{ mark, colour string }

// inline paints `code`, **bold** and *emphasis* once lines are broken; a link shows its address. What is begun in a line goes on in the next.
// Without colours only the marks of code stay.
func (s Style) inline(lines []string) []string {
	spans := [...]span{{"`", cyan}, {"**", bold}, {"*", underline}}
	on := [len(spans)]bool{}
	const code = 0
	open := func() (text string) {
		for i := range spans {
			if on[i] {
				text += spans[i].colour
			}
		}
		return text
	}
	for n, line := range lines {
		line = link().ReplaceAllString(line, "$1 ($2)")
		var out strings.Builder
		if begun := open(); s.Colour && begun != "" {
			text := strings.TrimLeft(line, " ")
			out.WriteString(line[:len(line)-len(text)] + begun)
			line = text
		}
		for line != "" {
			which := slices.IndexFunc(spans[:], func(one span) bool { return strings.HasPrefix(line, one.mark) })
			if which < 0 || on[code] && which != code || which == 2 && !on[2] && (len(line) < 2 || line[1] == ' ') {
				_, size := utf8.DecodeRuneInString(line)
				out.WriteString(line[:size])
				line = line[size:]
				continue
			}
			on[which] = !on[which]
			switch {
			case s.Colour && on[which]:
				out.WriteString(spans[which].colour)
			case s.Colour:
				out.WriteString(plain + open())
			case which == code:
				out.WriteString(spans[which].mark)
			}
			line = line[len(spans[which].mark):]
		}
		if s.Colour && open() != "" {
			out.WriteString(plain)
		}
		lines[n] = out.String()
	}
	return lines
}

// Wrap breaks text into lines that fit the width; all but the first begin with as many blanks as head is wide. Chinese may be broken between
// any two characters, but a line begins with no closing mark and ends with no opening one.
func (s Style) Wrap(head, text string) []string {
	width := max(s.Width, 20)
	indent := strings.Repeat(" ", uniseg.StringWidth(head))
	if head == "│ " { // a quote's bar goes on
		indent = head
	}
	lines, line, used := []string{}, head, uniseg.StringWidth(head)
	begin := used
	for _, word := range pieces(text, min(longestWhole, width*2/3)) {
		visible := strings.TrimRight(word, " ")
		if w := uniseg.StringWidth(visible); used+w > width && used > begin {
			lines = append(lines, strings.TrimRight(line, " "))
			line, used = indent, begin
		}
		line += word
		used += uniseg.StringWidth(word)
	}
	return append(lines, strings.TrimRight(line, " "))
}

const (
	closing = "，。、；：？！）》」』】”’,.;:?!)…—"
	opening = "（《「『【“‘("
)

// longestWhole is how long code in a line may be that no line end comes into: it is there to be typed.
const longestWhole = 40

// pieces cuts text where a line may end: not in code that is no wider than whole. Blanks stay with what stands before them.
func pieces(text string, whole int) []string {
	var list []string
	piece := ""
	var before rune
	inCode, kept := false, false
	for i, r := range text {
		if r == '`' {
			inCode = !inCode
			code, _, closed := strings.Cut(text[i+1:], "`")
			kept = inCode && closed && uniseg.StringWidth(code) <= whole
		}
		begins := inCode && r == '`'
		breaks := before == ' ' && r != ' ' && (begins || !kept) ||
			!inCode && piece != "" && (isWide(before) || isWide(r)) && before != '`' && r != '`' && before != '*' && r != '*' ||
			before == '`' && !inCode && isWide(r)
		if breaks && (strings.ContainsRune(closing, r) || strings.ContainsRune(opening, before)) {
			breaks = false
		}
		if breaks && piece != "" {
			list = append(list, piece)
			piece = ""
		}
		piece += string(r)
		before = r
	}
	if piece != "" {
		list = append(list, piece)
	}
	return list
}

package print

import (
	"io"
	"strings"
	"unicode/utf8"
)

// A Table is what `get` prints, a row an object. Some columns are for -o wide alone.
type Table struct {
	Columns []Column
	Rows    [][]string // each as long as Columns
}

// A Column is one of a table's.
type Column struct {
	Title string
	Wide  bool // shown with -o wide only
}

func columns(titles ...string) []Column {
	list := make([]Column, len(titles))
	for i, title := range titles {
		list[i] = Column{Title: title}
	}
	return list
}

func wide(titles ...string) []Column {
	list := columns(titles...)
	for i := range list {
		list[i].Wide = true
	}
	return list
}

// Prepend puts a column before all others.
func (t *Table) Prepend(title string, cells []string) {
	t.Columns = append(columns(title), t.Columns...)
	for i, cell := range cells {
		t.Rows[i] = append([]string{cell}, t.Rows[i]...)
	}
}

// Append puts a column behind all others.
func (t *Table) Append(title string, cells []string) {
	t.Columns = append(t.Columns, Column{Title: title})
	for i, cell := range cells {
		t.Rows[i] = append(t.Rows[i], cell)
	}
}

// A Printer writes tables below each other. It remembers how wide its columns are: what comes later, with --watch, stands below
// what came before. The layout is kubectl's: three blanks between columns, none narrower than six.
type Printer struct {
	Wide, NoHeaders bool

	widths []int
	titled bool
}

const minimumWidth, padding = 6, 3

// Print writes t: its titles too, the first time.
func (p *Printer) Print(w io.Writer, t Table) error {
	var lines [][]string
	if !p.titled && !p.NoHeaders {
		lines = append(lines, t.shown(p.Wide, func(i int) string { return t.Columns[i].Title }))
	}
	p.titled = true
	for _, row := range t.Rows {
		lines = append(lines, t.shown(p.Wide, func(i int) string { return printable(row[i]) }))
	}
	for _, cells := range lines {
		for i, cell := range cells {
			if i == len(p.widths) {
				p.widths = append(p.widths, minimumWidth)
			}
			p.widths[i] = max(p.widths[i], utf8.RuneCountInString(cell)+padding)
		}
	}
	var text strings.Builder
	for _, cells := range lines {
		for i, cell := range cells {
			text.WriteString(cell)
			if i < len(cells)-1 {
				text.WriteString(strings.Repeat(" ", p.widths[i]-utf8.RuneCountInString(cell)))
			}
		}
		text.WriteByte('\n')
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (t Table) shown(wide bool, cell func(i int) string) []string {
	var cells []string
	for i, column := range t.Columns {
		if wide || !column.Wide {
			cells = append(cells, cell(i))
		}
	}
	return cells
}

// printable keeps a cell on its line, as kubectl does, and what an image or a program said from commanding the terminal.
func printable(cell string) string {
	if i := strings.IndexAny(cell, "\f\n\r"); i >= 0 {
		cell = cell[:i] + "..."
	}
	return visible(cell)
}

// visible is text without the characters that command a terminal.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || 0x7f <= r && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, text)
}

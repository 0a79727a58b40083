package cli

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/view"
)

// columnsOf is how wide the terminal is that w writes to; ok is false where it is none.
func columnsOf(w io.Writer) (columns int, ok bool) {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(f) {
		return 0, false
	}
	size, err := linux.WindowSizeOf(int(f.Fd()))
	return int(size.Columns), err == nil && size.Columns > 0
}

// fit prints the default table no wider than that many columns: a line that wraps can't be read as a row.
func (l listing[Row]) fit(w io.Writer, width int) error {
	t, err := parseTemplate(l.table)
	if err != nil {
		return err
	}
	var table [][]string
	for _, row := range append([]Row{l.header}, l.rows...) {
		var line bytes.Buffer
		if err := execute(&line, t, row); err != nil {
			return err
		}
		table = append(table, strings.Split(strings.TrimSuffix(line.String(), "\n"), "\t"))
	}
	fitted := fitTable(table, width, l.whole)
	tabs := tabwriter.NewWriter(w, 0, 8, tableGap, ' ', 0)
	for _, cells := range fitted {
		if _, err := io.WriteString(tabs, strings.Join(cells, "\t")+"\n"); err != nil {
			return err
		}
	}
	return tabs.Flush()
}

const (
	tableGap = 3  // blanks between two columns
	shortest = 10 // what a column is never cut below: enough of a name
)

// fitTable cuts what is widest, but for the columns that are to stay whole, until the table is no wider than width, or nothing is left to cut; an
// ellipsis shows where.
func fitTable(table [][]string, width int, whole []string) [][]string {
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, cell := range cells {
			widths[i] = max(widths[i], view.Width(cell))
		}
	}
	for excess := sum(widths) + tableGap*(len(widths)-1) - width; excess > 0; excess-- {
		widest := -1
		for i, title := range table[0] {
			if widths[i] > shortest && !slices.Contains(whole, title) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	var fitted [][]string
	for _, cells := range table {
		line := make([]string, len(cells))
		for i, cell := range cells {
			line[i] = view.Cut(cell, widths[i])
		}
		fitted = append(fitted, line)
	}
	return fitted
}

func sum(numbers []int) (n int) {
	for _, number := range numbers {
		n += number
	}
	return n
}

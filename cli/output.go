package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"

	urfave "github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"

	"codeberg.org/minipod/minipod/internal/hint"
)

// A listing prints the same rows in every form that a listing verb offers. Rows are structs of strings with docker's
// field names, so that docker's templates work: {{.Repository}}, {{.ID}}. The header is one more row, whose fields
// hold the column titles: "table {{.ID}}\t{{.Size}}" is run over it first and so finds its own titles.
type listing[Row any] struct {
	header  Row
	table   string             // the columns as a template, separated by \t
	wide    string             // those of -o wide
	rows    []Row              // what a person reads
	records any                // what a program reads: -o json and -o yaml
	name    func(r Row) string // the one word of -q
	fits    bool               // on a terminal the table is cut to its width, where the flags ask for no other form
	whole   []string           // the titles of columns that are not cut then
}

// outputFlags are the flags of every verb that lists something.
func outputFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print as `FORM`: table, wide, json or yaml"},
		&urfave.StringFlag{Name: "format", Usage: "print each row by a Go `TEMPLATE`; \"table TEMPLATE\" adds titles, \"json\" prints objects"},
	}
}

func quietFlag(usage string) urfave.Flag {
	return &urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: usage}
}

// print writes the listing as the flags of c ask.
func (l listing[Row]) print(w io.Writer, c *urfave.Context) error {
	output, format := c.String("output"), c.String("format")
	switch {
	case output != "" && format != "":
		return usageError(c, "--output and --format exclude each other")
	case c.Bool("quiet") && output == "" && format == "":
		for _, row := range l.rows {
			if _, err := fmt.Fprintln(w, l.name(row)); err != nil {
				return err
			}
		}
		return nil
	case output == "json" || output == "yaml":
		return printRecords(w, output, l.records)
	case output == "wide":
		format = "table " + l.wide
	case output == "table" || output == "" && (format == "" || format == "table"):
		if width, ok := columnsOf(w); ok && l.fits {
			return l.fit(w, width)
		}
		format = "table " + l.table
	case output != "":
		return usageError(c, fmt.Sprintf("unknown output form %q: use table, wide, json or yaml", output))
	}
	return l.format(w, format)
}

// format writes the rows by a template in docker's three spellings: "json", "table TEMPLATE" and "TEMPLATE".
func (l listing[Row]) format(w io.Writer, format string) error {
	if format == "json" {
		format = "{{json .}}"
	}
	text, titled := strings.CutPrefix(format, "table ")
	t, err := parseTemplate(text)
	if err != nil {
		return err
	}
	rows := l.rows
	if titled {
		tabs := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
		defer tabs.Flush()
		w, rows = tabs, append([]Row{l.header}, l.rows...)
	}
	for _, row := range rows {
		if err := execute(w, t, row); err != nil {
			return err
		}
	}
	return nil
}

// parseTemplate parses a --format, in which a shell passes \t and \n as two characters.
func parseTemplate(text string) (*template.Template, error) {
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	t, err := template.New("format").Funcs(template.FuncMap{
		"json":  encodeJSON,
		"join":  strings.Join,
		"split": strings.Split,
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"title": func(s string) string { return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):] },
		"println": func(v ...any) string {
			return fmt.Sprintln(v...)
		},
	}).Parse(text)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("parse the template: %w", err), "see docs/images.md for what a template may name")
	}
	return t, nil
}

// execute writes one row and its newline: whole, or nothing where the template names a field that is not there.
func execute(w io.Writer, t *template.Template, v any) error {
	var line bytes.Buffer
	if err := t.Execute(&line, v); err != nil {
		return hint.Wrap(fmt.Errorf("run the template: %w", err), "print --format json to see the names there are")
	}
	line.WriteByte('\n')
	_, err := w.Write(line.Bytes())
	return err
}

// printRecords writes v as indented JSON or as YAML.
func printRecords(w io.Writer, form string, v any) error {
	var printed bytes.Buffer
	e := json.NewEncoder(&printed)
	e.SetEscapeHTML(false) // <none> stays readable: this is no web page
	e.SetIndent("", "    ")
	err := e.Encode(v)
	text := printed.Bytes()
	if err == nil && form == "yaml" {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	_, err = w.Write(text)
	return err
}

// exitTemplate is docker's exit status where inspect and events can't read their template (EX_USAGE).
const exitTemplate = 64

// printInspect writes docker's `inspect`: a JSON array of all objects, or a line a template for each.
func printInspect[T any](w io.Writer, objects []T, format string) error {
	if format == "" {
		if objects == nil {
			objects = []T{} // "[]", not "null"
		}
		return printRecords(w, "json", objects)
	}
	if format == "json" {
		format = "{{json .}}"
	}
	t, err := parseTemplate(format)
	if err != nil {
		return hint.Exit(err, exitTemplate)
	}
	for _, o := range objects {
		err := execute(w, t, o)
		if err != nil && executeRaw(w, t, o) == nil { // docker's second try: the names that the JSON shows, such as {{.Id}}
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func executeRaw(w io.Writer, t *template.Template, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var raw any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&raw); err != nil {
		return err
	}
	return execute(w, t.Option("missingkey=error"), raw)
}

// encodeJSON is the template function json.
func encodeJSON(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

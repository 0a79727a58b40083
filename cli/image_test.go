package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
)

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"alpine", "alpine:3.20", true},
		{"alpine:3.20", "alpine:3.20", true},
		{"alpine:3.*", "alpine:3.20", true},
		{"alp*", "alpine", true},
		{"*", "alpine", true},
		{"*", "team/app", false}, // as in a shell, * is no /
		{"*/*", "team/app", true},
		{"registry.lan:5000/*", "registry.lan:5000/app:1", true},
		{"docker.io/library/alpine:latest", "alpine", true},
		{"alpine:3.20", "alpine:3.21", false},
		{"[", "alpine", false},
	} {
		name, err := reference.Parse(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := matches(c.pattern, name); got != c.want {
			t.Errorf("matches(%q, %q) = %t", c.pattern, c.name, got)
		}
	}
}

func TestImageRows(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	img := &store.Image{Created: now.Add(-21 * 24 * time.Hour)}
	record := imageRecord{
		ID: "sha256:6ec4f1c7ee90d56e62b6f65b386524c5", Size: 7792915, Os: "linux", Architecture: "arm", Variant: "v7",
		RepoDigests: []string{"alpine@sha256:16db"},
	}
	var names []reference.Reference
	for _, name := range []string{"alpine:3.20", "registry.lan:5000/base:1"} {
		r, err := reference.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, r)
	}
	rows := imageRows(img, record, names, now, false)
	want := []imageRow{
		{ID: "6ec4f1c7ee90", Repository: "alpine", Tag: "3.20", Digest: "sha256:16db"},
		{ID: "6ec4f1c7ee90", Repository: "registry.lan:5000/base", Tag: "1", Digest: "<none>"},
	}
	for i := range want {
		want[i].CreatedSince, want[i].CreatedAt = "3 weeks ago", img.Created.Local().Format("2006-01-02 15:04:05 -0700 MST")
		want[i].Size, want[i].VirtualSize, want[i].Platform = "7.79MB", "7.79MB", "linux/arm/v7"
		want[i].SharedSize, want[i].UniqueSize, want[i].Containers = "N/A", "N/A", "N/A"
	}
	if !slices.Equal(rows, want) {
		t.Errorf("rows %+v\nwant %+v", rows, want)
	}
	if rows := imageRows(img, record, nil, now, true); rows[0].Repository != "<none>" || rows[0].Tag != "<none>" || rows[0].ID != record.ID {
		t.Errorf("dangling: %+v", rows)
	}
}

func TestLabels(t *testing.T) {
	have := map[string]string{"tier": "db", "empty": ""}
	for _, c := range []struct {
		filter filters
		want   bool
	}{
		{filters{}, true},
		{filters{"label": {"tier"}}, true},
		{filters{"label": {"tier=db", "empty"}}, true},
		{filters{"label": {"tier=db", "nope"}}, false},
		{filters{"label": {"tier=web"}}, false},
		{filters{"label": {"empty="}}, true},
		{filters{"label!": {"tier"}}, false},
		{filters{"label!": {"tier=web"}}, true},
		{filters{"label": {"tier"}, "label!": {"tier=db"}}, false},
	} {
		if got := c.filter.labels(have); got != c.want {
			t.Errorf("%v: %t", c.filter, got)
		}
	}
}

// TestListing prints one listing in each form.
func TestListing(t *testing.T) {
	type rowOf struct{ Name, Size string }
	l := listing[rowOf]{
		header: rowOf{"NAME", "SIZE"}, table: `{{.Name}}\t{{.Size}}`, wide: `{{.Size}}\t{{.Name}}`,
		rows:    []rowOf{{"<none>", "1MB"}, {"b", "20MB"}},
		records: []map[string]int{{"a": 1}},
		name:    func(r rowOf) string { return r.Name },
	}
	for line, want := range map[string]string{
		"":                                 "NAME     SIZE\n<none>   1MB\nb        20MB\n",
		"-o|wide":                          "SIZE   NAME\n1MB    <none>\n20MB   b\n",
		"-q":                               "<none>\nb\n",
		"-o|json":                          "[\n    {\n        \"a\": 1\n    }\n]\n",
		"-o|yaml":                          "- a: 1\n",
		"--format|json":                    "{\"Name\":\"<none>\",\"Size\":\"1MB\"}\n{\"Name\":\"b\",\"Size\":\"20MB\"}\n",
		"--format|table":                   "NAME     SIZE\n<none>   1MB\nb        20MB\n",
		"--format|{{.Size}}":               "1MB\n20MB\n",
		`--format|{{.Size}}\t{{.Name}}`:    "1MB\t<none>\n20MB\tb\n",
		`--format|{{upper}}`:               "error",
		`--format|{{json .Name}}`:          "\"<none>\"\n\"b\"\n",
		"-o|json|--format|{{.Name}}":       "error",
		"-o|text":                          "error",
		"--quiet|--format|{{lower .Size}}": "1mb\n20mb\n",
	} {
		var out bytes.Buffer
		app := &urfave.App{
			Name: "x", Flags: append(outputFlags(), quietFlag("")), Writer: &out,
			Action: func(c *urfave.Context) error { return l.print(&out, c) },
		}
		err := app.Run(append([]string{"x"}, strings.FieldsFunc(line, func(r rune) bool { return r == '|' })...))
		if got := out.String(); err == nil && got != want || err != nil && (want != "error" || got != "") {
			t.Errorf("%s: %q, %v\nwant %q", line, got, err, want)
		}
	}
}

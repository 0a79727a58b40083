package labs_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/labs"
)

var stamp = flag.Bool("stamp", false, "write the stamps of the English sections into the translations, once they say the same")

// TestTranslations: in each language a lab has the same sections, parts and commands, and each section was looked at since the English one changed.
func TestTranslations(t *testing.T) {
	all, err := labs.Load(labs.Content())
	if err != nil {
		t.Fatal(err)
	}
	for _, lab := range all {
		english := lab.Texts[lang.English]
		for _, language := range lang.All()[1:] {
			name := fmt.Sprintf("content/%s-%s/%s.md", lab.ID, lab.Name, language)
			if *stamp {
				stampFile(t, name, english)
				continue
			}
			for i := range english.Sections {
				want, got := &english.Sections[i], &lab.Texts[language].Sections[i]
				if !slices.Equal(got.AllCommands(), want.AllCommands()) {
					t.Errorf("%s: section %s has other commands than the English one:\n%q\n%q", name, want.Anchor, got.AllCommands(), want.AllCommands())
				}
				for part := range want.Parts {
					if got.Parts[part] == "" {
						t.Errorf("%s: section %s has no %s", name, want.Anchor, part)
					}
				}
				if len(got.Parts) != len(want.Parts) {
					t.Errorf("%s: section %s has %d parts, the English one %d", name, want.Anchor, len(got.Parts), len(want.Parts))
				}
				if got.Hash != want.Stamp() {
					t.Errorf("%s: section %s is a translation of an older text: compare it with en.md, then write <!-- en %s --> below its heading (or all at once: go test ./labs -run TestTranslations -stamp)",
						name, want.Anchor, want.Stamp())
				}
			}
		}
	}
}

func stampFile(t *testing.T, name string, english *labs.Text) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	next := 0
	fenced := false
	for _, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if !fenced && strings.HasPrefix(line, "<!-- en ") {
			continue
		}
		out = append(out, line)
		if !fenced && (strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "## ")) {
			out = append(out, "<!-- en "+english.Sections[next].Stamp()+" -->")
			next++
		}
	}
	if err := os.WriteFile(name, []byte(strings.Join(out, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestAnchors: each place in the code that a lab names is there, in that file, and each that the code offers is named by a lab.
func TestAnchors(t *testing.T) {
	all, err := labs.Load(labs.Content())
	if err != nil {
		t.Fatal(err)
	}
	offered := map[string]string{} // by name: the file
	err = filepath.WalkDir("..", func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if _, anchor, ok := strings.Cut(line, "// LAB: "); ok && anchor != "" {
				anchor = strings.TrimSpace(anchor)
				file, _ := filepath.Rel("..", name)
				if other, twice := offered[anchor]; twice {
					t.Errorf("LAB: %s is in %s and in %s", anchor, other, file)
				}
				offered[anchor] = filepath.ToSlash(file)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, lab := range all {
		for language, text := range lab.Texts {
			references := labs.References(text)
			if len(references) == 0 {
				t.Errorf("lab %s in %s names no place in our own code", lab.ID, language)
			}
			for _, r := range references {
				named[r.Anchor] = true
				if offered[r.Anchor] != r.File {
					t.Errorf("lab %s in %s: LAB: %s is in %q, not in %s", lab.ID, language, r.Anchor, offered[r.Anchor], r.File)
				}
			}
		}
	}
	for anchor, file := range offered {
		if !named[anchor] {
			t.Errorf("%s: no lab names LAB: %s", file, anchor)
		}
	}
}

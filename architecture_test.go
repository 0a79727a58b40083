package main

import (
	"go/build"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const architecture = "docs/architecture.md"

// everywhere are ours that any package may import.
var everywhere = []string{"internal/hint", "internal/nearest"}

// A row is what docs/architecture.md says about a package.
type row struct {
	everything bool
	may        []string // import paths below the module; one with / at its end allows those below it
	early      bool     // starts before main in `minipod run`
}

func (r row) allows(pkg string) bool {
	return r.everything || slices.Contains(everywhere, pkg) || slices.ContainsFunc(r.may, func(may string) bool {
		return pkg == strings.TrimSuffix(may, "/") || strings.HasSuffix(may, "/") && strings.HasPrefix(pkg, may)
	})
}

// readArchitecture parses the table of packages.
func readArchitecture(t *testing.T) map[string]row {
	t.Helper()
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Packages\n")
	if !found {
		t.Fatalf("%s has no section Packages", architecture)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string]row{}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		r := row{early: strings.TrimSpace(cells[4]) == "early", everything: strings.TrimSpace(cells[3]) == "everything"}
		for i, part := range strings.Split(cells[3], "`") {
			if i%2 == 1 { // between backquotes
				r.may = append(r.may, part)
			}
		}
		rows[strings.Trim(strings.TrimSpace(cells[1]), "`")] = r
	}
	return rows
}

// ourImports parses the module's packages: the folder of each, and what of ours it imports, tests left out.
func ourImports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name == "scripts" || d.Name() == "testdata" || len(name) > 1 && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir // the scripts' little programs are no part of minipod
		}
		pkg, err := build.ImportDir(name, 0)
		if err != nil {
			return nil //nolint:nilerr // a folder without Go files
		}
		ours := []string{}
		for _, imported := range pkg.Imports {
			if imported, ok := strings.CutPrefix(imported, module+"/"); ok {
				ours = append(ours, imported)
			}
		}
		found[filepath.ToSlash(path.Clean(name))] = ours
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestArchitecture holds docs/architecture.md to the code, and the code to it.
func TestArchitecture(t *testing.T) {
	rows, packages := readArchitecture(t), ourImports(t)
	for pkg := range rows {
		if _, ok := packages[pkg]; !ok {
			t.Errorf("%s names the package %s, which does not exist", architecture, pkg)
		}
	}
	for pkg, imports := range packages {
		r, ok := rows[pkg]
		if !ok {
			t.Errorf("%s does not name the package %s: add its row, and say what it may import", architecture, pkg)
			continue
		}
		for _, imported := range imports {
			if !r.allows(imported) {
				t.Errorf("%s imports %s, which %s does not allow", pkg, imported, architecture)
			}
			if r.early && !rows[imported].early {
				t.Errorf("%s starts before main and imports %s, which may be heavy", pkg, imported)
			}
		}
	}
}

// TestEarlyPackages keeps the two lists of what starts before main the same.
func TestEarlyPackages(t *testing.T) {
	for pkg, r := range readArchitecture(t) {
		if r.early != slices.Contains(runPath, pkg) {
			t.Errorf("%s: early in %s: %t; in runPath of imports_test.go: %t", pkg, architecture, r.early, !r.early)
		}
	}
}

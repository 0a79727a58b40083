package lang

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestCatalogue: what is said somewhere has a Chinese text with the same values in it, and no text is left of what nobody says.
func TestCatalogue(t *testing.T) {
	call := regexp.MustCompile(`(?:language|Language|language\(\)|\bm)\.[sS]ay\(("(?:[^"\\]|\\.)*")|because\(("(?:[^"\\]|\\.)*")`)
	quoted := regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	said, words := map[string]bool{}, map[string]bool{}
	for _, folder := range []string{"../../cli", "../../cli/flags", "../../cli/run", "../../doctor", "../../view"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(folder, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range call.FindAllStringSubmatch(string(source), -1) {
				said[unquote(t, match[1]+match[2])] = true
			}
			for _, literal := range quoted.FindAllString(string(source), -1) {
				if text, err := strconv.Unquote(literal); err == nil { // else it is a piece of something else
					words[text] = true
				}
			}
		}
	}
	if len(said) < 80 {
		t.Fatalf("only %d sentences were found", len(said))
	}
	values := regexp.MustCompile(`%(?:\[(\d)\])?[-+0-9.]*([a-z])`)
	for format := range said {
		text := chinese(format)
		if text == "" {
			t.Errorf("there is no Chinese for %q", format)
		}
		if got, want := values.FindAllStringSubmatch(text, -1), values.FindAllStringSubmatch(format, -1); len(got) != len(want) {
			t.Errorf("%q has other values than %q", text, format)
		}
	}
	for _, name := range []string{"words.go", "words_doctor.go"} {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile(`(?m)^\tcase (.*):$`).FindAllStringSubmatch(string(source), -1) {
			for _, literal := range quoted.FindAllString(line[1], -1) {
				if key := unquote(t, literal); !said[key] && !words[key] {
					t.Errorf("%s: nobody says %q", name, key)
				}
			}
		}
	}
}

func unquote(t *testing.T, literal string) string {
	t.Helper()
	text, err := strconv.Unquote(literal)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSay(t *testing.T) {
	for _, tt := range []struct {
		language Lang
		got      string
		want     string
	}{
		{English, English.Say("cpu %s", "of 1"), "cpu of 1"},
		{"", Lang("").Say("cpu %s", "of 1"), "cpu of 1"},
		{Chinese, Chinese.Say("of %s (%s µs in each %s µs)", "0.5", "5", "10"), "上限 0.5（每 10 µs 里 5 µs）"},
		{Chinese, Chinese.Say("what nobody translated: %d", 1), "what nobody translated: 1"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.language, tt.got, tt.want)
		}
	}
	if slices.Contains(All(), "") {
		t.Error("no language is one")
	}
}

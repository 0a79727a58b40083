package labs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestJudged: each format that the judge says has a Chinese one with the same values in it, and no translation is left of what nobody says.
func TestJudged(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`\bj\.say\(("(?:[^"\\]|\\.)*")`)
	quoted := regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	said, words := map[string]bool{}, map[string]bool{}
	unquote := func(literal string) string {
		text, err := strconv.Unquote(literal)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "words") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range call.FindAllStringSubmatch(string(source), -1) {
			said[unquote(match[1])] = true
		}
		for _, literal := range quoted.FindAllString(string(source), -1) {
			words[unquote(literal)] = true
		}
	}
	for format := range said {
		chinese, ok := judged[format]
		if !ok {
			t.Errorf("there is no Chinese for %q", format)
		}
		if got, want := valuesIn(chinese), valuesIn(format); !slices.Equal(got, want) {
			t.Errorf("%q has the values %q, %q has %q", chinese, got, format, want)
		}
	}
	docker := []string{"created", "paused", "whiteout", "file", "folder", "nothing"} // what others say
	for _, text := range Judged() {
		if !said[text] && !words[text] && !slices.Contains(docker, text) {
			t.Errorf("nobody says %q", text)
		}
	}
}

// valuesIn are the verbs of a format in the order of their arguments.
func valuesIn(format string) []string {
	var verbs []string
	for _, match := range regexp.MustCompile(`%(?:\[(\d)\])?([a-z])`).FindAllStringSubmatch(format, -1) {
		n := len(verbs)
		if match[1] != "" {
			n, _ = strconv.Atoi(match[1])
			n--
		}
		for len(verbs) <= n {
			verbs = append(verbs, "")
		}
		verbs[n] = match[2]
	}
	return verbs
}

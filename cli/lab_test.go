package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/labs"
)

// TestSaid: each sentence that `lab` says has a Chinese one with the same values in it, and no translation is left of a sentence that is gone.
func TestSaid(t *testing.T) {
	files, err := filepath.Glob("lab*.go")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	call := regexp.MustCompile(`k\.say\(("(?:[^"\\]|\\.)*")`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range call.FindAllStringSubmatch(string(source), -1) {
			format, err := strconv.Unquote(match[1])
			if err != nil {
				t.Fatal(err)
			}
			said[format] = true
		}
	}
	verbs := regexp.MustCompile(`%[-0-9]*[a-z]`)
	positions := regexp.MustCompile(`%\[\d\]`)
	for format := range said {
		chinese := labs.Translate(lang.Chinese, format)
		if chinese == format {
			t.Errorf("there is no Chinese for %q", format)
		}
		if got, want := verbs.FindAllString(positions.ReplaceAllString(chinese, "%"), -1), verbs.FindAllString(format, -1); strings.Join(got, " ") != strings.Join(want, " ") && !sameSet(got, want) {
			t.Errorf("%q has other values than %q", chinese, format)
		}
	}
	for _, format := range labs.Translated() {
		if !said[format] {
			t.Errorf("nobody says %q", format)
		}
	}
}

func sameSet(a, b []string) bool {
	return len(a) == len(b) && strings.Join(a, "") == strings.Join(b, "")
}

// TestLabTyped: what a person who mistypes sees.
func TestLabTyped(t *testing.T) {
	home(t)
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	t.Setenv("MINIPOD_LANG", "en")
	for _, c := range []struct{ line, out, err string }{
		{"lab check", "", "minipod: no lab is started\nhint: start one: minipod lab start 01"},
		{"lab start 77", "", "minipod: there is no lab \"77\"\nhint: see which there are: minipod lab list"},
		{"lab start just-a-procces", "", "hint: did you mean just-a-process?"},
		{"lab list --lang fr", "", "minipod: --lang: there are no texts in \"fr\"\nhint: use en or zh"},
		{"lab chekc", "", "hint: run `minipod lab check`, if you meant that"},
		{"lab reset", "", "minipod: no lab is started"},
		{"lab start", "", "requires exactly 1 argument, got 0"},
		{"lab start ７７", "", "minipod: there is no lab \"77\""},
		{"apply web.yaml", "", "\"minipod apply\" requires no arguments, got 1\nhint: name the manifest by its flag: minipod apply -f web.yaml"},
	} {
		out, err, status := typed(t, strings.Fields(c.line)...)
		if status == 0 || !strings.Contains(out, c.out) || !strings.Contains(err, c.err) {
			t.Errorf("%s: status %d\n%s%s", c.line, status, out, err)
		}
	}
	for _, c := range []struct{ line, err string }{
		{"lab check --lang zh", "minipod: 还没有开始任何实验\n提示：先开始一个：minipod lab start 01"},
		{"lab start 77 --lang zh", "minipod: 没有实验 \"77\"\n提示：看看有哪些"},
	} {
		if _, err, status := typed(t, strings.Fields(c.line)...); status == 0 || !strings.Contains(err, c.err) {
			t.Errorf("%s: status %d\n%s", c.line, status, err)
		}
	}
	t.Setenv("MINIPOD_LANG", "zh")
	if _, err, status := typed(t, "lab", "anser"); status != 125 || err != "minipod: 没有这个命令：minipod lab anser\n提示：你想输入的是 `minipod lab answer` 吗？\n" {
		t.Errorf("status %d\n%s", status, err)
	}
	t.Setenv("MINIPOD_LANG", "en")
	file := filepath.Join(os.Getenv("XDG_STATE_HOME"), "minipod", "labs", "progress.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	at := func(steps string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(`{"version": 1, "current": "15", "labs": {"15": {"steps": {`+steps+`}}}}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ steps, line, out, err string }{
		{`"pod": {"skipped": true}, "mark": {"skipped": true}`, "lab answer d --lang zh", "", `没有选项 "d"` + "\n提示：请在 a、b、c 中选一个"},
		{`"pod": {"skipped": true}, "mark": {"skipped": true}`, "lab answer ｂ", "your answer: b", ""},
		{`"pod": {"skipped": true}, "mark": {"skipped": true}`, "lab answer “b”", "your answer: b", ""},
		{`"pod": {"skipped": true}, "mark": {"skipped": true}, "swap": {"skipped": true}`, "lab answer one", "", `"one" is no number`},
		{`"pod": {"skipped": true}, "mark": {"skipped": true}, "swap": {"skipped": true}`, "lab answer ２", "your answer: 2", ""},
		{`"pod": {"skipped": true}, "mark": {"skipped": true}`, "lab check", "Step 3 of 4: Another image for one\n✗ your answer\n    your answer: nothing yet; expected: an answer\n  │ Guess first: `minipod lab answer a`, `b` or `c`.\n  The rest is judged once you have answered.\n", ""}, // what is to be guessed is not told
		{"", "lab answer b", "", "this step asks nothing"},
		{"", "lab check", "There is no Pod `web` with a container `app` in this lab's world.", ""},
		{"", "lab check --lang zh", "app 和 side 的 net、ipc、uts 相同", ""},
	} {
		at(c.steps)
		if out, err, status := typed(t, strings.Fields(c.line)...); status == 0 || !strings.Contains(out, c.out) || !strings.Contains(err, c.err) {
			t.Errorf("%s: status %d\n%s%s", c.line, status, out, err)
		}
	}
	if err := os.WriteFile(file, []byte(`{"version": 9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err, status := typed(t, "lab", "status"); status == 0 || !strings.Contains(err, "is of version 9, and this minipod knows 1") {
		t.Errorf("a newer progress: %s", err)
	}
}

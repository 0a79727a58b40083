package labs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/labs"
)

const goodYAML = `id: "42"
roles: {box: "container:box"}
steps:
  - id: run
    checks:
      - proc.alive: {of: box}
        hint: no-box
wrong:
  - {step: run, type: "true", hint: no-box}
`

const goodText = "# T\nIntro.\n## Run {#run}\n```sh\ntrue\n```\n### hint: no-box\nh\n### nudge\nn\n### solution\n```sh\ntrue\n```\n## Next {#next}\nn\n"

func tree(yaml, text string) fstest.MapFS {
	return fstest.MapFS{
		"42-x/lab.yaml": {Data: []byte(yaml)}, "42-x/en.md": {Data: []byte(text)}, "42-x/zh.md": {Data: []byte(text)},
	}
}

// TestBroken: each mistake of who writes a lab is named with its line, and with what to do.
func TestBroken(t *testing.T) {
	if _, err := labs.Load(tree(goodYAML, goodText)); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for _, test := range []struct{ name, old, new, want, advice string }{
		{"key", "checks:", "chekcs:", `lab.yaml:5: a step has no "chekcs"`, "did you mean checks?"},
		{"kind", "proc.alive:", "proc.alife:", `lab.yaml:6: a check has no "proc.alife"`, "did you mean proc.alive?"},
		{"argument", "{of: box}", "{off: box}", `lab.yaml:6: proc.alive has no "off"`, "did you mean of?"},
		{"missing argument", "proc.alive: {of: box}", "proc.nspid: {of: box}", "lab.yaml:6: proc.nspid: depth is missing", "it takes of, depth"},
		{"number", "proc.alive: {of: box}", "proc.nspid: {of: box, depth: two}", `lab.yaml:6: proc.nspid: depth: "two" is no number`, "write one"},
		{"namespace", "proc.alive: {of: box}", "ns.same: {of: box, with: host, types: nett}", `"nett" is no namespace`, "use user, mnt"},
		{"nothing compared", "proc.alive: {of: box}", "proc.status: {of: box, field: Name}", "nothing is compared", "use one of want"},
		{"role", "{of: box}", "{of: bux}", `lab.yaml:6: nobody plays the role "bux"`, "add it to roles:"},
		{"selector", "container:box", "pgrep:box", `lab.yaml:2: "pgrep:box" selects no process`, "use container:NAME"},
		{"mode", "- id: run\n", "- id: run\n    mode: sometimes\n", `unknown mode "sometimes"`, "use level"},
		{"requires", "roles:", "requires: [luck]\nroles:", `"luck"`, "name a check of minipod doctor"},
		{"invariant", "proc.alive: {of: box}", "invariant.holds: {name: net}", `there is no invariant "net"`, "add it to invariants:"},
		{"invariant's role", "steps:", "invariants:\n  net:\n    - proc.alive: {of: bux}\nsteps:", `lab.yaml:5: nobody plays the role "bux"`, "add it to roles:"},
		{"twice", "    checks:", "    id: again\n    checks:", `a step has two of "id"`, "leave one"},
		{"no checks", "    checks:\n      - proc.alive: {of: box}\n        hint: no-box\n", "", "can't fail", "add one"},
		{"mistake's step", "{step: run,", "{step: ran,", `step "ran", which is none`, "name a step"},
		{"mistake's hint", `"true", hint: no-box`, `"true", hint: other`, `the hint "other", which no check of it has`, "give a check"},
		{"id", `"42"`, `"43"`, `id "43", and the folder says "42"`, "an id never changes"},
		{"answer", "proc.alive: {of: box}", "answer: {name: word}", `no step asks for "word"`, "add ask:"},
		{"choices", "    checks:", "    ask: {kind: choice}\n    checks:", "choices", "add them"},
		{"yaml", "roles:", "\troles:", "lab.yaml: yaml: line 2", ""},
		{"empty", goodYAML, "", "lab.yaml:0: the file is empty", "begin it with id:"},
	} {
		_, err := labs.Load(tree(strings.Replace(goodYAML, test.old, test.new, 1), goodText))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(hint.Of(err), test.advice) {
			t.Errorf("%s: %v (hint: %s), want %s (hint: %s)", test.name, err, hint.Of(err), test.want, test.advice)
		}
	}
	for _, test := range []struct{ name, old, new, want string }{
		{"section", "{#run}", "{#ran}", "the sections are intro ran next"},
		{"no anchor", "## Run {#run}", "## Run", "en.md:3: a heading without anchor"},
		{"hint", "### hint: no-box\nh\n", "", "no text for the hint no-box"},
		{"orphan", "### nudge\n", "### hint: stray\nx\n### nudge\n", "the hint stray, which no check"},
		{"nudge", "### nudge\nn\n", "", "step run has no nudge"},
		{"part", "### nudge", "### nuge", "no such part"},
		{"fence", "```sh\ntrue\n```\n### hint", "```sh\ntrue\n### hint", "that does not end"},
		{"title", "# T\n", "", "no title"},
	} {
		_, err := labs.Load(tree(goodYAML, strings.Replace(goodText, test.old, test.new, 1)))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}

func TestFindLab(t *testing.T) {
	for _, id := range []string{"07", "7", "pod-by-hand", "07-pod-by-hand"} {
		if l, err := labs.Find(labs.Content(), id); err != nil || l.ID != "07" {
			t.Errorf("%s: %v %v", id, l, err)
		}
	}
	if _, err := labs.Find(labs.Content(), "pod-by-hnad"); err == nil || !strings.Contains(hint.Of(err), "pod-by-hand") {
		t.Errorf("%v (hint: %s)", err, hint.Of(err))
	}
}

// TestMistakes: each lab lists at least two mistakes.
func TestMistakes(t *testing.T) {
	all, err := labs.Load(labs.Content())
	if err != nil {
		t.Fatal(err)
	}
	for _, lab := range all {
		if len(lab.Wrong) < 2 {
			t.Errorf("lab %s lists %d mistakes", lab.ID, len(lab.Wrong))
		}
	}
}

func TestWrap(t *testing.T) {
	s := labs.Style{Width: 20}
	for _, test := range []struct{ head, text, want string }{
		{"", "one two three four five", "one two three four|five"},
		{"- ", "one two three four five", "- one two three four|  five"},
		{"", "容器没有自己的内核，它的进程由你的内核启动。", "容器没有自己的内核，|它的进程由你的内核启|动。"},
		{"", "一二三四五六七八九十，十一", "一二三四五六七八九|十，十一"}, // no line begins with a comma
		{"", "运行 `minipod ps` 看看容器", "运行 `minipod ps` 看|看容器"},
		{"", "one two `minipod ps -a` three", "one two|`minipod ps -a`|three"}, // nor is code cut
		{"", "averyveryverylongwordthatfitsnowhere x", "averyveryverylongwordthatfitsnowhere|x"},
	} {
		lines := s.Wrap(test.head, test.text)
		if got := strings.Join(lines, "|"); got != test.want {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	source := "A **bold** `word`\nand 中文\n换行\n\n\n- item\n\n```sh\nls -l /a/very/long/path/that/is/never/broken\n```\n> quoted\n- **a** to be\n"
	plain := labs.Style{Width: 30}.Markdown(source)
	want := "A bold `word` and 中文换行\n\n- item\n\n    ls -l /a/very/long/path/that/is/never/broken\n│ quoted\n- a) to be\n"
	if plain != want {
		t.Errorf("%q, want %q", plain, want)
	}
	if coloured := (labs.Style{Width: 30, Colour: true}).Markdown(source); !strings.Contains(coloured, "\x1b[1mbold\x1b[0m") || strings.Contains(plain, "\x1b") {
		t.Errorf("%q", coloured)
	}
}

// TestSpans: what is painted goes on in the next line in its colour, and the indentation of a line is not painted; emphasis shows no asterisks.
func TestSpans(t *testing.T) {
	for _, test := range []struct {
		style        labs.Style
		source, want string
	}{
		{labs.Style{Width: 20, Colour: true}, "aaaa `bbbb cccc dddd eeee` ffff gggg", "aaaa \x1b[36mbbbb cccc dddd\x1b[0m\n\x1b[36meeee\x1b[0m ffff gggg\n"},
		{labs.Style{Width: 20, Colour: true}, "**aaaa bbbb cccc dddd eeee** f", "\x1b[1maaaa bbbb cccc\x1b[0m\n\x1b[1mdddd eeee\x1b[0m f\n"},
		{labs.Style{Width: 20, Colour: true}, "- `aaaa bbbb cccc dddd eeee` f", "- \x1b[36maaaa bbbb cccc\x1b[0m\n  \x1b[36mdddd eeee\x1b[0m f\n"},
		{labs.Style{Width: 80}, "see *The Pods* and `127.*`, 2 * 3", "see The Pods and `127.*`, 2 * 3\n"},
		{labs.Style{Width: 80, Colour: true}, "**a `b` c**", "\x1b[1ma \x1b[36mb\x1b[0m\x1b[1m c\x1b[0m\n"},
	} {
		if got := test.style.Markdown(test.source); got != test.want {
			t.Errorf("%s: %q, want %q", test.source, got, test.want)
		}
	}
	for line, want := range map[string]int{"": 1, "abcd": 1, "abcde": 2, "\x1b[31mabcd\x1b[0m": 1, "容器里": 2} {
		if got := labs.Rows(line, 4); got != want {
			t.Errorf("%q takes %d rows, want %d", line, got, want)
		}
	}
}

func TestProgress(t *testing.T) {
	home := labs.Home{Dir: filepath.Join(t.TempDir(), "a", "labs")}
	file := filepath.Join(home.Dir, "progress.json")
	change := func() error {
		return home.Change(func(p *labs.Progress) error {
			p.Current = "07"
			p.Lab("07").Step("join").Skipped = true
			return nil
		})
	}
	if err := change(); err != nil {
		t.Fatal(err)
	}
	p, err := home.ReadProgress()
	if err != nil || p.Current != "07" || !p.Labs["07"].Steps["join"].Over() {
		t.Errorf("%+v %v", p, err)
	}
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"version": 1, "current": "99", "labs": {"99": {"steps": {"x": {"skipped": true}}}, "98": null}}`) // of another minipod
	if err := change(); err != nil {
		t.Fatal(err)
	}
	if p, err = home.ReadProgress(); err != nil || !p.Labs["99"].Steps["x"].Over() {
		t.Errorf("a lab that we don't know was lost: %+v %v", p, err)
	}
	for text, want := range map[string]string{`{"version": 2}`: "is of version 2", `{`: "unexpected end"} {
		write(text)
		if err := change(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(hint.Of(err), "mv "+file) {
			t.Errorf("%s: %v (hint: %s)", text, err, hint.Of(err))
		}
		if data, err := os.ReadFile(file); err != nil || string(data) != text {
			t.Errorf("%s was changed to %s (%v)", text, data, err)
		}
	}
	write(`{"version": 1}`)
	refused := errors.New("no")
	if err := home.Change(func(*labs.Progress) error { return refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
}

func TestTranslate(t *testing.T) {
	if got := labs.Translate(lang.Chinese, "Step %d is done."); got != "第 %d 步完成。" {
		t.Error(got)
	}
	if got := labs.Translate(lang.English, "Step %d is done."); got != "Step %d is done." {
		t.Error(got)
	}
}

package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"codeberg.org/minipod/minipod/internal/hint"
)

// TestErrors compares what Decode says about wrong files with what it said before.
func TestErrors(t *testing.T) {
	const name = "testdata/errors.txtar"
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]string{}
	for _, file := range archive.Files {
		wanted[file.Name] = string(file.Data)
	}
	written := txtar.Archive{Comment: archive.Comment}
	for _, file := range archive.Files {
		story, ok := strings.CutSuffix(file.Name, ".yaml")
		if !ok {
			continue
		}
		got := said(file.Data)
		written.Files = append(written.Files, file, txtar.File{Name: story + ".want", Data: []byte(got)})
		if want := wanted[story+".want"]; got != want && !*update {
			t.Errorf("%s:\n%s\nwant:\n%s", story, got, want)
		}
	}
	if *update {
		if err := os.WriteFile(name, txtar.Format(&written), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func said(data []byte) string {
	objects, err := Decode(bytes.NewReader(data), "x.yaml")
	if err == nil {
		return fmt.Sprintf("no error, %d objects\n", len(objects))
	}
	text := err.Error() + "\n"
	if advice := hint.Of(err); advice != "" {
		text += "hint: " + advice + "\n"
	}
	return text
}

// TestErrorsAreTyped: who calls can tell an invalid object from an unreadable one, and has what was right beside what was wrong.
func TestErrorsAreTyped(t *testing.T) {
	objects, err := Decode(strings.NewReader("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: bad}\n"), "x")
	var invalid *Invalid
	if !errors.As(err, &invalid) || invalid.Name != "bad" || len(invalid.Errors) != 1 {
		t.Errorf("the error is %#v", err)
	}
	if len(objects) != 1 || objects[0].Name != "good" || objects[0].Source != "x: document 1" {
		t.Errorf("the objects are %v", objects)
	}
	_, err = Decode(failing{}, "x")
	if !errors.Is(err, errFailing) || err.Error() != "read x: it fails" {
		t.Errorf("a reader that fails: %v", err)
	}
}

var errFailing = errors.New("it fails")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }

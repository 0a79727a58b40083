package manifest

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	v1 "k8s.io/api/core/v1"
)

// TestExamples reads what people copy from the documentation: it is taken, or what is missing is named.
func TestExamples(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/examples.txtar")
	if err != nil {
		t.Fatal(err)
	}
	pods := 0
	for _, file := range archive.Files {
		t.Run(file.Name, func(t *testing.T) {
			objects, err := Decode(bytes.NewReader(file.Data), file.Name)
			var got []string
			for _, o := range objects {
				got = append(got, o.Warnings...)
			}
			if want := comments(file.Data, "# warning: "); !slices.Equal(sorted(got), sorted(want)) {
				t.Errorf("warnings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			wrong := ""
			if err != nil {
				_, wrong, _ = strings.Cut(err.Error(), ": ")
			}
			if want := strings.Join(comments(file.Data, "# error: "), "\n"); wrong != want {
				t.Fatalf("error:\n%s\nwant:\n%s", wrong, want)
			}
			for _, o := range objects {
				if o.Kind == "Pod" {
					pods++
					roundTrips(t, o)
				}
			}
		})
	}
	if pods < 40 {
		t.Errorf("%d pods were taken: where are the others?", pods)
	}
}

func sorted(lines []string) []string { return slices.Sorted(slices.Values(lines)) }

func comments(data []byte, prefix string) (found []string) {
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(strings.TrimLeft(line, " "), prefix); ok {
			found = append(found, strings.TrimSuffix(text, "\n"))
		}
	}
	return found
}

// roundTrips holds Export to Decode: what is exported is taken without a word, and is the same pod.
func roundTrips(t *testing.T, o *Object) {
	t.Helper()
	text, err := Export(o.Pod)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(bytes.NewReader(text), "exported")
	if err != nil {
		t.Fatalf("what was exported is refused: %v\n%s", err, text)
	}
	was, now := asJSON(t, o.Pod), asJSON(t, again[0].Pod)
	if was != now {
		t.Errorf("exported and read again:\n%s\nwas:\n%s", now, was)
	}
	if strings.Contains(string(text), "creationTimestamp") || strings.Contains(string(text), "status:") || strings.Contains(string(text), "terminationMessagePath: /dev/termination-log") {
		t.Errorf("noise:\n%s", text)
	}
	live, err := Live(o.JSON, o.Pod, nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(live) != string(o.JSON) {
		t.Errorf("live without a status:\n%s\nwas applied as:\n%s", live, o.JSON)
	}
	var p v1.Pod
	if err := strict(document{}, o.JSON, "Pod", &p); err != nil {
		t.Errorf("the object is not a v1.Pod: %v", err)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

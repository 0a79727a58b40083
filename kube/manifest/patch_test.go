package manifest

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const someConfig = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"default"},"data":{"x":"1","y":"1"}}`

func kept(t *testing.T, text string) []byte {
	t.Helper()
	found, err := Decode(strings.NewReader(text), "kept")
	if err != nil {
		t.Fatal(err)
	}
	if err := found[0].Created("1234", time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	return found[0].JSON
}

// What a person changes holds, and so does what another changed while that person's editor was open.
func TestEditMeanwhile(t *testing.T) {
	before := kept(t, someConfig)
	p, err := ReadPatch(Merge, []byte(`{"data":{"y":"2","z":"2"}}`))
	if err != nil {
		t.Fatal(err)
	}
	meanwhile, changed, err := p.Apply("ConfigMap", before)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	edited := strings.Replace(string(before), `"x":"1"`, `"x":"3"`, 1)
	o, changed, err := Edit("ConfigMap", before, []byte(edited), meanwhile.JSON)
	if err != nil || !changed || !strings.Contains(string(o.JSON), `"data":{"x":"3","y":"2","z":"2"}`) {
		t.Errorf("%v, %v, %s", changed, err, o.JSON)
	}
	for text, want := range map[string]string{
		strings.Replace(edited, `"ConfigMap"`, `"Secret"`, 1): "apiVersion and kind can't be changed",
		strings.Replace(edited, `"a"`, `"b"`, 1):              "the name and the namespace of an object can't be changed",
		"- a":                                                 "it is not an object",
		"{a":                                                  "error parsing YAML",
	} {
		if _, _, err := Edit("ConfigMap", before, []byte(text), meanwhile.JSON); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestReplaceVersion(t *testing.T) {
	before := kept(t, someConfig)
	for text, want := range map[string]error{
		someConfig: nil,
		strings.Replace(someConfig, `"name":"a"`, `"name":"a","resourceVersion":"1"`, 1): nil,
		strings.Replace(someConfig, `"name":"a"`, `"name":"a","resourceVersion":"7"`, 1): ErrConflict,
	} {
		found, err := Decode(strings.NewReader(text), "file")
		if err != nil {
			t.Fatal(err)
		}
		if changed, err := found[0].Replace(before); changed || !errors.Is(err, want) {
			t.Errorf("%s: %v, %v", text, changed, err)
		}
	}
}

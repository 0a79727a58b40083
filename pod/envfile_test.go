package pod

import (
	"strings"
	"testing"
)

func TestEnvOf(t *testing.T) {
	const file = "# a comment\n\n A='one'\nB='two\nlines'  # and more\r\nEMPTY= 'no'\nC='x=y $A'\n"
	for key, want := range map[string]string{"A": "one", "B": "two\nlines", "EMPTY": "", "C": "x=y $A", "D": ""} {
		if got, err := envOf(file, key); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", key, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"A":             "line 1: missing '='",
		"A='1'\n='2'":   "line 2: empty variable name",
		"A ='1'":        "line 1: whitespace before '=' is not allowed",
		"A=1":           "line 1: value must be enclosed in single quotes",
		"A='1\n2\n":     "line 1: unclosed single quote",
		"A='1\n2'\nB=3": "line 3: value must be enclosed in single quotes",
		"A='1'2":        "line 1: unexpected content after closing quote",
	} {
		if _, err := envOf(text, "Z"); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
}

func TestFileKeyRef(t *testing.T) {
	yes := true
	o := objects{files: map[string]string{"v/a.env": "A='1'"}}
	for _, tt := range []struct {
		ref   FileRef
		value string
		found bool
		err   string
	}{
		{FileRef{VolumeName: "v", Path: "a.env", Key: "A"}, "1", true, ""},
		{FileRef{VolumeName: "v", Path: "a.env", Key: "B"}, "", false, `environment variable key "B" not found in file "a.env"`},
		{FileRef{VolumeName: "v", Path: "a.env", Key: "B", Optional: &yes}, "", false, ""},
		{FileRef{VolumeName: "v", Path: "none", Key: "A"}, "", false, "couldn't read env file: none: file does not exist"},
		{FileRef{VolumeName: "v", Path: "none", Key: "A", Optional: &yes}, "", false, ""},
	} {
		value, found, err := tt.ref.value(o)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if value != tt.value || found != tt.found || said != tt.err {
			t.Errorf("%+v: %q, %v, %q", tt.ref, value, found, said)
		}
	}
}

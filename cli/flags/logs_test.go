package flags

import (
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
)

func TestLogFlags(t *testing.T) {
	for line, want := range map[string]Log{
		"":                        {},
		"--log-driver json-file":  {},
		"--log-driver=none":       {None: true},
		"--log-opt max-size=10m":  {MaxSize: 10_000_000},
		"--log-opt max-size=-1":   {},
		"--log-opt max-size=1.5k": {MaxSize: 1500},
		"--log-opt max-size=2GB --log-opt max-file=3":                   {MaxSize: 2_000_000_000, MaxFile: 3},
		"--log-opt max-size=7 --log-opt max-size=100B":                  {MaxSize: 100},
		"--log-driver none --log-driver json-file --log-opt=max-file=1": {MaxFile: 1},
	} {
		if got := parse(t, line+" img").Log; got != want {
			t.Errorf("%s: %+v, want %+v", line, got, want)
		}
	}
	for _, c := range []struct{ line, err, hint string }{
		{"--log-driver syslog", `--log-driver: unknown value "syslog"`, "use json-file or none"},
		{"--log-opt max-size", `--log-opt: invalid option "max-size"`, "max-size=10m"},
		{"--log-opt max-sise=1", `--log-opt: unknown option "max-sise"`, "did you mean max-size?"},
		{"--log-opt compress=true", `--log-opt: unknown option "compress"`, "use max-size or max-file"},
		{"--log-opt max-size=0", `--log-opt: max-size: invalid size "0"`, "-1 for no limit"},
		{"--log-opt max-size=", `max-size: invalid size ""`, "write a number"},
		{"--log-opt max-size=1x", `max-size: invalid size "1x"`, "write a number"},
		{"--log-opt max-size=-2", `max-size: invalid size "-2"`, "write a number"},
		{"--log-opt max-size=9999999t", `max-size: invalid size "9999999t"`, "write a number"},
		{"--log-opt max-file=0", `--log-opt: max-file: invalid number "0"`, "1 to 1000"},
		{"--log-opt max-file=many", `--log-opt: max-file: invalid number "many"`, "1 to 1000"},
	} {
		_, err := ParseRun(append(strings.Fields(c.line), "img"))
		if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(hint.Of(err), c.hint) {
			t.Errorf("%s: %v with hint %q; want %s with %s", c.line, err, hint.Of(err), c.err, c.hint)
		}
	}
}

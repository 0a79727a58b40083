package flags

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
)

var testTable = []Flag{
	{Name: "env", Short: "e", Kind: Strings},
	{Name: "interactive", Short: "i", Kind: Bool},
	{Name: "tty", Short: "t", Kind: Bool},
	{Name: "rm", Kind: Bool},
	{Name: "network", Alias: "net", Kind: String},
	{Name: "score", Short: "s", Kind: Int},
	{Name: "explain", Short: "x", Kind: Optional},
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, settings, rest string }{
		{"", "", ""},
		{"alpine", "", "alpine"},
		{"-it alpine sh -c ls", "interactive=true tty=true", "alpine sh -c ls"},
		{"-it --rm -eA=1 -e B=2 -e=C=3 --env D=4 --env=E=5 img", "interactive=true tty=true rm=true env=A=1 env=B=2 env=C=3 env=D=4 env=E=5", "img"},
		{"-iteA=1 img", "interactive=true tty=true env=A=1", "img"},
		{"-ite A=1 img", "interactive=true tty=true env=A=1", "img"},
		{"-it=false img", "interactive=true tty=false", "img"},
		{"-e= img", "env=", "img"},
		{"--env= img", "env=", "img"},
		{"--rm=0 --rm=T img", "rm=false rm=true", "img"},
		{"--rm false img", "rm=true", "false img"}, // a boolean never takes the next word
		{"--net host --network=none img", "network=host network=none", "img"},
		{"--score -5 -s5 -s=6 img", "score=-5 score=5 score=6", "img"},
		{"--explain img", "explain=", "img"},
		{"--explain=json -x -x=text img", "explain=json explain= explain=text", "img"},
		{"-xi img", "explain= interactive=true", "img"},
		{"-i -- -t img", "interactive=true", "-t img"},
		{"-e -- img", "env=--", "img"},
		{"- img", "", "- img"},
	} {
		settings, rest, err := Parse(testTable, strings.Fields(c.in))
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		var got []string
		for _, s := range settings {
			got = append(got, s.Flag.Name+"="+s.Value)
		}
		if !slices.Equal(got, strings.Fields(c.settings)) || !slices.Equal(rest, strings.Fields(c.rest)) {
			t.Errorf("%q: settings %q, rest %q; want %q, %q", c.in, got, rest, c.settings, c.rest)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ in, err, hint string }{
		{"--evn A=1", "unknown flag: --evn", "did you mean --env?"},
		{"--detach", "unknown flag: --detach", ""},
		{"--=x", "unknown flag: --", ""},
		{"-itd", "unknown shorthand flag: 'd' in -itd", ""},
		{"-ié", "unknown shorthand flag: 'é' in -ié", ""},
		{"-env A=1", "", ""}, // -e with the value "nv"
		{"-rm", "unknown shorthand flag: 'r' in -rm", "did you mean --rm?"},
		{"-network", "unknown shorthand flag: 'n' in -network", "did you mean --network?"},
		{"-e", "flag needs an argument: -e", ""},
		{"--net", "flag needs an argument: --net", ""},
		{"--rm=perhaps", `invalid value "perhaps" for --rm: it is either true or false`, "write --rm or --rm=false"},
		{"-s=many", `invalid value "many" for -s: it must be a number`, ""},
	} {
		_, _, err := Parse(testTable, strings.Fields(c.in))
		if c.err == "" {
			if err != nil {
				t.Errorf("%q: %v", c.in, err)
			}
			continue
		}
		if err == nil || err.Error() != c.err || hint.Of(err) != c.hint {
			t.Errorf("%q: %v with hint %q; want %s with %q", c.in, err, hint.Of(err), c.err, c.hint)
		}
	}
	for _, in := range []string{"--help", "-i --help", "-ih", "-h"} {
		if _, _, err := Parse(testTable, strings.Fields(in)); !errors.Is(err, ErrHelp) {
			t.Errorf("%q: %v, want ErrHelp", in, err)
		}
	}
}

// FuzzParseRun holds what Parse promises of any words: it stops, and what it leaves is a tail of what it got.
func FuzzParseRun(f *testing.F) {
	f.Add("-it\x00--rm\x00-eA=1\x00alpine\x00sh")
	f.Add("--mount\x00type=bind,\"src=/a,b\",dst=/c,ro\x00-v\x00/a:/b:ro,z\x00--ulimit\x00nofile=1:2\x00img")
	f.Add("--tmpfs\x00/run:size=50%,mode=1777\x00--shm-size=64m\x00--add-host\x00a:::1\x00img")
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, "\x00")
		_, rest, err := Parse(RunFlags(), words)
		if err == nil && !slices.Equal(rest, words[len(words)-len(rest):]) {
			t.Fatalf("rest %q is no tail of %q", rest, words)
		}
		for _, name := range []string{"--env-file", "--label-file"} {
			if strings.Contains(line, name) {
				return // they read whatever file the fuzzer thinks of
			}
		}
		run, err := ParseRun(words)
		if err != nil {
			if run != nil || !errors.Is(err, ErrHelp) && hint.Of(err) == "" {
				t.Fatalf("%v has no hint, or comes with %v", err, run)
			}
			return
		}
		for _, m := range run.Mounts {
			if m.Target == "" || m.Target[0] != '/' || m.Target == "/" {
				t.Fatalf("mount target %q of %q", m.Target, words)
			}
		}
	})
}

package hint_test

import (
	"errors"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
)

func TestPrintCommandsNoTerminal(t *testing.T) {
	var out strings.Builder
	hint.Print(&out, hint.Wrap(errors.New("no \x1b[2Jcommand\u009b ü"), "run\r \x7fit"))
	if want := "minipod: no \uFFFD[2Jcommand\uFFFD ü\nhint: run\uFFFD \uFFFDit\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

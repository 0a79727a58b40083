package state_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
)

// TestAstray: who types in the wrong terminal is told so, and nobody else.
func TestAstray(t *testing.T) {
	dir := t.TempDir()
	labs := filepath.Join(dir, "minipod", "labs")
	if err := os.MkdirAll(state.World(labs, "02"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		open, root string
		unset      bool
		want       string
	}{
		{"02", "", true, "lab 02 is open, and MINIPOD_ROOT is not set here"},
		{"02", "", false, ""},
		{"02", state.World(labs, "02"), true, ""},
		{"02", state.World(labs, "01"), false, "lab 02 is open, and MINIPOD_ROOT here is that of lab 01: export MINIPOD_ROOT=" + state.World(labs, "02")},
		{"02", "/srv/mine", true, ""}, // which somebody chose
		{"", state.World(labs, "01"), false, "unset MINIPOD_ROOT"},
		{"", "", true, ""},
	} {
		if err := os.WriteFile(filepath.Join(labs, "progress.json"), []byte(`{"version": 1, "current": "`+test.open+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		env := map[string]string{"XDG_STATE_HOME": dir, "MINIPOD_ROOT": test.root}
		getenv := func(name string) string { return env[name] }
		got := state.Astray(getenv, test.unset)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%+v: %q", test, got)
		}
		err := state.CheckWorld(getenv)
		if gone := test.root == state.World(labs, "01"); gone != (err != nil) || gone && !strings.Contains(hint.Of(err), "unset MINIPOD_ROOT") {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

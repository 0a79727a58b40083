//go:build vm

// Package vmtest holds the tests that need a machine of their own: systemd, cgroup v2, a login, AppArmor. scripts/vm-test runs
// them there, as the user vagrant, in each of the machine's ways; see docs/vm.md.
//
// A test is a story in testdata (a script of rogpeppe/go-internal/testscript), and its folder says where it runs: all, or
// one way to log in (session, user), or one Debian (bookworm, trixie).
package vmtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain loads the image that every story runs into vagrant's own home, as people do, and calls it alpine.
func TestMain(m *testing.M) {
	loaded, err := exec.Command("minipod", "load", "-i", os.Getenv("ALPINE_ARCHIVE")).CombinedOutput()
	if err == nil {
		words := strings.Fields(string(loaded)) // the name or the ID comes last
		loaded, err = exec.Command("minipod", "tag", words[len(words)-1], "alpine").CombinedOutput()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "load alpine: %v: %s", err, loaded)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestScripts runs the stories of this machine, one after another. Beside testscript's own commands they have
//
//	minipod ARGUMENT…       runs it ("exec minipod" where it shall go on in the background)
//	exits STATUS COMMAND…   the command must end with this very status
//	until COMMAND…          repeats the command until it succeeds (! until: fails), for at most thirty seconds
//	heal CHECK              pastes into a shell what 'minipod doctor' prints as the fix of a check, by its title
//
// and vagrant's environment, with ALPINE_ARCHIVE, from which the image alpine was loaded, and NGINX_ARCHIVE.
func TestScripts(t *testing.T) {
	for _, folder := range append([]string{"all"}, strings.Fields(os.Getenv("MINIPOD_VM"))...) {
		dir := filepath.Join("testdata", folder)
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		t.Run(folder, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir: dir,
				Setup: func(env *testscript.Env) error {
					for _, name := range []string{"HOME", "USER", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "ALPINE_ARCHIVE", "NGINX_ARCHIVE"} {
						env.Setenv(name, os.Getenv(name))
					}
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){"minipod": minipod, "exits": exits, "until": until, "heal": heal},
			})
		})
	}
}

func minipod(ts *testscript.TestScript, neg bool, args []string) {
	switch err := ts.Exec("minipod", args...); {
	case err != nil && !neg:
		ts.Fatalf("minipod: %v", err)
	case err == nil && neg:
		ts.Fatalf("minipod succeeded")
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := ts.Exec(args[0], args[1:]...)
		if (err == nil) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not within thirty seconds: %s (%v)", strings.Join(args, " "), err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// heal gives the shell what doctor prints below "fix:", as a person would paste it.
func heal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: heal CHECK")
	}
	out, err := exec.Command("minipod", "doctor").Output()
	var found *exec.ExitError // its status where there is something to heal
	if err != nil && !errors.As(err, &found) {
		ts.Check(err)
	}
	_, section, _ := strings.Cut(string(out), " "+args[0]+"\n")
	_, fix, printed := strings.Cut(section, "  fix:\n")
	if !printed {
		ts.Fatalf("doctor has no fix for %s: %s", args[0], out)
	}
	for _, next := range []string{"\n\nWARN ", "\n\nFAIL "} {
		fix, _, _ = strings.Cut(fix, next)
	}
	ts.Check(ts.Exec("sh", "-exc", fix))
}

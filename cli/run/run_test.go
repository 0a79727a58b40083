package run

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/state"
)

func TestSamePlatform(t *testing.T) {
	for _, tt := range []struct {
		want, os, arch, variant string
		same                    bool
	}{
		{"linux/amd64", "linux", "amd64", "", true},
		{"linux/amd64", "linux", "arm64", "", false},
		{"windows/amd64", "linux", "amd64", "", false},
		{"amd64", "linux", "amd64", "", true},
		{"linux", "linux", "arm64", "v8", true},
		{"arm64", "linux", "amd64", "", false},
		{"linux/arm/v7", "linux", "arm", "v7", true},
		{"linux/arm/v6", "linux", "arm", "v7", false},
		{"linux/arm/v7", "linux", "arm", "", true}, // what the image does not say fits
		{"linux/arm", "linux", "arm", "v7", true},
	} {
		if got := samePlatform(tt.want, tt.os, tt.arch, tt.variant); got != tt.same {
			t.Errorf("samePlatform(%q, %s/%s/%s) = %v", tt.want, tt.os, tt.arch, tt.variant, got)
		}
	}
}

// TestTellText groups calls that differ in their arguments only.
func TestTellText(t *testing.T) {
	for _, tt := range []struct {
		event stage.Event
		want  string
	}{
		{
			stage.Event{Who: "sandbox", Step: "dev", Why: "devices", Micros: 1500, Calls: []stage.CallResult{
				{Call: "open_tree(a)", Result: "ok"},
				{Call: "open_tree(b)", Result: "ok"},
				{Call: "open_tree(c)", Result: "ok"},
				{Call: "open_tree(d)", Result: "denied"},
				{Call: "mount(x)", Result: "ok"},
				{Call: "open_tree(e)", Result: "ok"},
			}},
			"sandbox  dev                open_tree(a) = ok (and 2 more like it); open_tree(d) = denied; mount(x) = ok; open_tree(e) = ok  — devices (1.5ms)\n",
		},
		{stage.Event{Who: "minipod", Step: "clone", Why: "w"}, "minipod  clone                — w\n"},
		{stage.Event{Who: "sandbox", Step: "user", Why: "w", Error: "no user"}, "sandbox  user                FAILED: no user  — w\n"},
	} {
		var out bytes.Buffer
		tellText(&out, tt.event)
		if got := strings.Join(strings.Fields(out.String()), " "); got != strings.Join(strings.Fields(tt.want), " ") || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("got  %q\nwant %q", out.String(), tt.want)
		}
	}
}

// A runner is a run in a data folder of its own, with an image that wants volumes.
func runner(t *testing.T, volumes ...string) (*run, *runtime.Container) {
	t.Helper()
	wants := map[string]struct{}{}
	for _, v := range volumes {
		wants[v] = struct{}{}
	}
	dir := filepath.Join(t.TempDir(), "data")
	r := &run{
		Run: &flags.Run{}, dirs: state.Dirs{Data: dir, Run: dir, Config: dir},
		image: &store.Image{Config: ocispec.Image{Config: ocispec.ImageConfig{Volumes: wants}}},
	}
	c, err := runtime.Create(r.dirs, runtime.Record{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return r, c
}

// TestMounts puts parents first, lets the user's mounts go before the image's, and keeps the order of equals.
func TestMounts(t *testing.T) {
	r, c := runner(t, "/data/", "/var/lib/x", "/mine")
	dir := t.TempDir()
	r.Mounts = []flags.Mount{
		{Type: "bind", Source: dir, Target: "/a/b/c", Options: []string{"ro"}},
		{Type: "tmpfs", Target: "/a"},
		{Type: "bind", Source: dir, Target: "/mine"},
		{Type: "volume", Source: "named", Target: "/a/b"},
	}
	list, err := r.mounts(c)
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range list {
		targets = append(targets, strings.TrimSuffix(m.Destination, "/"))
		if m.Destination == "/a/b" && (m.Type != "bind" || m.Source != filepath.Join(r.dirs.Volumes(), "named", "_data")) {
			t.Errorf("the named volume is %+v", m)
		}
	}
	slices.SortStableFunc(targets[:3], strings.Compare) // the image's are in no order
	if want := []string{"/a", "/data", "/mine", "/a/b", "/a/b/c", "/var/lib/x"}; !slices.Equal(targets[:4], want[:4]) || !slices.Contains(targets, "/var/lib/x") || len(targets) != 6 {
		t.Errorf("%q, want %q", targets, want)
	}
	if !slices.Contains(c.Volumes, "named") || len(c.Volumes) != 3 {
		t.Errorf("the container's volumes are %q", c.Volumes)
	}
	for _, bad := range []flags.Mount{{Type: "bind", Source: filepath.Join(dir, "missing"), Target: "/x"}} {
		r, c := runner(t)
		r.Mounts = []flags.Mount{bad}
		if _, err := r.mounts(c); err == nil || hint.Of(err) == "" {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, bad := range []string{"relative", "/", "//", "/.."} {
		r, c := runner(t, bad)
		if _, err := r.mounts(c); err == nil {
			t.Errorf("the image's volume %q was taken", bad)
		}
	}
}

// TestFinish keeps what ran, whatever went wrong afterwards (a terminal that was closed), and nothing else.
func TestFinish(t *testing.T) {
	for _, ran := range []bool{true, false} {
		r, c := runner(t)
		if err := finish(r.dirs, r.uids, r.gids, c, ran, false); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(c.Dir); (err == nil) != ran {
			t.Errorf("ran=%v: %v", ran, err)
		}
	}
}

func TestRlimits(t *testing.T) {
	r, _ := runner(t)
	r.Ulimits = []flags.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}}
	if list, err := r.rlimits(); err != nil || len(list) != 1 || list[0].Type != "RLIMIT_NOFILE" || list[0].Hard != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	for _, bad := range []flags.Ulimit{{Name: "dreams"}, {Name: ""}} {
		r.Ulimits = []flags.Ulimit{bad}
		if _, err := r.rlimits(); err == nil || hint.Of(err) == "" {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestSignals: what is meant for the command is taken over before it runs, and waits.
func TestSignals(t *testing.T) {
	signals := listen()
	defer signal.Stop(signals)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGWINCH, syscall.SIGTSTP} {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		if got := <-signals; got != s {
			t.Errorf("%v arrived as %v", s, got)
		}
	}
	// A child of ours that ends is not for the command.
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-signals:
		t.Errorf("%v was taken over", s)
	default:
	}
}

// TestDiagnose adds a policy to the error only where it was clone(2) that failed.
func TestDiagnose(t *testing.T) {
	if err := diagnose(nil); err != nil {
		t.Error(err)
	}
	other := &linux.CallError{Call: "dup3", Err: syscall.EPERM}
	if err := diagnose(other); !errors.Is(err, other) || hint.Of(err) != "" {
		t.Errorf("%v with hint %q", err, hint.Of(err))
	}
	if err := diagnose(&linux.CallError{Call: "clone", Err: syscall.ENOSPC}); !errors.Is(err, syscall.ENOSPC) || hint.Of(err) == "" {
		t.Errorf("%v with hint %q", err, hint.Of(err))
	}
}

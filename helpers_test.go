package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// environment is what minipod runs with in a test: a home of its own, so that nothing of the machine's user is touched.
func environment(home string) []string {
	registry := os.Getenv("MINIPOD_REGISTRY")
	return []string{
		"HOME=" + home, "XDG_DATA_HOME=", "XDG_CONFIG_HOME=", "XDG_RUNTIME_DIR=", "MINIPOD_ROOT=",
		// The race detector would have each process take a second to end, and a supervisor tell nobody: see removeAll.
		"GORACE=atexit_sleep_ms=0 log_path=" + filepath.Join(home, raceLog),
		"REGISTRY=" + registry, "ALPINE=" + registry + "/library/alpine:3.20.3", "BUSYBOX=" + registry + "/library/busybox",
	}
}

const raceLog = "race"

func dataFolder(home string) string { return filepath.Join(home, ".local/share/minipod") }

// removeAll removes a test's home: first the containers that a failed test left running, and what belongs to subordinate ids, by
// minipod itself, then the rest.
func removeAll(home string) error {
	minipod := func(args ...string) ([]byte, error) {
		cmd := exec.Command("minipod", args...)
		cmd.Env = append(os.Environ(), environment(home)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return out, err
	}
	_, gone := minipod("delete", "pods", "--all", "--all-namespaces", "--grace-period=1")
	out, err := minipod("ps", "-aq", "--no-trunc")
	if ids := strings.Fields(string(out)); err == nil && len(ids) > 0 {
		_, err = minipod(append([]string{"rm", "-f"}, ids...)...)
	}
	_, pruned := minipod("image", "prune", "--all", "--force")
	err = errors.Join(gone, err, pruned)
	races, _ := filepath.Glob(filepath.Join(home, raceLog+".*"))
	for _, name := range races {
		text, e := os.ReadFile(name)
		err = errors.Join(err, e, errors.New(string(text)))
	}
	// overlay's work folder has mode 000; a failed test may have left one.
	_ = filepath.WalkDir(dataFolder(home), func(dir string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(dir, 0o700)
		}
		return nil
	})
	return errors.Join(err, os.RemoveAll(home))
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
	deadline := time.Now().Add(time.Minute)
	for {
		err := ts.Exec(args[0], args[1:]...)
		if (err == nil) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not within a minute: %s (%v)", strings.Join(args, " "), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// nothingLeft reports what a container or a half-done image left in the data folder.
func nothingLeft(home string) error {
	var left []string
	for _, pattern := range []string{"containers/[^.]*", "tmp/*", "layers/*tmp*", "layers/.*", "images/blobs/sha256/.*", "images/*tmp*", "images/.*tmp*"} {
		found, err := filepath.Glob(filepath.Join(dataFolder(home), pattern))
		if err != nil {
			return err
		}
		left = append(left, found...)
	}
	left = slices.DeleteFunc(left, func(name string) bool { return strings.HasSuffix(name, ".lock") })
	if len(left) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	return nil
}

// A census is what a command may leave behind: processes, mounts and files, by name.
type census map[string]bool

// takeCensus counts the descendants of this process (see adoptOrphans), the mounts of its namespace and the files in dirs.
// Namespaces need no count of their own: they live as long as a process or a mount that holds them.
func takeCensus(t *testing.T, dirs ...string) census {
	t.Helper()
	c := census{}
	for _, pid := range descendants(t) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		c[fmt.Sprintf("process %d %q", pid, bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}))] = true
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line) // proc(5): the id, the parent's, the device, the root, where; what follows may change
		c["mount "+f[0]+" on "+f[4]] = true
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil {
				c["file "+name] = true
				return nil
			}
			if errors.Is(err, fs.ErrPermission) { // a layer's folder that belongs to a subordinate id
				return fs.SkipDir
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// more lists what after has and c has not.
func (c census) more(after census) []string {
	var more []string
	for name := range after {
		if !c[name] {
			more = append(more, name)
		}
	}
	slices.Sort(more)
	return more
}

// settles waits for the machine to be as it was at c's time: the kernel takes a moment to end a namespace's last process.
func (c census) settles(t *testing.T, dirs ...string) {
	t.Helper()
	var more []string
	for range 3000 {
		if more = c.more(takeCensus(t, dirs...)); len(more) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("left behind after a minute:\n\t%s", strings.Join(more, "\n\t"))
}

// adoptOrphans makes this process the parent of its orphaned descendants, so that none escapes descendants.
func adoptOrphans(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
}

// descendants lists the living processes below this one. Adopted zombies are reaped: those of other pid namespaces, since what a test
// starts itself it waits for itself. One that exec put into a container would else keep the container's PID 1 from ending.
func descendants(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	parent, dead := map[int]int{}, map[int]bool{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // the command's name may hold anything
		parent[pid], _ = strconv.Atoi(f[1])
		dead[pid] = f[0] == "Z" || f[0] == "X"
	}
	var below []int
	for pid := range parent {
		for p := parent[pid]; p != 0; p = parent[p] {
			if p != os.Getpid() {
				continue
			}
			if !dead[pid] {
				below = append(below, pid)
			} else if parent[pid] == os.Getpid() && inOtherNamespace(pid) {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
			break
		}
	}
	slices.Sort(below)
	return below
}

// inOtherNamespace tells whether a process is in a pid namespace below ours.
func inOtherNamespace(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, found := strings.Cut(string(status), "\nNSpid:")
	numbers, _, _ := strings.Cut(rest, "\n")
	return err == nil && found && len(strings.Fields(numbers)) > 1
}

package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/minipod/minipod/runtime/stage"
)

func asFailure(err error, f **stage.Failure) bool { return errors.As(err, f) }
func isErr(err, target error) bool                { return errors.Is(err, target) }

// A census is what this process has: descendants, zombies among them, mounts, and descriptors, by name.
type census map[string]bool

func takeCensus(t *testing.T, dirs ...string) census {
	t.Helper()
	c := census{}
	for _, pid := range descendants(t) {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		c[fmt.Sprintf("process %d %q", pid, stat[:bytes.LastIndexByte(stat, ')')+1])] = true // what follows counts up
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		c["mount "+line] = true
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range fds {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil { // else it was the folder's own
			c["descriptor "+e.Name()+" "+to] = true
		}
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
			if filepath.Base(filepath.Dir(name)) != ".names" && isID(filepath.Base(name)) {
				c["container "+name] = true
			}
			return nil // one that is gone meanwhile is none
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// settles waits for the machine to be as it was at c's time. c was taken while no container existed.
func (c census) settles(t *testing.T, containers ...string) {
	t.Helper()
	var more []string
	for range 6000 {
		more = nil
		for name := range takeCensus(t, containers...) {
			if !c[name] {
				more = append(more, name)
			}
		}
		if len(more) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	slices.Sort(more)
	t.Errorf("left behind:\n\t%s", strings.Join(more, "\n\t"))
}

// adoptOrphans makes this process the parent of its orphaned descendants, so that none escapes a census.
func adoptOrphans(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
}

// reapOrphans waits for those of pids that are our children by adoption, and dead.
func reapOrphans(pids []int) {
	for _, pid := range pids {
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	}
}

// descendants lists the processes below this one, dead ones that nobody waited for included.
func descendants(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	parent := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // the name may hold anything
		parent[pid], _ = strconv.Atoi(fields[1])
	}
	var below []int
	for pid := range parent {
		for p := parent[pid]; p != 0; p = parent[p] {
			if p == os.Getpid() {
				below = append(below, pid)
				break
			}
		}
	}
	return below
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilled ends each of our processes with SIGKILL at moments from the first millisecond to a running container. Nothing
// may survive it, and the next command must work, and must have cleaned up.
func TestKilled(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	image := alpine()
	m.must("pull", image)
	m.must("run", "--rm", image, "true")

	moments := []time.Duration{0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 60, 300}
	for _, rank := range []int{0, 1, 2, 3} { // the CLI, its first descendant, and so on down to the command
		for _, moment := range moments {
			moment *= time.Millisecond
			t.Run(fmt.Sprintf("process %d after %v", rank, moment), func(t *testing.T) {
				before := takeCensus(t, m.home)
				cmd := m.command("run", "--rm", image, "sleep", "60")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(moment)
				killed := "nothing: there was no such process yet"
				if below := family(t, cmd.Process.Pid); rank < len(below) {
					killed = name(below[rank])
					_ = syscall.Kill(below[rank], syscall.SIGKILL)
				} else {
					_ = cmd.Process.Signal(syscall.SIGTERM)
				}
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait(); close(ended) }()
				select {
				case <-ended:
				case <-time.After(2 * time.Second): // it was newuidmap, say, that had done its work: the container runs
					_ = cmd.Process.Signal(syscall.SIGTERM)
				}
				select {
				case <-ended:
				case <-time.After(30 * time.Second): // its command would end by itself after sixty
					t.Errorf("half a minute after %s died, minipod still runs:\n%s", killed, strings.Join(names(family(t, cmd.Process.Pid)), "\n"))
					_ = cmd.Process.Kill()
					<-ended
				}
				// The next command works, and cleans up. Where its own sandbox started at the moment that it looked, the
				// one after it does: a clone holds our locks until its execve.
				for range 10 {
					if status, stdout, stderr := m.run("run", "--rm", image, "echo", "next"); status != 0 || stdout != "next\n" {
						t.Errorf("the next command after %s died: status %d\n%s", killed, status, stderr)
					}
					if nothingLeft(m.home) == nil {
						break
					}
					time.Sleep(20 * time.Millisecond)
				}
				before.settles(t, m.home)
			})
		}
	}
}

// TestKilledPull ends a pull with SIGKILL at many moments. The next pull must complete, and leave a store without remains.
func TestKilledPull(t *testing.T) {
	adoptOrphans(t)
	image := alpine()
	for _, moment := range []time.Duration{1, 5, 10, 20, 40, 60, 80, 120, 200, 300} {
		t.Run((moment * time.Millisecond).String(), func(t *testing.T) {
			m := newMachine(t)
			none := takeCensus(t)
			cmd := m.command("pull", image)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(moment * time.Millisecond)
			for _, pid := range family(t, cmd.Process.Pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			_ = cmd.Wait()
			none.settles(t)
			m.must("pull", image)
			if out := m.must("run", "--rm", "--pull", "never", image, "echo", "whole"); out != "whole\n" {
				t.Errorf("after a killed pull: %q", out)
			}
			if nothingLeft(m.home) != nil { // a record that was being written: prune knows it
				m.must("image", "prune", "--force")
			}
			if err := nothingLeft(m.home); err != nil {
				t.Error(err)
			}
		})
	}
}

// family is pid and its descendants, in the order of their start.
func family(t *testing.T, pid int) []int {
	t.Helper()
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, thread := range threads {
			children, err := os.ReadFile(thread)
			if err != nil {
				continue // it ended
			}
			for _, field := range strings.Fields(string(children)) {
				var child int
				if _, err := fmt.Sscan(field, &child); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

func name(pid int) string {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return fmt.Sprintf("%d (ended)", pid)
	}
	return fmt.Sprintf("%d %s", pid, bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}))
}

func names(pids []int) []string {
	var all []string
	for _, pid := range pids {
		all = append(all, name(pid))
	}
	return all
}

// TestPullsShareTheWork starts two pulls of one image at once: both succeed.
func TestPullsShareTheWork(t *testing.T) {
	m := newMachine(t)
	var pulls []*exec.Cmd
	for range 2 {
		cmd := m.command("pull", alpine())
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pulls = append(pulls, cmd)
	}
	for _, cmd := range pulls {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, cmd.Stdout)
		}
	}
	m.must("run", "--rm", "--pull", "never", alpine(), "true")
	if err := nothingLeft(m.home); err != nil {
		t.Error(err)
	}
}

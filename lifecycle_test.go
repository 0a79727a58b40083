package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
)

func (m *machine) dirs() state.Dirs {
	data := dataFolder(m.home)
	return state.Dirs{Data: data, Run: filepath.Join(data, "run"), Config: m.home}
}

func (m *machine) containers() []runtime.Record {
	m.t.Helper()
	list, err := runtime.List(m.dirs())
	if err != nil {
		m.t.Fatal(err)
	}
	return list
}

// racer is what a race's command prints and how it ends, within half a minute.
func (m *machine) racer(args ...string) (status int, output string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "minipod", args...)
	cmd.Env, cmd.WaitDelay = m.env, time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		m.t.Errorf("hangs: minipod %s", strings.Join(args, " "))
	}
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		m.t.Error(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestRaces has two random commands work on one container at once. Whatever each of them said, the state is consistent afterwards: what
// ps tells is so, no process is left of a container that does not run, its lock is free, and its name is its own.
//
// It takes twenty seconds, or as many rounds as $MINIPOD_RACES says.
func TestRaces(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("pull", alpine())
	m.must("run", "--rm", alpine(), "true")
	before := takeCensus(t)
	rounds, limit := 1_000_000, 20*time.Second
	if n, err := strconv.Atoi(os.Getenv("MINIPOD_RACES")); err == nil {
		rounds, limit = n, time.Hour
	}
	verbs := [][]string{
		{"start"},
		{"start"},
		{"start"},
		{"stop", "-t", "0"},
		{"stop"},
		{"restart", "-t", "0"},
		{"restart"},
		{"kill"},
		{"kill", "-s", "TERM"},
		{"rename", "", "one"},
		{"rename", "", "two"},
		{"rm"},
		{"rm", "-f"},
		{"exec", "", "true"},
		{"exec", "", "nosuch"},
		{"exec", "-d", "", "sleep", "60"},
		{"ps", "-a"},
		{"inspect"},
		{"update", "--restart", "on-failure"},
		{"update", "--restart", "no"},
		{"cp", ":/etc/passwd", "-"},
		{"run", "--rm", alpine(), "true"},
		{"wait"},
		{"start", "-a"},
	}
	seed := time.Now().UnixNano()
	random := rand.New(rand.NewPCG(uint64(seed), 0)) //nolint:gosec // no secret
	t.Logf("seed %d", seed)
	said := map[string]int{}
	var id string
	began, round := time.Now(), 0
	for ; round < rounds && time.Since(began) < limit && !t.Failed(); round++ {
		if !slices.ContainsFunc(m.containers(), func(r runtime.Record) bool { return r.ID == id }) {
			id = strings.TrimSpace(m.must("run", "-d", "--name", "one", alpine(), "sleep", "600"))
		}
		var pair [2][]string
		for i := range pair {
			pair[i] = command(verbs[random.IntN(len(verbs))], id)
		}
		if pair[0][0] == "wait" || pair[0][1] == "-a" && pair[0][0] == "start" { // what only waits has somebody to end it
			pair[1] = []string{"rm", "-f", id}
		}
		if pair[1][0] == "wait" || pair[1][1] == "-a" && pair[1][0] == "start" {
			pair[0] = []string{"kill", id}
			if random.IntN(2) == 0 {
				pair[0] = []string{"rm", "-f", id}
			}
		}
		m.race(pair, id, said)
		if problem := m.inconsistent(t, id); problem != "" {
			t.Errorf("round %d: after %q and %q: %s", round, pair[0], pair[1], problem)
		}
	}
	t.Logf("%d rounds in %v", round, time.Since(began).Round(time.Second))
	for text, n := range said {
		t.Logf("%4d times: %s", n, text)
	}
	for _, r := range m.containers() {
		m.must("rm", "-f", r.ID)
	}
	before.settles(t)
	if err := nothingLeft(m.home); err != nil {
		t.Error(err)
	}
}

func command(verb []string, id string) []string {
	words := slices.Clone(verb)
	for i, w := range words {
		if w == "" || strings.HasPrefix(w, ":") {
			words[i] = id + w
			return words
		}
	}
	if words[0] == "run" || words[0] == "ps" {
		return words
	}
	return append(words, id)
}

// race runs two commands at once, the second a little later at times. What only waits for the container's end is ended after a while.
func (m *machine) race(pair [2][]string, id string, said map[string]int) {
	var both sync.WaitGroup
	var mu sync.Mutex
	ended := make(chan struct{})
	for i, args := range pair {
		both.Go(func() {
			time.Sleep(time.Duration(i*rand.IntN(8)) * time.Millisecond) //nolint:gosec // no secret
			status, output := m.racer(args...)
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(output, "goroutine ") || status == 2 {
				m.t.Errorf("%q: %s", args, output)
			}
			if status != 0 && !strings.HasSuffix(args[len(args)-1], "nosuch") {
				said[fmt.Sprintf("%s: %d %s", args[0], status, regexp.MustCompile(`[0-9a-f]{12,64}`).ReplaceAllString(output, "ID"))]++
			}
		})
	}
	go func() { both.Wait(); close(ended) }()
	select {
	case <-ended:
		return
	case <-time.After(12 * time.Second): // a wait came after the kill, and a start in between
		m.racer("rm", "-f", id)
	}
	<-ended
}

// inconsistent says what is not so of what ps tells of the container, or "".
func (m *machine) inconsistent(t *testing.T, id string) (problem string) {
	for range 1000 { // a supervisor needs a moment after it has let go
		if problem = m.look(t, id); problem == "" {
			return ""
		}
		time.Sleep(20 * time.Millisecond)
	}
	return problem
}

func (m *machine) look(t *testing.T, id string) string {
	dir := filepath.Join(m.dirs().Containers(), id)
	list := m.containers()
	alive := map[string][]int{}
	for _, pid := range descendants(t) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		role, _, _ := strings.Cut(strings.TrimPrefix(string(cmdline), "minipod\x00"), "\x00")
		alive[role] = append(alive[role], pid)
	}
	names, err := os.ReadDir(filepath.Join(m.dirs().Containers(), ".names"))
	if err != nil {
		return err.Error()
	}
	names = slices.DeleteFunc(names, func(e os.DirEntry) bool { return e.Name() == ".lock" })
	if len(list) == 0 {
		if len(names) != 0 || len(alive["supervisor"])+len(alive["sandbox"])+len(alive["sleep"]) != 0 {
			return fmt.Sprintf("it is gone, and there are names %v, processes %v", names, alive)
		}
		if _, err := os.Stat(dir); err == nil {
			return "it is gone, and its folder is there"
		}
		return ""
	}
	r := list[0]
	owner, err := os.Readlink(filepath.Join(m.dirs().Containers(), ".names", r.Name))
	if len(list) != 1 || err != nil || owner != id || len(names) != 1 {
		return fmt.Sprintf("%d containers; its name %s is %s's (%v); all names: %v", len(list), r.Name, owner, err, names)
	}
	lock, err := state.TryLockThere(filepath.Join(dir, "lock"))
	if err == nil {
		lock.Unlock()
	}
	held := errors.Is(err, state.ErrLocked)
	if r.Status == runtime.StatusRunning {
		if !held || !slices.Contains(alive["sandbox"], r.PID) || !slices.Contains(alive["supervisor"], r.Supervisor) || len(alive["sandbox"]) != 1 {
			return fmt.Sprintf("it runs as %d under %d, held %v, and there are processes %v", r.PID, r.Supervisor, held, alive)
		}
		return ""
	}
	if held || len(alive["supervisor"])+len(alive["sandbox"])+len(alive["sleep"]) != 0 || r.Error != "" || r.Status != runtime.StatusExited && r.Status != runtime.StatusCreated {
		return fmt.Sprintf("it is %s (%s), held %v, and there are processes %v", r.Status, r.Error, held, alive)
	}
	return ""
}

// TestStorm starts many containers, and kills supervisors, PID 1s and commands that work with them, at random, by SIGKILL. The next
// command says what happened, ps tells the truth, rm -f removes all, and nothing is left. $MINIPOD_STORM says how many, else 20.
func TestStorm(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("pull", alpine())
	m.must("run", "--rm", alpine(), "true")
	before := takeCensus(t, m.home)
	count := 20
	if n, err := strconv.Atoi(os.Getenv("MINIPOD_STORM")); err == nil {
		count = n
	}
	seed := time.Now().UnixNano()
	random := rand.New(rand.NewPCG(uint64(seed), 0)) //nolint:gosec // no secret
	t.Logf("seed %d", seed)
	kinds := [][]string{nil, {"--rm"}, {"--restart", "always"}, nil}
	for i := range count {
		args := append([]string{"run", "-d", "--name", "c" + strconv.Itoa(i)}, kinds[i%len(kinds)]...)
		m.must(append(args, alpine(), "sleep", "600")...)
	}
	killed := map[string]string{} // by name: who
	var all sync.WaitGroup
	for _, r := range m.containers() {
		switch random.IntN(4) {
		case 0:
			killed[r.Name] = "supervisor"
			_ = syscall.Kill(r.Supervisor, syscall.SIGKILL)
		case 1:
			killed[r.Name] = "PID 1"
			_ = syscall.Kill(r.PID, syscall.SIGKILL)
		case 2: // commands that are killed at work, the supervisor with one of them
			killed[r.Name] = "commands"
			for _, args := range [][]string{{"exec", r.ID, "sleep", "60"}, {"restart", "-t", "0", r.ID}, {"stop", "-t", "0", r.ID}, {"start", r.ID}} {
				args, after := args, time.Duration(random.IntN(40))*time.Millisecond
				all.Go(func() {
					cmd := m.command(args...)
					var out bytes.Buffer
					cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 5*time.Second
					if err := cmd.Start(); err != nil {
						t.Error(err)
						return
					}
					time.Sleep(after)
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				})
			}
			if random.IntN(2) == 0 {
				_ = syscall.Kill(r.Supervisor, syscall.SIGKILL)
			}
		}
	}
	all.Wait()
	for name, who := range killed { // the kernel takes a moment
		for range 1000 {
			if who != "supervisor" || !m.held(name) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	status, stdout, stderr := m.run("run", "--rm", alpine(), "echo", "next")
	if status != 0 || stdout != "next\n" {
		t.Errorf("the next command: status %d\n%s", status, stderr)
	}
	states := map[string]string{}
	for line := range strings.Lines(m.must("ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}")) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		states[name] = rest
	}
	for i := range count {
		name, kind := "c"+strconv.Itoa(i), kinds[i%len(kinds)]
		removes := kind != nil && kind[0] == "--rm"
		got, there := states[name]
		want := "running"
		switch {
		case killed[name] == "commands": // whatever they got done
			continue
		case killed[name] != "" && removes:
			if there {
				t.Errorf("%s (--rm), whose %s was killed, is %s", name, killed[name], got)
			}
			continue
		case killed[name] == "supervisor":
			want = "exited Exited (137)"
			if !strings.Contains(stderr, name+" has ended: its supervisor was killed") {
				t.Errorf("nobody told of the end of %s", name)
			}
		case killed[name] == "PID 1" && kind == nil:
			want = "exited Exited (137)"
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s, whose %s was killed, is %q, want %s", name, killed[name], got, want)
		}
	}
	ids := strings.Fields(m.must("ps", "-aq"))
	m.must(append([]string{"rm", "-f"}, ids...)...)
	if err := nothingLeft(m.home); err != nil {
		t.Error(err)
	}
	before.settles(t, m.home)
}

// held tells whether somebody has the lock of the container.
func (m *machine) held(name string) bool {
	r, err := runtime.Find(m.dirs(), name)
	if err != nil {
		return false
	}
	lock, err := state.TryLockThere(filepath.Join(m.dirs().Containers(), r.ID, "lock"))
	if err == nil {
		lock.Unlock()
	}
	return errors.Is(err, state.ErrLocked)
}

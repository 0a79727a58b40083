package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tempDirs(t *testing.T) state.Dirs {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	return state.Dirs{Data: dir, Run: dir, Config: dir}
}

// TestRecord writes everything that a record holds, and reads it again.
func TestRecord(t *testing.T) {
	dirs := tempDirs(t)
	c, err := Create(dirs, Record{Name: "a", Image: "alpine", ImageID: "sha256:x", Command: []string{"sh", "-c", "\x00é"}, Volumes: []string{"v"}, Labels: map[string]string{"a": "b"}, Remove: true})
	must(t, err)
	c.Status, c.PID, c.Birth, c.Started = StatusRunning, 7, 8, time.Now().Add(-time.Hour)
	must(t, c.Save())
	list, err := List(dirs)
	must(t, err)
	want := c.Record
	want.Created, want.Started = want.Created.Round(0), want.Started.Round(0)
	if len(list) == 1 {
		list[0].Created, list[0].Started = list[0].Created.Local(), list[0].Started.Local()
	}
	if len(list) != 1 || !reflect.DeepEqual(list[0], want) {
		t.Errorf("got  %+v\nwant %+v", list, want)
	}
	if _, err := Adopt(dirs, list[0]); !errors.Is(err, ErrRunning) || hint.Of(err) == "" {
		t.Errorf("adopt a running container: %v", err)
	}
	must(t, c.Close()) // as the kernel does for one that was killed
	r, err := Find(dirs, "a")
	if err != nil || r.Status != StatusExited || r.ExitCode != 137 || r.PID != 0 {
		t.Errorf("after its supervisor's death: %+v, %v", r, err)
	}
	for _, name := range []string{r.ID, r.ID[:12], r.ID[:1]} {
		if found, err := Find(dirs, name); err != nil || found.ID != r.ID {
			t.Errorf("find %s: %v", name, err)
		}
	}
	for _, name := range []string{"", "g", "A", "xyz"} { // no id begins so
		if _, err := Find(dirs, name); !errors.Is(err, ErrNotFound) {
			t.Errorf("find %q: %v", name, err)
		}
	}
	adopted, err := Adopt(dirs, r)
	must(t, err)
	must(t, adopted.Delete(RemoveTree))
	if _, err := Adopt(dirs, r); !errors.Is(err, ErrNotFound) {
		t.Errorf("adopt what is gone: %v", err)
	}
	if left, err := List(dirs); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestNames: a name has one owner, from many that ask at once; also where its former owner is gone.
func TestNames(t *testing.T) {
	for _, dead := range []bool{false, true} {
		for range 20 {
			dirs := tempDirs(t)
			must(t, makeFolders(dirs))
			if dead {
				must(t, os.Symlink(strings.Repeat("0", 64), filepath.Join(dirs.Containers(), ".names", "the-one")))
			}
			results := make(chan error, 16)
			for range cap(results) {
				go func() { _, err := Create(dirs, Record{Name: "the-one"}); results <- err }()
			}
			won := 0
			for range cap(results) {
				if err := <-results; err == nil {
					won++
				} else if !errors.Is(err, ErrNameTaken) || hint.Of(err) == "" {
					t.Error(err)
				}
			}
			if won != 1 {
				t.Fatalf("%d own the name, whose former owner was dead: %v", won, dead)
			}
			entries, err := os.ReadDir(dirs.Containers())
			if must(t, err); len(entries) != 3 {
				t.Errorf("left: %v", entries)
			}
			names, err := os.ReadDir(filepath.Join(dirs.Containers(), ".names"))
			if must(t, err); len(names) != 1 {
				t.Errorf("names: %v", names)
			}
		}
	}
}

// TestRename: a name that is left behind is free, also where the one who renamed was killed before it came to that.
func TestRename(t *testing.T) {
	dirs := tempDirs(t)
	c, err := Create(dirs, Record{Name: "old"})
	must(t, err)
	names := filepath.Join(dirs.Containers(), ".names")
	take := func(name string) error {
		other, err := Create(dirs, Record{Name: name})
		if err == nil {
			must(t, other.Delete(RemoveTree))
		}
		return err
	}
	must(t, c.Rename("new"))
	must(t, take("old"))
	if err := take("new"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("its name: %v", err)
	}

	must(t, os.Symlink(c.ID, filepath.Join(names, "later"))) // killed before it wrote the record
	must(t, take("later"))
	must(t, os.Symlink(c.ID, filepath.Join(names, "old"))) // killed after
	must(t, take("old"))
	must(t, os.Symlink(c.ID, filepath.Join(names, "old")))
	must(t, c.Rename("old")) // back to a name that it has a link for already
	if err := take("old"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("its name: %v", err)
	}
	if err := c.Rename("old"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("renamed to its own name: %v", err)
	}
	must(t, os.Remove(filepath.Join(c.Dir, "record.json"))) // as while it is being made
	if err := take("old"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("its name: %v", err)
	}
	must(t, c.Delete(RemoveTree))
	if left, err := os.ReadDir(names); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestUnreadable: a record that is damaged, or a newer minipod's, is in nobody's way.
func TestUnreadable(t *testing.T) {
	for content, version := range map[string]int{
		"": 0, "{": 0, "null": 0, "[]": 0, `{"Version":"1"}`: 0, "\x00\x00\x00\x00": 0, "{}": 0,
		`{"Version":2,"ID":7}`: 2, `{"Version":2,"Name":"bad","Remove":true}`: 2,
	} {
		dirs := tempDirs(t)
		good, err := Create(dirs, Record{Name: "good"})
		must(t, err)
		bad, err := Create(dirs, Record{Name: "bad"})
		must(t, err)
		must(t, os.WriteFile(filepath.Join(bad.Dir, "record.json"), []byte(content), 0o600))
		must(t, bad.Close())
		must(t, Sweep(dirs, RemoveTree, func(Record) error { return nil }))
		list, err := List(dirs)
		if err != nil || len(list) != 2 {
			t.Errorf("%q: list: %v, %v", content, list, err)
		}
		r, err := Find(dirs, "bad")
		if err != nil || r.ID != bad.ID || r.Status != StatusDead {
			t.Errorf("%q: find: %+v, %v", content, r, err)
		}
		if _, err := Create(dirs, Record{Name: "bad"}); !errors.Is(err, ErrNameTaken) {
			t.Errorf("%q: its name: %v", content, err)
		}
		c, err := Adopt(dirs, r)
		if version > 1 && version == r.Version {
			if err == nil || hint.Of(err) == "" {
				t.Errorf("%q: adopt a newer one: %v", content, err)
			}
		} else if must(t, err); c != nil {
			must(t, c.Delete(RemoveTree))
		}
		must(t, good.Delete(RemoveTree))
	}
}

// TestHalfMade leaves what a kill -9 of Create or Delete may leave. The next sweep removes it.
func TestHalfMade(t *testing.T) {
	dirs := tempDirs(t)
	must(t, makeFolders(dirs))
	for i, files := range [][]string{{}, {"lock"}, {"lock", ".record"}, {"upper/x"}, {"lock", "upper/work/deep"}, {"record.json", "upper/x"}} {
		id := fmt.Sprintf("%064x", i)
		for _, name := range files {
			file := filepath.Join(dirs.Containers(), id, name)
			must(t, os.MkdirAll(filepath.Dir(file), 0o700))
			must(t, os.WriteFile(file, nil, 0o600))
		}
		must(t, os.MkdirAll(filepath.Join(dirs.Containers(), id), 0o700))
		must(t, os.Symlink(id, filepath.Join(dirs.Containers(), ".names", "n"+strconv.Itoa(i))))
	}
	kept, err := Create(dirs, Record{Ready: true})
	must(t, err)
	must(t, kept.Close())
	half, err := Create(dirs, Record{}) // whole, but nobody can start it
	must(t, err)
	must(t, half.Close())
	must(t, Sweep(dirs, RemoveTree, func(Record) error { return nil }))
	entries, err := os.ReadDir(dirs.Containers())
	must(t, err)
	if len(entries) != 3 || entries[2].Name() != kept.ID {
		t.Errorf("left: %v", entries)
	}
	// An error of one removal is told, and does not stop the others.
	for i := range 3 {
		must(t, os.Mkdir(filepath.Join(dirs.Containers(), fmt.Sprintf("%064x", i)), 0o700))
	}
	calls := 0
	err = Sweep(dirs, func(string) error { calls++; return fs.ErrPermission }, func(Record) error { return nil })
	if calls != 3 || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// TestRemoveTree removes folders that their owner closed, and follows no link out.
func TestRemoveTree(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.Mkdir(outside, 0o500))
	dir := filepath.Join(t.TempDir(), "tree")
	must(t, os.MkdirAll(filepath.Join(dir, "a/b/c"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "a/b/c/file"), nil, 0))
	must(t, os.Symlink(outside, filepath.Join(dir, "a/b/link")))
	must(t, os.Symlink("..", filepath.Join(dir, "a/b/c/up")))
	for _, name := range []string{"a/b/c", "a/b", "a", "."} {
		must(t, os.Chmod(filepath.Join(dir, name), 0))
	}
	must(t, RemoveTree(dir))
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("outside: %v, %v", info, err)
	}
	must(t, RemoveTree(dir)) // idempotent
}

const churnVariable = "MINIPOD_TEST_CHURN"

// TestChurn is the helper process of TestRaces: it creates, lists, sweeps and deletes until it is killed.
func TestChurn(t *testing.T) {
	data := os.Getenv(churnVariable)
	if data == "" {
		return
	}
	dirs := state.Dirs{Data: data}
	fail := func(what string, err error) {
		fmt.Println(what+":", err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		c, err := Create(dirs, Record{Name: "n" + strconv.Itoa(i%5), Remove: i%2 == 0})
		if errors.Is(err, ErrNameTaken) {
			c, err = Create(dirs, Record{Remove: true})
		}
		if err != nil {
			fail("create", err)
		}
		list, err := List(dirs)
		if err != nil {
			fail("list", err)
		}
		if !slices.ContainsFunc(list, func(r Record) bool { return r.ID == c.ID && r.Status == StatusCreated }) {
			fail("list", errors.New("our own container is not there, or was taken for dead"))
		}
		if err := Sweep(dirs, RemoveTree, func(Record) error { return nil }); err != nil {
			fail("sweep", err)
		}
		if _, err := os.Stat(filepath.Join(c.Dir, "record.json")); err != nil {
			fail("sweep took our own container", err)
		}
		if err := c.Delete(RemoveTree); err != nil {
			fail("delete", err)
		}
		for _, r := range list { // what others left that is not for the sweep
			if other, err := Adopt(dirs, r); err == nil {
				if err := other.Delete(RemoveTree); err != nil {
					fail("delete what was left", err)
				}
			}
		}
	}
}

// TestRaces has processes create, list, sweep and delete containers side by side, and ends some with SIGKILL now and then. None
// may fail, none may take another's container, and in the end one sweep leaves nothing.
func TestRaces(t *testing.T) {
	dirs := tempDirs(t)
	start := func() (*exec.Cmd, *strings.Builder) {
		var out strings.Builder
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestChurn$")
		cmd.Env = append(os.Environ(), churnVariable+"="+dirs.Data)
		cmd.Stdout, cmd.Stderr = &out, &out
		must(t, cmd.Start())
		return cmd, &out
	}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for round := range 12 {
				cmd, out := start()
				time.Sleep(time.Duration(20+(i*37+round*53)%150) * time.Millisecond)
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				if out.Len() > 0 {
					t.Error(out)
				}
			}
		})
	}
	all.Wait()
	list, err := List(dirs)
	must(t, err)
	for _, r := range list {
		c, err := Adopt(dirs, r)
		must(t, err)
		must(t, c.Delete(RemoveTree))
	}
	must(t, Sweep(dirs, RemoveTree, func(Record) error { return nil }))
	entries, err := os.ReadDir(dirs.Containers())
	if must(t, err); len(entries) != 2 {
		t.Errorf("left: %v", entries)
	}
}

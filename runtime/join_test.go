package runtime

import (
	"os"
	stdruntime "runtime"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/linux"
)

// TestJoinChecksBirth: a process that has the number of a container's PID 1, and is not it, is never joined.
func TestJoinChecksBirth(t *testing.T) {
	stdruntime.LockOSThread()
	defer stdruntime.UnlockOSThread()
	birth, err := linux.StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Record{{Name: "reused", PID: os.Getpid(), Birth: birth - 1}, {Name: "gone", PID: 1 << 22, Birth: 1}} {
		_, err := Join(r, nil, [3]*os.File{os.Stdin, os.Stdout, os.Stderr})
		if err == nil || !strings.Contains(err.Error(), "it has just ended") {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
}

// TestLayers: what makes up a container's tree, by driver.
func TestLayers(t *testing.T) {
	w := newWorld(t, true, "")
	c, err := Create(w.dirs, Record{})
	w.must(err)
	defer func() { w.must(c.Delete(RemoveTree)) }()
	if dirs, above := c.Layers(w.dirs, []string{"layers/top"}); above || len(dirs) != 1 || !strings.HasSuffix(dirs[0], "/layers/top") {
		t.Errorf("never started: %v, %t", dirs, above)
	}
	w.must(os.Mkdir(c.Dir+"/upper", 0o755))
	w.must(os.Mkdir(c.Dir+"/root", 0o755))
	if dirs, above := c.Layers(w.dirs, []string{"layers/top"}); !above || len(dirs) != 2 || dirs[0] != c.Dir+"/upper" {
		t.Errorf("overlay: %v, %t", dirs, above)
	}
	w.must(os.WriteFile(c.Dir+"/root/file", nil, 0o644)) // a record that does not say, and a tree that does
	if dirs, above := c.Layers(w.dirs, []string{"layers/top"}); above || len(dirs) != 1 || dirs[0] != c.Dir+"/root" {
		t.Errorf("a copy: %v, %t", dirs, above)
	}
}

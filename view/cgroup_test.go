package view

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/lang"
)

// fakeCgroups writes files below a folder, which is returned.
func fakeCgroups(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func inGroup(t *testing.T, from Source, pid int, text string) {
	t.Helper()
	if err := os.WriteFile(from.file(pid, "cgroup"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const cgroups = `
/
└─ user.slice
   │    memory 1.5 GiB of max
   ├─ user-1000.slice
   │  └─ minipod-db.scope
   │     └─ 201 数据库 --端口=5432
   └─ web\x1b.scope
      │    memory 12 MiB of 512 MiB, swap of 0 B, OOM kills: 2
      │    pids 3 of 100
      │    cpu of 0.5 (50000 µs in each 100000 µs), weight 100, used 1.235s, throttled 4 times for 250ms
      ├─ 101 minipod sandbox web
      └─ 110 /bin/nginx -g \x1b[2Jx
/../elsewhere (outside of this cgroup namespace)
└─ 121 sh
`

func TestCgroupTree(t *testing.T) {
	from, containers := web(t)
	inGroup(t, from, 101, "0::/user.slice/web\x1b.scope\n")
	inGroup(t, from, 110, "4:memory:/x\n0::/user.slice/web\x1b.scope\n")
	inGroup(t, from, 121, "0::/../elsewhere\n")
	inGroup(t, from, 201, "0::/user.slice/user-1000.slice/minipod-db.scope\n")
	root := fakeCgroups(t, map[string]string{
		"cgroup.controllers":                       "cpu memory pids\n",
		"user.slice/memory.current":                strconv.Itoa(3<<29) + "\n",
		"user.slice/memory.max":                    "max\n",
		"user.slice/web\x1b.scope/memory.current":  strconv.Itoa(12<<20) + "\n",
		"user.slice/web\x1b.scope/memory.max":      strconv.Itoa(512<<20) + "\n",
		"user.slice/web\x1b.scope/memory.swap.max": "0\n",
		"user.slice/web\x1b.scope/memory.events":   "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\n",
		"user.slice/web\x1b.scope/pids.current":    "3\n",
		"user.slice/web\x1b.scope/pids.max":        "100\n",
		"user.slice/web\x1b.scope/cpu.max":         "50000 100000\n",
		"user.slice/web\x1b.scope/cpu.weight":      "100\n",
		"user.slice/web\x1b.scope/cpu.stat":        "usage_usec 1234567\nuser_usec 1\nnr_throttled 4\nthrottled_usec 250000\n",
	})
	s := read(t, from, containers)
	h, err := ReadCgroups(from, root, s)
	if err != nil {
		t.Fatal(err)
	}
	if got := CgroupTree(h, s, lang.English, 0); got != cgroups[1:] {
		t.Errorf("got\n%s", got)
	}
	for line := range strings.Lines(CgroupTree(h, s, lang.English, 40)) {
		if Width(strings.TrimSuffix(line, "\n")) > 40 {
			t.Error(line)
		}
	}
}

// TestCgroupV1 is what a machine shows whose controllers are those of version 1.
func TestCgroupV1(t *testing.T) {
	from, containers := web(t)
	inGroup(t, from, 101, "4:memory:/a\n0::/\n")
	s := read(t, from, containers)
	for name, tt := range map[string]struct {
		files map[string]string
		why   string
	}{
		"hybrid":         {map[string]string{"unified/cgroup.controllers": "hugetlb\n", "memory/tasks": ""}, " is cgroup v1, and the v2 at "},
		"v1":             {map[string]string{"memory/tasks": ""}, " is not cgroup v2: it has no cgroup.controllers"},
		"no controllers": {map[string]string{"cgroup.controllers": "\n"}, " has no controller for memory, pids or cpu: this machine uses cgroup v1 for them"},
	} {
		root := fakeCgroups(t, tt.files)
		h, err := ReadCgroups(from, root, s)
		if err != nil || !strings.Contains(h.Missing, tt.why) || len(h.Groups) > 0 {
			t.Errorf("%s: %+v, %v", name, h, err)
			continue
		}
		got := CgroupTree(h, s, lang.English, 0)
		if first, rest, _ := strings.Cut(got, "\n"); !strings.Contains(first, tt.why) || rest != "web: /proc/101/cgroup\n  4:memory:/a\n  0::/\ndb: /proc/201/cgroup\n" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestCgroupWords(t *testing.T) {
	for text, want := range map[string]string{"max": "max", "0": "0 B", "1023": "1023 B", "1024": "1 KiB", "1610612736": "1.5 GiB", "x": "x"} {
		if got := bytesText(text); got != want {
			t.Errorf("bytesText(%q) = %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"max 100000": "of max", "150000 100000": "of 1.5 (150000 µs in each 100000 µs)", "5 0": "of 5", "": "of "} {
		if got := cpuText(text, lang.English); got != want {
			t.Errorf("cpuText(%q) = %q, want %q", text, got, want)
		}
	}
}

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

const id = "0123456789abcdef0123456789abcdef"

// A tree is a folder that stands in for the hierarchy. It has files where the test says so: no kernel makes them, checks them
// or lets anybody in, so the rest is TestGroup's.
type tree struct {
	t           *testing.T
	mount, proc string
}

func newTree(t *testing.T, own string) tree {
	f := tree{t, t.TempDir(), t.TempDir()}
	f.write(filepath.Join(f.proc, strconv.Itoa(os.Getpid()), "cgroup"), "1:name=systemd:/x\n0::"+own+"\n")
	f.group("", "cpu memory pids")
	return f
}

func (f tree) write(name, text string) {
	f.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		f.t.Fatal(err)
	}
}

// group makes the files that every group has.
func (f tree) group(path, controllers string) {
	for file, text := range map[string]string{
		"cgroup.controllers": controllers + "\n", "cgroup.procs": "", "cgroup.subtree_control": "",
		"cgroup.events": "populated 0\nfrozen 0\n", "cgroup.freeze": "0\n", "cgroup.kill": "",
	} {
		f.write(filepath.Join(f.mount, path, file), text)
	}
}

func (f tree) options() Options {
	return Options{ID: id, Mount: f.mount, Proc: f.proc, Buses: []string{}}
}

// TestUnavailable: a container without limits can run without a group, one with limits can't, and both are told why.
func TestUnavailable(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(tree)
		why     error
		hint    string
	}{
		"v1":             {func(f tree) { os.Remove(filepath.Join(f.mount, "cgroup.controllers")) }, ErrNoV2, "doctor"},
		"no bus":         {func(tree) {}, ErrNoBus, "loginctl enable-linger"},
		"not ours":       {func(tree) {}, ErrNotDelegated, ""},
		"above our root": {func(f tree) { f.write(filepath.Join(f.proc, strconv.Itoa(os.Getpid()), "cgroup"), "0::/../x\n") }, ErrNotDelegated, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newTree(t, "/session-1.scope")
			tt.prepare(f)
			o := f.options()
			if g, err := New(o); g != nil || !errors.Is(err, ErrUnavailable) || !errors.Is(err, tt.why) {
				t.Errorf("without a limit: %v, %v", g, err)
			}
			o.Resources = memory(8<<20, 0, 0)
			_, err := New(o)
			if errors.Is(err, ErrUnavailable) || !errors.Is(err, tt.why) || !strings.Contains(err.Error(), "limit of memory") || !strings.Contains(hint.Of(err), tt.hint) {
				t.Errorf("with a limit: %v (%s)", err, hint.Of(err))
			}
			o.Resources, o.Parent = nil, "/mine"
			if _, err := New(o); err == nil || errors.Is(err, ErrUnavailable) {
				t.Errorf("with a parent: %v", err)
			}
		})
	}
}

// TestThisMachine: whatever it mounts, there is a group or a reason.
func TestThisMachine(t *testing.T) {
	g, err := New(Options{ID: id, PID: 1, Buses: []string{}}) // PID 1 can't be moved by us
	if g != nil || !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, %v", g, err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the reason has several lines: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	f := newTree(t, "/")
	for name, change := range map[string]func(*Options){
		"a short id":   func(o *Options) { o.ID = "short" },
		"a path as id": func(o *Options) { o.ID = "../../../../../../x" },
		"bad limits":   func(o *Options) { o.Resources = memory(10, 5, 0) },
	} {
		o := f.options()
		change(&o)
		if _, err := New(o); err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestParentStaysInside: a --cgroup-parent with ".." is a path from the hierarchy's root.
func TestParentStaysInside(t *testing.T) {
	f := newTree(t, "/")
	o := f.options()
	o.Parent = "/../../.." + t.TempDir()
	if _, err := New(o); !errors.Is(err, ErrNotDelegated) || !strings.Contains(err.Error(), f.mount) {
		t.Errorf("%v", err)
	}
}

func loaded(t *testing.T) (tree, *Group) {
	f := newTree(t, "/")
	f.group("m.slice/minipod-x.scope", "cpu memory")
	f.group("m.slice/minipod-x.scope/container", "cpu memory")
	f.group("m.slice", "cpu memory")
	g, err := Load(filepath.Join(f.mount, "m.slice/minipod-x.scope/container"))
	if err != nil {
		t.Fatal(err)
	}
	g.proc = f.proc
	return f, g
}

func TestLoad(t *testing.T) {
	_, g := loaded(t)
	if g.Unit != "minipod-x.scope" || !reflect.DeepEqual(g.Controllers(), []string{"cpu", "memory"}) {
		t.Errorf("%+v has %q", g, g.Controllers())
	}
	if _, err := Load(filepath.Join(t.TempDir(), "container")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is gone: %v", err)
	}
	for _, path := range []string{"", "container", "/", "/sys/fs/cgroup", g.Path + "/.."} {
		if _, err := Load(path); err == nil {
			t.Errorf("%q is no container's", path)
		}
	}
}

// TestSet: what is written where, and what is said of what can't be.
func TestSet(t *testing.T) {
	f, g := loaded(t)
	g.Unit = "" // a group that systemd has not made: its files are ours
	file := func(name string) string { return filepath.Join(g.Path, name) }
	for _, name := range []string{"memory.max", "io.weight", "cpuset.cpus"} {
		f.write(file(name), "")
	}
	f.write(filepath.Join(g.base, "io.weight"), "")
	f.write(filepath.Join(g.base, "cpuset.cpus.effective"), "0-1,4\n")
	f.write(filepath.Join(f.proc, "swaps"), "Filename Type Size Used Priority\n")
	r := memory(100, 200, 0) // there is no memory.swap.max, and no swap either
	r.CPU = cpuset("1,4")
	r.BlockIO = ioWeight(10)
	if err := g.Set(r); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"memory.max": "100", "io.weight": "1", "cpuset.cpus": "1,4"} {
		if got, err := read(g.Path, name); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	if got, err := read(g.base, "io.weight"); err != nil || got != "1" {
		t.Errorf("among the containers' groups the weight is %q, %v", got, err)
	}

	f.write(filepath.Join(f.proc, "swaps"), "Filename Type Size Used Priority\n/swap file 1 0 -2\n")
	if err := g.Set(memory(100, -1, 0)); err != nil {
		t.Errorf("no limit of swap is kept by anybody: %v", err)
	}
	if err := g.Set(memory(100, 200, 0)); !errors.Is(err, fs.ErrNotExist) || hint.Of(err) == "" {
		t.Errorf("a limit of swap that nobody keeps: %v", err)
	}
	for _, cpus := range []string{"2", "0-2", "7"} {
		r = memory(0, 0, 0)
		r.CPU = cpuset(cpus)
		if err := g.Set(r); err == nil || !strings.Contains(err.Error(), "not available") || !strings.Contains(hint.Of(err), "0-1,4") {
			t.Errorf("processors %s: %v (%s)", cpus, err, hint.Of(err))
		}
	}
}

// TestMissingController: the error names who lacks it first, seen from the top, and the hint what to do there.
func TestMissingController(t *testing.T) {
	f, g := loaded(t)
	check := func(cause error, lacks, advice string) {
		t.Helper()
		err := g.missing([]string{"io", "pids"}, cause)
		var missing *MissingController
		if !errors.As(err, &missing) || !slices.Equal(missing.Controllers, []string{"io", "pids"}) || strings.Contains(err.Error(), "\n") || missing.Group != filepath.Join(f.mount, lacks) || !strings.Contains(hint.Of(err), advice) {
			t.Errorf("%v (%s), want %s and %s", err, hint.Of(err), lacks, advice)
		}
	}
	check(nil, "", "boot with a kernel")
	f.group("", "cpu memory io")
	check(nil, "m.slice", "Delegate=cpu cpuset io memory pids")
	f.group("m.slice", "cpu memory io")
	g.Unit = ""
	check(nil, "m.slice/minipod-x.scope", "echo +io | sudo tee "+f.mount+"/m.slice/cgroup.subtree_control")
	check(fmt.Errorf("x: %w", linux.EBUSY), "m.slice/minipod-x.scope", "systemd-run --user --scope -p Delegate=yes")
	f.write(filepath.Join(f.mount, "m.slice/cgroup.procs"), "17\n")
	check(nil, "m.slice/minipod-x.scope", "systemd-run --user --scope -p Delegate=yes")

	r := memory(0, 0, 0)
	r.BlockIO = ioWeight(10)
	var missing *MissingController
	if err := g.Set(r); !errors.As(err, &missing) {
		t.Errorf("a limit without its controller: %v", err)
	}
}

func TestFreezeAndKill(t *testing.T) {
	f, g := loaded(t)
	f.write(filepath.Join(g.Path, "cgroup.events"), "populated 1\nfrozen 1\n")
	if err := g.Freeze(); err != nil {
		t.Error(err)
	}
	if frozen, err := g.Frozen(); !frozen || err != nil {
		t.Errorf("%t, %v", frozen, err)
	}
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	if text, _ := read(g.Path, "cgroup.kill"); text != "1" {
		t.Errorf("cgroup.kill got %q", text)
	}
	os.Remove(filepath.Join(g.Path, "cgroup.kill"))
	if err := g.Kill(); !strings.Contains(hint.Of(err), "5.14") {
		t.Errorf("on an old kernel: %v (%s)", err, hint.Of(err))
	}
	os.RemoveAll(g.Path)
	if err := errors.Join(g.Kill(), g.Remove(), g.Remove()); err != nil {
		t.Errorf("of a group that is gone: %v", err)
	}
	if err := g.Freeze(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a group that is gone: %v", err)
	}
	if _, err := g.Stats(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a group that is gone: %v", err)
	}
	if _, err := g.Pids(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a group that is gone: %v", err)
	}
}

func TestPids(t *testing.T) {
	f, g := loaded(t)
	f.write(filepath.Join(g.Path, "cgroup.procs"), "10\n0\n11\n")
	f.write(filepath.Join(g.Path, "inner/cgroup.procs"), "12\n")
	f.write(filepath.Join(g.Path, "going/other"), "")
	if pids, err := g.Pids(); err != nil || !reflect.DeepEqual(pids, []int{10, 11, 12}) {
		t.Errorf("%v, %v", pids, err)
	}
}

func TestStats(t *testing.T) {
	f, g := loaded(t)
	f.group("m.slice/minipod-x.scope/container", "cpu io memory pids")
	for name, text := range map[string]string{
		"memory.current": "1000\n", "memory.max": "max\n", "memory.stat": "anon 1\ninactive_file 300\nactive_file 2\n",
		"memory.events": "low 0\nhigh 0\nmax 4\noom 3\noom_kill 2\noom_group_kill 0\n",
		"cpu.stat":      "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 9\nnr_throttled 8\nthrottled_usec 7\n",
		"pids.current":  "6\n", "pids.max": "20\n", "pids.events": "max 11\n",
		"io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n253:1 \n\n",
	} {
		f.write(filepath.Join(g.Path, name), text)
	}
	s, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	want := &Stats{Controllers: []string{"cpu", "io", "memory", "pids"}}
	want.Memory.Current, want.Memory.Limit, want.Memory.InactiveFile = 1000, NoLimit, 300
	want.Memory.Capped, want.Memory.OOMs, want.Memory.OOMKills = 4, 3, 2
	want.CPU.Usage, want.CPU.User, want.CPU.System, want.CPU.ThrottledTime = 5000, 3000, 2000, 7000
	want.CPU.Periods, want.CPU.Throttled = 9, 8
	want.Pids.Current, want.Pids.Limit, want.Pids.Refused = 6, 20, 11
	want.IO = []DeviceStats{{8, 0, 1, 2, 3, 4, 5, 6}, {Major: 253, Minor: 1}}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("%+v, want %+v", s, want)
	}
	if n, err := g.OOMKills(); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	os.Remove(filepath.Join(g.Path, "memory.events"))
	if n, err := g.OOMKills(); n != 0 || err != nil {
		t.Errorf("without the controller: %d, %v", n, err)
	}
}

package idmap

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
)

func TestNewMap(t *testing.T) {
	for _, c := range []struct {
		name        string
		subordinate []Range
		want        Map
	}{
		{"none", nil, Map{{0, 1000, 1}}},
		{"one", []Range{{Host: 100000, Size: 65536}}, Map{{0, 1000, 1}, {1, 100000, 65536}}},
		{"two", []Range{{Host: 200000, Size: 10}, {Host: 100000, Size: 5}}, Map{{0, 1000, 1}, {1, 200000, 10}, {11, 100000, 5}}},
		{"neighbours merge", []Range{{Host: 100, Size: 10}, {Host: 110, Size: 5}}, Map{{0, 1000, 1}, {1, 100, 15}}},
		{"next to the own id", []Range{{Host: 1001, Size: 9}}, Map{{0, 1000, 10}}},
		{"over the own id", []Range{{Host: 999, Size: 2}}, Map{{0, 1000, 1}}},
		{"twice", []Range{{Host: 100, Size: 10}, {Host: 105, Size: 10}}, Map{{0, 1000, 1}, {1, 100, 10}}},
	} {
		if got := newMap(1000, c.subordinate); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: newMap = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestMapStaysWithinAPage(t *testing.T) {
	var many []Range
	for i := range uint32(500) {
		many = append(many, Range{Host: 4000000000 + 20*i, Size: 10})
	}
	if n := len(newMap(1000, many).text()); n >= 4096 {
		t.Errorf("the map's text has %d bytes, the kernel takes less than 4096", n)
	}
}

func TestMapForms(t *testing.T) {
	m := Map{{0, 1000, 1}, {1, 100000, 65536}}
	if got, want := string(m.text()), "0 1000 1\n1 100000 65536\n"; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
	if got, want := strings.Join(m.arguments(), " "), "0 1000 1 1 100000 65536"; got != want {
		t.Errorf("arguments = %q, want %q", got, want)
	}
	for id, want := range map[uint32]bool{0: true, 1: true, 65536: true, 65537: false, noID: false} {
		if m.Has(id) != want {
			t.Errorf("Has(%d) = %v, want %v", id, !want, want)
		}
	}
	if m.Single() || !newMap(5, nil).Single() {
		t.Error("Single is wrong")
	}
}

func TestRanges(t *testing.T) {
	text := []byte(`# a comment
alice:100000:65536
bob:165536:65536
1000:300000:10
alice:400000
alice:500000:
alice:-5:10
alice:600000:0
alice:4294967290:5
alice:4294967290:6
alice:700000:10:extra
::
alice:800000:7`)
	want := []Range{{0, 100000, 65536}, {0, 300000, 10}, {0, 4294967290, 5}, {0, 800000, 7}}
	if got := ranges(text, "alice", "1000"); !reflect.DeepEqual(got, want) {
		t.Errorf("ranges = %v, want %v", got, want)
	}
	if got := ranges(text, "", "1001"); got != nil {
		t.Errorf("ranges of a user that isn't listed = %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("alice:100000:65536\n"))
	f.Add([]byte("1000:4294967295:1"))
	f.Add([]byte("a::"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list := append(ranges(text, "alice", "1000"), getsubidsRanges(text)...)
		m := newMap(1000, list)
		for i, r := range m {
			if uint64(r.Host)+uint64(r.Size) > noID || uint64(r.Container)+uint64(r.Size) > noID || r.Size == 0 {
				t.Fatalf("%v leaves the id space", r)
			}
			if m[:i].overlaps(r) {
				t.Fatalf("%v overlaps another of %v", r, m)
			}
		}
		available(text)
		afterLast(text)
		userName(text, "1000")
	})
}

// fake is a system with the given files, where programs know nobody.
func fake(t *testing.T, files map[string]string) system {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return system{root, func(string, bool) []byte { return nil }, func() string { return "" }}
}

const passwd = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n"

func TestForUser(t *testing.T) {
	s := fake(t, map[string]string{"etc/passwd": passwd, "etc/subuid": "alice:100000:65536\n", "etc/subgid": "1000:200000:65536\n"})
	uids, gids, warning, err := s.forUser(1000, 100)
	if warning != nil || err != nil {
		t.Fatalf("forUser: warning %v, error %v", warning, err)
	}
	if want := (Map{{0, 1000, 1}, {1, 100000, 65536}}); !reflect.DeepEqual(uids, want) {
		t.Errorf("uids = %v, want %v", uids, want)
	}
	if want := (Map{{0, 100, 1}, {1, 200000, 65536}}); !reflect.DeepEqual(gids, want) {
		t.Errorf("gids = %v, want %v", gids, want)
	}
}

func TestForUserOfTheNameService(t *testing.T) {
	s := fake(t, map[string]string{"etc/passwd": passwd})
	s.loginName = func() string { return "carol" }
	s.getsubids = func(user string, groups bool) []byte {
		if groups {
			return []byte("0: " + user + " 300000 100\n1: " + user + " 400000 100\n")
		}
		return []byte("0: " + user + " 100000 65536\n")
	}
	uids, gids, warning, err := s.forUser(2000, 2000)
	if warning != nil || err != nil {
		t.Fatalf("forUser: warning %v, error %v", warning, err)
	}
	if len(uids) != 2 || len(gids) != 3 {
		t.Errorf("maps = %v, %v", uids, gids)
	}
}

func TestForUserWithoutRange(t *testing.T) {
	for _, c := range []struct {
		subuid, subgid string
		missing, hint  string
	}{
		{"", "", "/etc/subuid", "run `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 alice`"},
		{"bob:100000:65536\n", "bob:100000:70000\n", "/etc/subuid", "run `sudo usermod --add-subuids 170000-235535 --add-subgids 170000-235535 alice`"},
		{"alice:100000:65536\n", "", "/etc/subgid", "run `sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 alice`"},
	} {
		s := fake(t, map[string]string{"etc/passwd": passwd, "etc/subuid": c.subuid, "etc/subgid": c.subgid})
		uids, gids, warning, err := s.forUser(1000, 1000)
		if err != nil || !uids.Single() || !gids.Single() {
			t.Errorf("forUser = %v, %v, %v; want single maps", uids, gids, err)
		}
		if warning == nil || !strings.Contains(warning.Error(), "for alice in "+c.missing+":") || hint.Of(warning) != c.hint {
			t.Errorf("warning %q with hint %q; want %s and %q", warning, hint.Of(warning), c.missing, c.hint)
		}
	}
}

func TestForRoot(t *testing.T) {
	const all, none = "Name:\tsh\nCapEff:\t00000000a80425fb\n", "Name:\tsh\nCapEff:\t0000000000000000\n"
	for _, c := range []struct {
		name, uidMap, status string
		want                 Map
		warns, fails         bool
	}{
		{"the machine's", "         0          0 4294967295\n", all, nil, false, true},
		{"nested", "         0       1000          1\n         1     100000      65536\n", all, Map{{0, 0, 1}, {1, 1, 65536}}, false, false},
		{"nested, one id", "         0       1000          1\n", all, Map{{0, 0, 1}}, true, false},
		{"nested, powerless", "         0       1000          1\n         1     100000      65536\n", none, Map{{0, 0, 1}}, true, false},
	} {
		s := fake(t, map[string]string{"proc/self/uid_map": c.uidMap, "proc/self/gid_map": c.uidMap, "proc/self/status": c.status})
		uids, gids, warning, err := s.forUser(0, 0)
		if !reflect.DeepEqual(uids, c.want) || !reflect.DeepEqual(gids, c.want) || (warning != nil) != c.warns || (err != nil) != c.fails {
			t.Errorf("%s: forUser = %v, %v, %v, %v", c.name, uids, gids, warning, err)
		}
	}
}

func TestAdvise(t *testing.T) {
	h := &helper{name: "newgidmap", path: "/usr/bin/newgidmap"}
	for said, want := range map[string]string{
		"gid range [1-65537) -> [100000-165536) not allowed": "/etc/subgid",
		"write to gid_map failed: Operation not permitted":   "chmod u+s /usr/bin/newgidmap",
		"something new": "minipod doctor",
	} {
		if got := advise(h, said); !strings.Contains(got, want) {
			t.Errorf("advise(%q) = %q, want %q in it", said, got, want)
		}
	}
}

// inNamespace starts a process that waits in a new user namespace, whose maps nobody has written yet.
func inNamespace(t *testing.T) (pid int) {
	t.Helper()
	command := exec.Command("cat")
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	if err := command.Start(); err != nil {
		t.Skipf("no user namespaces here: %v", err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("cat: %v", err)
		}
	})
	return command.Process.Pid
}

func TestWriteSingle(t *testing.T) {
	pid := inNamespace(t)
	uids, gids := newMap(uint32(os.Geteuid()), nil), newMap(uint32(os.Getegid()), nil)
	if err := Write(pid, uids, gids); err != nil {
		t.Fatal(err)
	}
	checkMaps(t, pid, uids, gids)
	if err := Write(pid, uids, gids); err == nil || hint.Of(err) == "" {
		t.Errorf("a second map of one namespace: error %v with hint %q", err, hint.Of(err))
	}
}

func TestWriteRange(t *testing.T) {
	uids, gids, warning, err := ForUser(os.Geteuid(), os.Getegid())
	if warning != nil || err != nil {
		t.Skipf("no id range here: %v", errors.Join(warning, err))
	}
	pid := inNamespace(t)
	if err := Write(pid, uids, gids); errors.Is(err, exec.ErrNotFound) {
		t.Skipf("no newuidmap here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	checkMaps(t, pid, uids, gids)
}

func TestWriteOfForeignRange(t *testing.T) {
	if _, err := exec.LookPath("newuidmap"); err != nil || os.Geteuid() == 0 {
		t.Skip("needs newuidmap and an ordinary user")
	}
	foreign := newMap(uint32(os.Geteuid()), []Range{{Host: 0, Size: 1}}) // nobody may have the machine's root
	err := Write(inNamespace(t), foreign, foreign)
	if err == nil || !strings.Contains(hint.Of(err), "/etc/subuid") {
		t.Errorf("mapping the machine's root: error %v with hint %q", err, hint.Of(err))
	}
}

func checkMaps(t *testing.T, pid int, uids, gids Map) {
	t.Helper()
	for name, want := range map[string]Map{"uid_map": uids, "gid_map": gids} {
		text, err := os.ReadFile(filepath.Join("/proc", decimal(uint32(pid)), name))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Fields(string(text)); !reflect.DeepEqual(got, want.arguments()) {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
}

func BenchmarkForUser(b *testing.B) {
	for b.Loop() {
		if _, _, _, err := ForUser(os.Geteuid(), os.Getegid()); err != nil {
			b.Skip(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	uids, gids, warning, err := ForUser(os.Geteuid(), os.Getegid())
	if warning != nil || err != nil {
		b.Skip(warning, err)
	}
	for b.Loop() {
		b.StopTimer()
		command := exec.Command("cat")
		stdin, _ := command.StdinPipe()
		command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
		if err := command.Start(); err != nil {
			b.Skip(err)
		}
		b.StartTimer()
		if err := Write(command.Process.Pid, uids, gids); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		stdin.Close()
		if err := command.Wait(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

package stage

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
)

// etc makes a folder with the two files; "-" stands for no file.
func etc(t testing.TB, passwd, group string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"passwd": passwd, "group": group} {
		if content == "-" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindUser(t *testing.T) {
	const passwd = `root:x:0:0:root:/root:/bin/sh
# a comment
+nis::::::
short:x:3:3
mia:x:1000:100:Mia:/home/mia:/bin/sh
1234:x:77:78:a name of digits:/home/digits:/bin/sh
twin:x:1000:200::/home/twin:
homeless:x:5:5:::
huge:x:4294967296:1::/:
minus:x:4294967295:1::/:
word:x:one:1::/:`
	const group = `root:x:0:
users:x:100:other
staff:x:50:mia,other
audio:x:63:x,mia
bad:x:-1:mia
broken
5:x:555:
nogroup:x:4294967295:mia`
	for _, tt := range []struct {
		spec     string
		uid, gid uint32
		groups   []uint32
		home     string
		fails    string
	}{
		{spec: "", home: "/root"},
		{spec: "root", home: "/root"},
		{spec: "0", home: "/root"},
		{spec: "mia", uid: 1000, gid: 100, groups: []uint32{50, 63}, home: "/home/mia"},
		{spec: "1000", uid: 1000, gid: 100, groups: []uint32{50, 63}, home: "/home/mia"}, // the first entry with the number
		{spec: "twin", uid: 1000, gid: 200, home: "/home/twin"},
		{spec: "1234", uid: 77, gid: 78, home: "/home/digits"}, // a name goes before a number, as in Docker
		{spec: "homeless", uid: 5, gid: 5, home: "/"},
		{spec: "4711", uid: 4711, home: "/"}, // a number need not be there; its group is root's, as in Docker
		{spec: "mia:staff", uid: 1000, gid: 50, home: "/home/mia"},
		{spec: "mia:7", uid: 1000, gid: 7, home: "/home/mia"},
		{spec: "mia:5", uid: 1000, gid: 555, home: "/home/mia"},
		{spec: "4711:4712", uid: 4711, gid: 4712, home: "/"},
		{spec: ":users", gid: 100, home: "/root"},
		{spec: "nobody", fails: `no user "nobody"`},
		{spec: "short", fails: `no user "short"`},
		{spec: "huge", fails: `no user "huge"`},
		{spec: "minus", fails: `no user "minus"`},
		{spec: "4294967295", fails: `no user`}, // (uid_t)-1 means "no change"
		{spec: "-1", fails: `no user`},
		{spec: "mia:ghosts", fails: `no group "ghosts"`},
		{spec: "mia:4294967295", fails: `no group`},
		{spec: "mia:", uid: 1000, gid: 100, groups: []uint32{50, 63}, home: "/home/mia"},
		{spec: ":", home: "/root"},
		{spec: "mia:a:b", fails: `no group "a:b"`},
	} {
		who, err := findUser(openIn(etc(t, passwd, group)), tt.spec)
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) || hint.Of(err) == "" {
				t.Errorf("%q: %v with hint %q; want %q", tt.spec, err, hint.Of(err), tt.fails)
			}
			continue
		}
		if err != nil || who.uid != tt.uid || who.gid != tt.gid || who.home != tt.home || !slices.Equal(who.groups, tt.groups) {
			t.Errorf("%q: %+v, %v; want %+v", tt.spec, who, err, tt)
		}
	}
}

// TestImageGroups holds the groups of the image's to docker's way and to Kubernetes' two.
func TestImageGroups(t *testing.T) {
	all := []IDRange{{0, 1 << 16}}
	open := openIn(etc(t, "root:x:0:0::/root:/bin/sh\nmia:x:1000:100::/home/mia:/bin/sh\n", "fifty:x:50:mia\nsixty:x:60:root\n"))
	for _, tt := range []struct {
		user, how string
		want      []uint32
	}{
		{"1000", "", []uint32{50, 4000}},
		{"1000:3000", "", []uint32{4000}},
		{"1000:3000", GroupsMerged, []uint32{50, 4000}},
		{"mia", GroupsMerged, []uint32{50, 4000}},
		{"1000:3000", GroupsStrict, []uint32{4000}},
		{"mia", GroupsStrict, []uint32{4000}},
		{":3000", GroupsMerged, []uint32{60, 4000}},
	} {
		s := &sandbox{plan: &Plan{Process: Process{User: tt.user, Groups: []string{"4000"}, ImageGroups: tt.how, IDs: all, GIDs: all}}}
		if err := s.identify(open); err != nil || !slices.Equal(s.groups, tt.want) {
			t.Errorf("%q, %q: %v, %v; want %v", tt.user, tt.how, s.groups, err, tt.want)
		}
	}
}

// TestFindUserFiles gives it images with odd files.
func TestFindUserFiles(t *testing.T) {
	if who, err := findUser(openIn(etc(t, "-", "-")), "7:8"); err != nil || who.uid != 7 || who.gid != 8 {
		t.Errorf("an image without files: %+v, %v", who, err)
	}
	if who, err := findUser(openIn(etc(t, "-", "-")), ""); err != nil || who.uid != 0 || who.home != "/" {
		t.Errorf("root without files: %+v, %v", who, err)
	}
	if _, err := findUser(openIn(etc(t, "-", "-")), "mia"); err == nil {
		t.Error("a name without files")
	}
	if who, err := findUser(openIn(etc(t, "mia:x:1:2:::/bin/sh", "-")), "mia"); err != nil || who.uid != 1 {
		t.Errorf("no newline at the end: %+v, %v", who, err)
	}
	long := "long:x:1:1:" + strings.Repeat("x", 1<<20) + ":/:\nmia:x:1:2:::\n"
	if who, err := findUser(openIn(etc(t, long, "-")), "mia"); err != nil || who.gid != 2 {
		t.Errorf("a line of a megabyte: %+v, %v", who, err)
	}
	far := strings.Repeat("x:x:9:9:::\n", 400<<10) + "mia:x:1:2:::\n"
	if _, err := findUser(openIn(etc(t, far, "-")), "mia"); err == nil {
		t.Error("a user behind four megabytes was found")
	}
	for _, kind := range []string{"a pipe", "a folder", "a loop"} {
		dir := etc(t, "-", "-")
		name := filepath.Join(dir, "passwd")
		err := map[string]func() error{
			"a pipe":   func() error { return syscall.Mkfifo(name, 0o644) },
			"a folder": func() error { return os.Mkdir(name, 0o755) },
			"a loop":   func() error { return os.Symlink("passwd", name) },
		}[kind]()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { _, err := findUser(openIn(dir), "mia"); done <- err }()
		select {
		case err := <-done:
			if err == nil || hint.Of(err) == "" {
				t.Errorf("/etc/passwd is %s: %v, hint %q", kind, err, hint.Of(err))
			}
		case <-time.After(5 * time.Second):
			t.Errorf("/etc/passwd is %s: hangs", kind)
		}
	}
}

// FuzzFindUser reads files of an image that wants to do harm.
func FuzzFindUser(f *testing.F) {
	f.Add("root:x:0:0:root:/root:/bin/sh\n", "root:x:0:\n", "root")
	f.Add("mia:x:1000:100:Mia:/home/mia:/bin/sh", "staff:x:50:mia,other", "mia")
	f.Add("::::::\n:::", ":::\x00", ":")
	f.Add("a:b:4294967295:0:::\n", "a:b:99999999999999999999:a", "4294967295:0")
	f.Fuzz(func(t *testing.T, passwd, group, spec string) {
		if passwd == "-" || group == "-" {
			return
		}
		who, err := findUser(openIn(etc(t, passwd, group)), spec)
		if err == nil && (who.uid == 1<<32-1 || who.gid == 1<<32-1 || who.home == "" || slices.Contains(who.groups, 1<<32-1)) {
			t.Errorf("%+v", who)
		}
	})
}

func TestMapped(t *testing.T) {
	ranges := []IDRange{{0, 1}, {5, 10}, {4294967290, 6}}
	for id, want := range map[uint32]bool{0: true, 1: false, 4: false, 5: true, 14: true, 15: false, 4294967289: false, 4294967295: true} {
		if mapped(ranges, id) != want {
			t.Errorf("%d: %v", id, !want)
		}
	}
}

// openIn opens the files of a container's /etc that lie in dir.
func openIn(dir string) opener {
	return func(name string) (*os.File, error) { return openNonblocking(filepath.Join(dir, filepath.Base(name))) }
}

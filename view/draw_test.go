package view

import (
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/lang"
)

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain --flag=1":    "plain --flag=1",
		"数据库 é":             "数据库 é",
		"a\x1b[2Jb\r\n\tc":  `a\x1b[2Jb\r\n\tc`,
		"\u202egpj.exe":     `\u202egpj.exe`,
		"\u009b31m":         `\u009b31m`,
		"bad \xff\xc3 utf8": `bad \xff\xc3 utf8`,
		`quo"te'\`:          `quo"te'\`,
		"\x00\x7f":          `\x00\x7f`,
	} {
		if got := Printable(text); got != want {
			t.Errorf("Printable(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  string
	}{
		{"short", 5, "short"},
		{"longer", 5, "long…"},
		{"数据库", 6, "数据库"},
		{"数据库", 5, "数据…"},
		{"数据库", 4, "数…"}, // half a character can't be shown
		{"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
		{"x", 0, ""},
	} {
		if got := Cut(tt.text, tt.width); got != tt.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", tt.text, tt.width, got, tt.want)
		}
	}
}

func TestNamespaces(t *testing.T) {
	s := readWeb(t)
	got := map[string]Namespace{}
	order := ""
	for _, ns := range Namespaces(s) {
		got[ns.Type+"/"+map[bool]string{true: "host"}[ns.Host]+strings.Join(ns.Containers, "+")] = ns
		order += ns.Type + " "
	}
	if !strings.HasPrefix(order, "user mnt pid net ipc uts cgroup time user mnt pid net") {
		t.Error(order)
	}
	for name, want := range map[string]struct {
		inode, owner uint64
		uid          int
		processes    int
		by           string
	}{
		"user/hostweb-id+db-id": {1001, 0, 0, 4, "host; web (minipod run, 2 more); db (minipod run)"},
		"net/hostweb-id+db-id":  {1004, 1001, 0, 6, "host; web (minipod run, 3 more); db (minipod run, 数据库)"},
		"user/web-id":           {2000, 1001, 1000, 7, "web (sandbox, nginx, sh, 4 more)"},
		"net/web-id":            {2003, 2000, 1000, 6, "web (sandbox, nginx, sh, 3 more)"},
		"mnt/db-id":             {2101, 2000, 1000, 1, "db (数据库)"},
	} {
		ns := got[name]
		if by := strings.Join(ns.SharedBy, "; "); ns.Inode != want.inode || ns.Owner != want.owner || ns.UID != want.uid || len(ns.Processes) != want.processes || by != want.by {
			t.Errorf("%s: %+v", name, ns)
		}
	}
	for _, ns := range Namespaces(s, "db-id") {
		if !ns.Host && ns.Inode < 2100 {
			t.Errorf("%+v is not db's", ns)
		}
	}
	if list := Namespaces(&Snapshot{}); list == nil || len(list) > 0 {
		t.Errorf("%v: in JSON an empty list is []", list)
	}
}

const boxes = `
┌─ host: user namespace 1001 ────────────────────────────────────────────┐
│ mnt 1002  pid 1003  net 1004  ipc 1005  uts 1006  cgroup 1007          │
│ time 1008                                                              │
│ PID 100     minipod run --name web nginx                               │
│ PID 115     fuse-overlayfs                                             │
│ PID 116     minipod run --name web nginx                               │
│ PID 120     /usr/bin/minipod exec web sh                               │
│ PID 200     minipod --root /x run db                                   │
│ ┌─ user namespace 2000, made by uid 1000 ────────────────────────────┐ │
│ │ ┌─ container web ────────────────────────────────────────────────┐ │ │
│ │ │ its own: mnt 2001  pid 2002  net 2003  ipc 2004  uts 2005      │ │ │
│ │ │          cgroup 2006                                           │ │ │
│ │ │ shared with host: time 1008                                    │ │ │
│ │ │ PID 101     here 1     minipod sandbox web                     │ │ │
│ │ │ PID 105     here 9     orphan                                  │ │ │
│ │ │ PID 110     here 5     /bin/nginx -g \x1b[2Jx                  │ │ │
│ │ │ PID 111     here 6/1   [in pid 2009] worker                    │ │ │
│ │ │ PID 112     here 7     [zombie\x1b]                            │ │ │
│ │ │ PID 121     here 12    sh                                      │ │ │
│ │ └────────────────────────────────────────────────────────────────┘ │ │
│ │ ┌─ user namespace 2100, made by uid 1000 ────────────────────────┐ │ │
│ │ │ ┌─ container db ─────────────────────────────────────────────┐ │ │ │
│ │ │ │ its own: mnt 2101  pid 2102  ipc 2104  uts 2105            │ │ │ │
│ │ │ │          cgroup 2106                                       │ │ │ │
│ │ │ │ shared with host: net 1004  time 1008                      │ │ │ │
│ │ │ │ PID 201     here 1     数据库 --端口=5432                  │ │ │ │
│ │ │ └────────────────────────────────────────────────────────────┘ │ │ │
│ │ └────────────────────────────────────────────────────────────────┘ │ │
│ └────────────────────────────────────────────────────────────────────┘ │
└────────────────────────────────────────────────────────────────────────┘
`

func TestBoxes(t *testing.T) {
	s := readWeb(t)
	if got := Boxes(s, lang.English, 74); got != boxes[1:] {
		t.Errorf("got\n%s", got)
	}
	for _, width := range []int{100, 74, 30} {
		for line := range strings.Lines(Boxes(s, lang.English, width)) {
			if got := Width(strings.TrimSuffix(line, "\n")); got != width {
				t.Errorf("%d columns, want %d: %s", got, width, line)
			}
		}
	}
	if got := Boxes(s, lang.English, 74, "db-id"); strings.Contains(got, "nginx") || !strings.Contains(got, "数据库") {
		t.Errorf("of db alone:\n%s", got)
	}
	if got := Boxes(s, lang.English, 3); !strings.Contains(got, "┌─") {
		t.Errorf("no room at all:\n%s", got)
	}
}

// TestBoxesShared: two containers in one user namespace that share the network, as a pod's do.
func TestBoxesShared(t *testing.T) {
	from := fakeProc(t,
		fake{101, 1, 100, "minipod", []string{"minipod", "sandbox", "web"}, []int{1}, webNamespaces},
		fake{201, 1, 100, "minipod", []string{"minipod", "sandbox", "side"}, []int{1}, webNamespaces + " mnt=2201 pid=2202"},
	)
	got := Boxes(read(t, from, []Container{{"w", "web", 101, 100}, {"s", "side", 201, 100}}), lang.English, 90)
	for _, want := range []string{"its own: mnt 2001  pid 2002 ", "shared with side: net 2003  ipc 2004", "its own: mnt 2201  pid 2202 ", "shared with web: net 2003"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
	if strings.Count(got, "user namespace 2000") != 1 {
		t.Errorf("one user namespace is one box:\n%s", got)
	}
}

const tree = `
PID      INSIDE   STATE          ROLE        PROCESS
                                 user        ann (uid 1000)
100               S (sleeping)   supervisor  ├─ minipod run --name web nginx
101      1        S (sleeping)   sandbox     │  ├─ minipod sandbox web
105      9        S (sleeping)   child       │  │  ├─ orphan
110      5        S (sleeping)   command     │  │  └─ /bin/nginx -g \x1b[2Jx
111      6/1      S (sleeping)   child       │  │     ├─ worker
112      7        S (sleeping)   child       │  │     └─ [zombie\x1b]
116               S (sleeping)   helper      │  └─ minipod run --name web nginx
115               S (sleeping)   helper      ├─ fuse-overlayfs
120               S (sleeping)   helper      ├─ /usr/bin/minipod exec web sh
121      12       S (sleeping)   joined      │  └─ sh
200               S (sleeping)   supervisor  └─ minipod --root /x run db
201      1        S (sleeping)   command        └─ 数据库 --端口=5432
`

func TestTree(t *testing.T) {
	s := readWeb(t)
	if got := Tree(s, lang.English, "ann (uid 1000)", 100); got != tree[1:] {
		t.Errorf("got\n%s", got)
	}
	for line := range strings.Lines(Tree(s, lang.English, "ann", 60)) {
		if Width(strings.TrimSuffix(line, "\n")) > 60 {
			t.Error(line)
		}
	}
	if got := Tree(s.Of(func(id string) bool { return id == "db-id" }), lang.English, "ann", 0); strings.Contains(got, "nginx") || !strings.Contains(got, "   └─ 数据库 --端口=5432\n") {
		t.Errorf("of db alone:\n%s", got)
	}
}

// TestDrawnInChinese: wide characters or not, the right side of each frame stands in one column, and the columns of a tree keep theirs.
func TestDrawnInChinese(t *testing.T) {
	s := readWeb(t)
	drawn := Boxes(s, lang.Chinese, 74)
	for line := range strings.Lines(drawn) {
		if Width(strings.TrimSuffix(line, "\n")) != 74 {
			t.Error(line)
		}
	}
	for _, want := range []string{"┌─ 宿主机：用户命名空间 ", "┌─ 容器 ", "自己的："} {
		if !strings.Contains(drawn, want) {
			t.Errorf("no %q in\n%s", want, drawn)
		}
	}
	lines := strings.Split(Tree(s, lang.Chinese, "ann", 0), "\n")
	column := Width(lines[0][:strings.Index(lines[0], "角色")])
	for _, role := range []string{"用户", "1 号进程", "命令"} {
		for _, line := range lines {
			if i := strings.Index(line, role); i >= 0 && Width(line[:i]) != column {
				t.Errorf("%q has its role in another column than %d", line, column)
			}
		}
	}
}

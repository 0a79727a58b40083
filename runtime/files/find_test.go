package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/minipod/minipod/internal/linux"
)

func TestSplit(t *testing.T) {
	for path, want := range map[string][3]string{
		"":             {"/", ".", "."},
		"/":            {"/", ".", "."},
		".":            {"/", ".", "."},
		"etc":          {"/", "etc", "etc"},
		"/etc/":        {"/etc", ".", "etc"},
		"/etc/.":       {"/etc", ".", "."},
		"/etc/./":      {"/etc", ".", "etc"},
		"a//b":         {"/a", "b", "b"},
		"/a/../../b":   {"/", "b", "b"},
		"../../..":     {"/", ".", "."},
		"/etc/passwd.": {"/etc", "passwd.", "passwd."},
		"/etc/..":      {"/", ".", "."},
		"/a/b/..":      {"/", "a", "a"},
		"/a/...":       {"/a", "...", "..."},
	} {
		dir, base, name := split(path)
		if got := [3]string{dir, base, name}; got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

// world makes a tree with a secret beside it, which no path may reach.
func world(t *testing.T) (Tree, string) {
	t.Helper()
	top := t.TempDir()
	root := filepath.Join(top, "root")
	write := func(name, content string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(top, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("secret", "secret")
	write("root/file", "file")
	write("root/dir/in", "in")
	write("root/real/deep/x", "x")
	for link, to := range map[string]string{
		"up": "../secret", "absolute": top + "/secret", "toDir": "dir", "toFile": "/file", "dangling": "/real/missing",
		"loop": "loop", "slashed": "dir/", "dotted": "real/deep/..", "magic": "/proc/self/root", "real/back": "../dir",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := linux.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	f.Name = "/"
	return Tree{f}, top
}

func TestFind(t *testing.T) {
	tree, _ := world(t)
	for _, tt := range []struct {
		path   string
		follow bool
		want   Source
		kind   uint32
		is     error
	}{
		{"file", false, Source{Name: "file"}, linux.S_IFREG, nil},
		{"/dir", false, Source{Name: "dir", IsDir: true}, linux.S_IFDIR, nil},
		{"/dir/.", false, Source{Name: ".", IsDir: true}, linux.S_IFDIR, nil},
		{"toDir", false, Source{Name: "toDir"}, linux.S_IFLNK, nil},
		{"toDir", true, Source{Name: "toDir", IsDir: true}, linux.S_IFDIR, nil},
		{"toDir/", false, Source{Name: "toDir", IsDir: true}, linux.S_IFDIR, nil},
		{"toDir/in", false, Source{Name: "in"}, linux.S_IFREG, nil},
		{"toFile", true, Source{Name: "toFile"}, linux.S_IFREG, nil},
		{"slashed", true, Source{Name: "slashed", IsDir: true}, linux.S_IFDIR, nil},
		{"dotted", true, Source{Name: "dotted", IsDir: true}, linux.S_IFDIR, nil},
		{"real/back/in", false, Source{Name: "in"}, linux.S_IFREG, nil},
		{"../../../../file", false, Source{Name: "file"}, linux.S_IFREG, nil},
		{"up", true, Source{}, 0, fs.ErrNotExist},
		{"absolute", true, Source{}, 0, fs.ErrNotExist},
		{"dangling", true, Source{}, 0, fs.ErrNotExist},
		{"missing", false, Source{}, 0, fs.ErrNotExist},
		{"missing/x", false, Source{}, 0, fs.ErrNotExist},
		{"loop", true, Source{}, 0, linux.ELOOP},
		{"file/", false, Source{}, 0, linux.ENOTDIR},
		{"magic/etc/passwd", false, Source{}, 0, fs.ErrNotExist},
	} {
		e, got, err := tree.find(tt.path, tt.follow)
		if !errors.Is(err, tt.is) || (err != nil) != (tt.is != nil) {
			t.Errorf("%s: %v, want %v", tt.path, err, tt.is)
			continue
		}
		if err != nil {
			continue
		}
		if got != tt.want || e.kind() != tt.kind {
			t.Errorf("%s (follow %t): %+v of kind %o, want %+v of %o", tt.path, tt.follow, got, e.kind(), tt.want, tt.kind)
		}
		e.dir.Close()
	}
}

// TestPlace is docker's table: what a copy becomes, by what is there already.
func TestPlace(t *testing.T) {
	tree, _ := world(t)
	file, folder, content, stream := Source{Name: "s"}, Source{Name: "s", IsDir: true}, Source{Name: ".", IsDir: true}, Source{Stream: true}
	for _, tt := range []struct {
		path   string
		source Source
		into   bool
		base   string // where not into
		is     error
	}{
		{"new", file, false, "new", nil},
		{"new", folder, false, "new", nil},
		{"new", content, false, "new", nil},
		{"new/", file, false, "", ErrDirNotExists},
		{"new/", folder, false, "new", nil},
		{"new/.", folder, false, "new", nil},
		{"dir", file, true, "", nil},
		{"dir/", folder, true, "", nil},
		{"dir", stream, true, "", nil},
		{"toDir", file, true, "", nil},
		{"dotted", file, true, "", nil},
		{"/", folder, true, "", nil},
		{"file", file, false, "file", nil},
		{"toFile", file, false, "file", nil},
		{"dangling", file, false, "missing", nil},
		{"file", folder, false, "", ErrCannotCopyDir},
		{"file", stream, false, "", ErrNotDir},
		{"new", stream, false, "", ErrNotDir},
		{"no/such/folder", file, false, "", fs.ErrNotExist},
		{"file/", file, false, "", linux.ENOTDIR},
		{"loop", file, false, "", linux.ELOOP},
		{"up", file, false, "secret", nil}, // the root's own, which it has not yet
	} {
		d, err := tree.destination(tt.path)
		into := false
		if err == nil {
			into, err = place(tt.source, d)
			d.dir.Close()
		}
		switch {
		case !errors.Is(err, tt.is) || (err != nil) != (tt.is != nil):
			t.Errorf("%+v to %s: %v, want %v", tt.source, tt.path, err, tt.is)
		case err == nil && (into != tt.into || !into && d.base != tt.base):
			t.Errorf("%+v to %s: into %t, as %q; want %t, %q", tt.source, tt.path, into, d.base, tt.into, tt.base)
		}
	}
}

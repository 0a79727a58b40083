package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// yard is a folder with things that no layer may touch, beside the folder of the layer.
func yard(t testing.TB) (base, root string) {
	t.Helper()
	base = t.TempDir()
	root = filepath.Join(base, "layers", "root")
	for _, err := range []error{
		os.MkdirAll(root, 0o755),
		os.Mkdir(filepath.Join(base, "outside"), 0o711),
		os.WriteFile(filepath.Join(base, "outside", "file"), []byte("canary"), 0o600),
		os.WriteFile(filepath.Join(base, "layers", "file"), []byte("canary"), 0o600),
		os.Symlink("outside/file", filepath.Join(base, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return base, root
}

// TestHostile: whatever the archive says, nothing outside changes. OUT in a name stands for the absolute path of the
// folder outside.
func TestHostile(t *testing.T) {
	const fine = ""
	long := strings.Repeat("n", 256)
	deep := strings.Repeat("d/", maxDepth)
	tests := []struct {
		name    string
		want    string // part of the error
		entries []entry
	}{
		{"dot dot", "leads out", []entry{file("../escape", "x")}},
		{"dot dot inside", "leads out", []entry{file("a/../../escape", "x")}},
		{"absolute dot dot", "leads out", []entry{file("/../../escape", "x")}},
		{"dot dot itself", "leads out", []entry{dir("..").mode(0o777)}},
		{"absolute", fine, []entry{file("OUT/file", "x")}},
		{"backslashes are a name", fine, []entry{file(`..\..\escape`, "x")}},

		{"write through an absolute link", "dangling", []entry{symlink("l", "OUT"), file("l/file", "x")}},
		{"write through a relative link", "dangling", []entry{symlink("l", "../../outside"), file("l/file", "x")}},
		{"write through a link to dot dot", fine, []entry{symlink("l", "../.."), file("l/file", "x")}},
		{"write through links in a row", "dangling", []entry{symlink("a", "OUT"), symlink("b", "a"), symlink("c", "b"), file("c/file", "x")}},
		{"write through a link to /proc", "dangling", []entry{symlink("l", "/proc/self/cwd"), file("l/file", "x")}},
		{"link loop", "too many levels", []entry{symlink("a", "b"), symlink("b", "a"), file("a/file", "x")}},
		{"write on a link", fine, []entry{symlink("l", "OUT/file"), file("l", "x")}},
		{"folder on a link", fine, []entry{symlink("l", "OUT"), dir("l").mode(0o777), file("l/file", "x")}},
		{"link on a cached folder", "dangling", []entry{dir("d"), file("d/a", "x"), symlink("d", "OUT"), file("d/file", "x")}},
		{"link on the parent of a cached folder", "dangling", []entry{file("d/e/a", "x"), symlink("d", "OUT"), file("d/e/file", "x")}},
		{"mode of a folder that became a link", fine, []entry{dir("d").mode(0o777), symlink("d", "OUT")}},
		{"mode below a folder that became a link", fine, []entry{dir("d/outside").mode(0o777), symlink("d", "../..")}},
		{"fifo on a link", fine, []entry{symlink("l", "OUT/file"), special("l", tar.TypeFifo).mode(0o777)}},
		{"fifo through a link", "dangling", []entry{symlink("l", "OUT"), special("l/fifo", tar.TypeFifo)}},
		{"root is a link", "root is not a folder", []entry{symlink("./", "OUT")}},
		{"root is a file", "root is not a folder", []entry{file(".", "x")}},

		{"hard link out", "leads out", []entry{hardlink("h", "../file")}},
		{"hard link to absolute", "no such file", []entry{hardlink("h", "OUT/file")}},
		{"hard link through a link", "no such file", []entry{symlink("l", "OUT"), hardlink("h", "l/file")}},
		{"hard link through dot dot link", "no such file", []entry{symlink("l", ".."), hardlink("h", "l/outside/file")}},
		{"write on a hard link to a link", fine, []entry{symlink("l", "OUT/file"), hardlink("h", "l"), file("h", "x").mode(0o777)}},
		{"hard link to a folder", "not permitted", []entry{dir("d"), hardlink("h", "d")}},
		{"hard link to itself", fine, []entry{file("h", "x"), hardlink("h", "h")}},
		{"hard link to itself, missing", "no such file", []entry{hardlink("h", "h")}},
		{"hard link to what it replaces", "no such file", []entry{file("d/f", "x"), hardlink("d", "d/f")}},
		{"hard link to root", "", []entry{hardlink("h", "/")}},

		{"whiteout of dot", "whiteout of no name", []entry{file("a/.wh..", "")}},
		{"whiteout of dot dot", "whiteout of no name", []entry{file("a/.wh...", "")}},
		{"whiteout of nothing", "whiteout of no name", []entry{file(".wh.", "")}},
		{"whiteout out", "leads out", []entry{file("../.wh.file", "")}},
		{"whiteout through a link", "dangling", []entry{symlink("l", "OUT"), file("l/.wh.file", "")}},
		{"whiteout through a later link", fine, []entry{file("l/.wh.file", ""), dir("l"), symlink("l", "../.."), dir("x")}},
		{"opaque through a link", "dangling", []entry{symlink("l", "OUT"), file("l/.wh..wh..opq", "")}},
		{"whiteout as a folder", "not a folder", []entry{file(".wh.a/b", "x")}},
		{"forged whiteout", fine, []entry{special("w", tar.TypeChar)}},

		{"owner -1", "no such owner", []entry{file("f", "x").owner(-1, -1)}},
		{"owner too great", "no such owner", []entry{file("f", "x").owner(1<<32-1, 0)}},
		{"unknown type", "unknown type", []entry{{Header: tar.Header{Typeflag: 'Z', Name: "z", Format: tar.FormatGNU}}}},
		{"file as a folder", "not a directory", []entry{file("f", "x"), file("f/g", "x")}},
		{"long name", "too long", []entry{file(long, "x")}},
		{"long path", "nest deeper", []entry{file(deep+"d/f", "x")}},
		{"deep by links", "nest deeper", []entry{file(deep[:len(deep)/2]+"f", "x"), symlink("s", deep[:len(deep)/2]), file("s/"+deep[:len(deep)/2]+"e/f", "x")}},
		{"folders deep by links", "nest deeper", []entry{
			dir(deep[:len(deep)/2]), symlink("s", deep[:len(deep)/2]), dir("s/" + deep[:len(deep)/2]),
			symlink("t", "s/"+deep[:len(deep)/2]), dir("t/d"),
		}},
		{"too many entries", "too big", []entry{file("a", ""), file("b", ""), file(deep+"f", ""), file("e/e/e/e/e/e/e/e/e/f", "")}},
		{"too many bytes", "too big", []entry{file("a", strings.Repeat("x", 10<<10))}},
		{"xattr too long", "", []entry{file("f", "x").xattr("user."+long, "y")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			base, root := yard(t)
			before := list(t, base, root)
			for i, e := range test.entries {
				test.entries[i].Name = strings.ReplaceAll(e.Name, "OUT", base+"/outside")
				test.entries[i].Linkname = strings.ReplaceAll(e.Linkname, "OUT", base+"/outside")
			}
			data := archive(t, test.entries...)
			_, err := Unpack(context.Background(), root, bytes.NewReader(data), Options{TolerateChown: true, MaxBytes: 8 << 10, MaxEntries: maxDepth + 10})
			if after := list(t, base, root); after != before {
				t.Errorf("outside changed:\n%s\nwas\n%s", after, before)
			}
			var bad *EntryError
			switch {
			case err == nil && test.want != fine:
				t.Errorf("no error, want %q", test.want)
			case err != nil && (!errors.As(err, &bad) || test.want == fine && !mayFail[test.name] || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want an EntryError with %q", err, test.want)
			}
			if err := os.RemoveAll(root); err != nil {
				t.Errorf("what is left can't be removed: %v", err)
			}
		})
	}
}

var mayFail = map[string]bool{"hard link to root": true, "xattr too long": true}

func TestTruncated(t *testing.T) {
	data := archive(t, dir("d"), file("d/first", "1"), file("d/second", strings.Repeat("2", 4000)))
	for _, test := range []struct {
		length int
		entry  string
	}{
		{300, ""},
		{512 + 100, "d"},
		{3*512 + 100, "d/first"},
		{4*512 + 1000, "d/second"},
	} {
		_, err := Unpack(context.Background(), t.TempDir(), bytes.NewReader(data[:test.length]), Options{TolerateChown: true})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v, want an unexpected EOF", test.length, err)
		}
		var bad *EntryError
		if errors.As(err, &bad) != (test.entry != "") || bad != nil && bad.Entry != test.entry {
			t.Errorf("cut at %d: %v, want it to name %q", test.length, err, test.entry)
		}
	}
}

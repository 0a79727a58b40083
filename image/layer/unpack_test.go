package layer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnpackKinds(t *testing.T) {
	long := strings.Repeat("long/", 60) + strings.Repeat("n", 200)
	root, sum := unpack(t,
		dir("./").mode(0o711),
		dir("bin").mode(0o555),
		file("bin/su", "root").mode(0o4755),
		file("bin/none", "x").mode(0),
		dir("tmp").mode(0o1777),
		symlink("lib", "usr/lib"),
		symlink("broken", "/no/where"),
		hardlink("bin/sudo", "bin/su"),
		hardlink("broken2", "broken"),
		special("fifo", tar.TypeFifo).mode(0o660),
		special("null", tar.TypeChar),
		special("sda", tar.TypeBlock),
		file(long, "deep"),
		file("\xff\xfe", "not UTF-8"),
		file("/abs/olute", "relative"),
		file("many/./x/../y", "cleaned"),
	)
	if want := (Summary{Entries: 16 + 60 + 2, Bytes: 4 + 1 + 4 + 9 + 8 + 7, Devices: 2, Chowns: sum.Chowns}); sum != want {
		t.Errorf("summary %+v, want %+v", sum, want)
	}
	for name, want := range map[string]uint32{
		".": unix.S_IFDIR | 0o711, "bin": unix.S_IFDIR | 0o555, "bin/su": unix.S_IFREG | 0o4755, "bin/none": unix.S_IFREG,
		"tmp": unix.S_IFDIR | 0o1777, "lib": unix.S_IFLNK | 0o777, "fifo": unix.S_IFIFO | 0o660, "many": unix.S_IFDIR | 0o755,
		long: unix.S_IFREG | 0o644, "abs/olute": unix.S_IFREG | 0o644, "many/y": unix.S_IFREG | 0o644, "\xff\xfe": unix.S_IFREG | 0o644,
	} {
		st := lstat(t, root, name)
		if st.Mode != want {
			t.Errorf("%s has mode %o, want %o", name, st.Mode, want)
		}
		if name != "many" && st.Mtim.Sec != epoch.Unix() {
			t.Errorf("%s has time %d, want %d", name, st.Mtim.Sec, epoch.Unix())
		}
	}
	if a, b := lstat(t, root, "bin/su"), lstat(t, root, "bin/sudo"); a.Ino != b.Ino {
		t.Error("bin/sudo is not bin/su")
	}
	if a, b := lstat(t, root, "broken"), lstat(t, root, "broken2"); a.Ino != b.Ino || a.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Error("broken2 is not the link broken")
	}
	if _, err := os.Lstat(filepath.Join(root, "null")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a device was made: %v", err)
	}
	os.Chmod(filepath.Join(root, "bin"), 0o755) // for the removal
}

// TestUnpackReplaces: the last entry of a name counts, and only folders merge.
func TestUnpackReplaces(t *testing.T) {
	root, _ := unpack(t,
		file("file-file", "old").mode(0o600), file("file-file", "new"),
		file("dir-file/a/b", "old"), file("dir-file", "new"),
		file("file-dir", "old"), dir("file-dir"), file("file-dir/a", "new"),
		file("dir-dir/a", "kept").mode(0o600), dir("dir-dir").mode(0o700), file("dir-dir/b", "new"),
		file("link-dir-target/a", "kept"), symlink("link-dir", "link-dir-target"), dir("link-dir"), file("link-dir/a", "new"),
		file("linked", "kept"), hardlink("link", "linked"), file("link", "new"),
		file("dir-link/a", "old"), symlink("dir-link", "file-dir"),
		file("dir-hard/a", "old"), hardlink("dir-hard", "linked"),
		special("fifo", tar.TypeFifo), file("fifo", "new"),
		dir("cached/a"), file("cached/a/1", "old"), file("cached", "x"), file("cached", "x"), dir("cached"), file("cached/a/2", "new"),
	)
	for name, want := range map[string]string{
		"file-file": "new", "dir-file": "new", "file-dir/a": "new", "dir-dir/a": "kept", "dir-dir/b": "new",
		"link-dir-target/a": "kept", "link-dir/a": "new", "linked": "kept", "link": "new", "dir-link/a": "new", "dir-hard": "kept",
		"fifo": "new", "cached/a/2": "new",
	} {
		if got := content(t, root, name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	if mode := lstat(t, root, "dir-dir").Mode & 0o777; mode != 0o700 {
		t.Errorf("dir-dir has mode %o, the later entry's is 700", mode)
	}
	if _, err := os.Lstat(filepath.Join(root, "cached/a/1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("cached/a/1 outlived its folder: %v", err)
	}
}

// TestUnpackThroughLinks: a symbolic link on the way is followed as in a chroot. No machine has a /Usr that a broken
// Unpack could harm.
func TestUnpackThroughLinks(t *testing.T) {
	root, _ := unpack(t,
		dir("Usr/lib"), symlink("lib", "Usr/lib"), file("lib/a", "a"), file("lib/new/b", "b"),
		symlink("Usr/abs", "/Usr/lib"), file("Usr/abs/c", "c"),
		symlink("up", "../../../Usr"), file("up/lib/d", "d"),
		dir("lib/own").mode(0o700), hardlink("e", "lib/a"),
	)
	for _, name := range []string{"Usr/lib/a", "Usr/lib/new/b", "Usr/lib/c", "Usr/lib/d"} {
		if got := content(t, root, name); got != filepath.Base(name) {
			t.Errorf("%s holds %q", name, got)
		}
	}
	if mode := lstat(t, root, "Usr/lib/own").Mode & 0o777; mode != 0o700 {
		t.Errorf("Usr/lib/own has mode %o, want 700", mode)
	}
	if lstat(t, root, "e").Ino != lstat(t, root, "Usr/lib/a").Ino {
		t.Error("e is not Usr/lib/a")
	}
}

func TestUnpackWhiteouts(t *testing.T) {
	root, sum := unpack(t,
		file("etc/.wh.motd", ""),
		file("etc/.wh.ssl", ""), dir("etc/ssl"), // the folder below is gone, this one is new
		file("etc/host", "mine"), file("etc/.wh.host", ""), // hides what it names in the layers below, never here
		file("var/.wh..wh..opq", ""), file("var/.wh.log", ""),
		file(".wh..wh.aufs", ""), file(".wh..wh.plnk/1.2", ""),
	)
	if st := lstat(t, root, "etc/motd"); st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("etc/motd is %o, dev %d, not a whiteout", st.Mode, st.Rdev)
	}
	if got := content(t, root, "etc/host"); got != "mine" {
		t.Errorf("etc/host holds %q", got)
	}
	for name, want := range map[string]string{"etc/ssl": "y", "var": "y", "etc": "", ".": ""} {
		if got := testXattrs(filepath.Join(root, name))[xattrOpaque]; got != want {
			t.Errorf("%s: %s is %q, want %q", name, xattrOpaque, got, want)
		}
	}
	if _, err := os.Lstat(filepath.Join(root, "var/log")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a whiteout in an opaque folder hides nothing and would show: %v", err)
	}
	if names, _ := os.ReadDir(root); len(names) != 2 || sum.OpaqueRoot {
		t.Errorf("root holds %v, opaque: %v", names, sum.OpaqueRoot)
	}
	if _, sum := unpack(t, file(".wh..wh..opq", "")); !sum.OpaqueRoot {
		t.Error("the opaque root is not in the summary")
	}
}

func TestUnpackXattrs(t *testing.T) {
	root, sum := unpack(t,
		file("f", "x").mode(0o444).xattr("user.mime", "text\x00plain").xattr("user.overlay.redirect", "/etc").xattr("trusted.overlay.opaque", "y"),
		dir("d").xattr("user.d", "1").xattr("user.overlay.opaque", "y").xattr("user.fuseoverlayfs.opaque", "y"),
		symlink("l", "f").xattr("user.x", "1"),
	)
	if got := testXattrs(filepath.Join(root, "f")); len(got) != 1 || got["user.mime"] != "text\x00plain" {
		t.Errorf("f has %q", got)
	}
	if got := testXattrs(filepath.Join(root, "d")); len(got) != 1 || got["user.d"] != "1" {
		t.Errorf("d has %q", got)
	}
	if sum.Xattrs != 4 {
		t.Errorf("%d attributes dropped, want 4", sum.Xattrs)
	}
}

func TestUnpackSparse(t *testing.T) {
	body := make([]byte, 8<<20)
	copy(body[3<<20:], "in the middle")
	body[5<<20+17] = 1
	tail := append(bytes.Clone(body), "odd end"...)
	root, _ := unpack(t, file("sparse", string(body)), file("tail", string(tail)), file("zero", string(make([]byte, 1<<20))))
	if content(t, root, "sparse") != string(body) || content(t, root, "tail") != string(tail) {
		t.Error("content differs")
	}
	for name, most := range map[string]int64{"sparse": 256 << 10, "tail": 384 << 10, "zero": 0} {
		if used := lstat(t, root, name).Blocks * 512; used > most {
			t.Errorf("%s takes %d bytes, want at most %d", name, used, most)
		}
	}
	if size := lstat(t, root, "zero").Size; size != 1<<20 {
		t.Errorf("zero has size %d", size)
	}
}

// TestUnpackGNUSparse unpacks what GNU tar --sparse wrote, in both of its formats.
func TestUnpackGNUSparse(t *testing.T) {
	files, _ := filepath.Glob("testdata/sparse-*.tar.gz")
	if len(files) != 2 {
		t.Fatalf("testdata has %v", files)
	}
	want := make([]byte, 3<<20)
	copy(want[1<<20:], "data")
	for _, name := range files {
		root := t.TempDir()
		if _, err := Unpack(context.Background(), root, gunzip(t, name), Options{TolerateChown: true}); err != nil {
			t.Fatal(err)
		}
		if content(t, root, "sparse") != string(want) {
			t.Errorf("%s: content differs", name)
		}
		if used := lstat(t, root, "sparse").Blocks * 512; used > 128<<10 {
			t.Errorf("%s: takes %d bytes", name, used)
		}
	}
}

func TestUnpackCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	data := archive(t, file("a", ""), file("b", strings.Repeat("x", 3<<20)), file("c", ""))
	r := io.MultiReader(bytes.NewReader(data[:1<<20]), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }), bytes.NewReader(data[1<<20:]))
	root := t.TempDir()
	if _, err := Unpack(ctx, root, r, Options{TolerateChown: true}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want cancelled", err)
	}
	if _, err := os.Lstat(filepath.Join(root, "c")); err == nil {
		t.Error("it went on to c")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) {
	if n, err := f(p); n > 0 || err != nil {
		return n, err
	}
	return 0, io.EOF // of this part of the MultiReader
}

// TestUnpackReadsAll: a DiffID covers the padding after the archive's end.
func TestUnpackReadsAll(t *testing.T) {
	r := bytes.NewReader(append(archive(t, file("a", "a")), make([]byte, 1<<20)...))
	if _, err := Unpack(context.Background(), t.TempDir(), r, Options{TolerateChown: true}); err != nil || r.Len() > 0 {
		t.Errorf("%d bytes left, %v", r.Len(), err)
	}
	endless := io.MultiReader(bytes.NewReader(archive(t)), readerFunc(func(p []byte) (int, error) { return len(p), nil }))
	_, err := Unpack(context.Background(), t.TempDir(), endless, Options{MaxBytes: 1, MaxEntries: 1})
	if !errors.Is(err, ErrTooBig) {
		t.Errorf("endless padding: %v, want %v", err, ErrTooBig)
	}
}

// TestUnpackGenuine unpacks the layers of the images beside the repository.
func TestUnpackGenuine(t *testing.T) {
	layers := 0
	for _, name := range genuine(t) {
		root := t.TempDir()
		sum, err := Unpack(context.Background(), root, gunzip(t, name), Options{TolerateChown: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if sum.Entries < 10 || len(content(t, root, "bin/busybox")) < 100_000 {
			t.Errorf("%s: %+v", name, sum)
		}
		layers++
	}
	if layers == 0 {
		t.Skip("no images in ../shared/images")
	}
}

// genuine answers the names of the gzipped layers beside the repository.
func genuine(t testing.TB) (layers []string) {
	blobs, _ := filepath.Glob("../../../shared/images/*/blobs/sha256/*")
	for _, name := range blobs {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		magic := make([]byte, 2)
		io.ReadFull(f, magic)
		f.Close()
		if string(magic) == "\x1f\x8b" {
			layers = append(layers, name)
		}
	}
	return layers
}

func gunzip(t testing.TB, name string) io.Reader {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

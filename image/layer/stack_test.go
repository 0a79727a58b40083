package layer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// scribble does in the tree at root what containers do.
func scribble(t *testing.T, root string) {
	t.Helper()
	in := func(name string) string { return filepath.Join(root, name) }
	for _, step := range []func() error{
		func() error { return os.WriteFile(in("etc/host"), []byte("changed"), 0o644) },
		func() error { return os.WriteFile(in("etc/added"), []byte("new"), 0o600) },
		func() error { return os.Remove(in("etc/keep")) },
		func() error { return os.RemoveAll(in("var/log")) },
		func() error { return os.RemoveAll(in("comes-back")) }, // and another takes its place: opaque, to overlay
		func() error { return os.Mkdir(in("comes-back"), 0o755) },
		func() error { return os.WriteFile(in("comes-back/again"), []byte("4"), 0o644) },
		func() error { return os.Remove(in("becomes-file")) },
		func() error { return os.Mkdir(in("becomes-file"), 0o700) },
		func() error { return os.WriteFile(in("becomes-file/y"), []byte("4"), 0o644) },
		func() error { return os.RemoveAll(in("sandwich")) },
		func() error { return os.WriteFile(in("sandwich"), []byte("4"), 0o644) },
		func() error { return os.MkdirAll(in("new/deep"), 0o755) },
		func() error { return os.WriteFile(in("new/deep/a"), []byte("a"), 0o644) },
		func() error { return os.Link(in("new/deep/a"), in("new/deep/b")) },
		func() error { return os.Symlink("a", in("new/deep/link")) },
		func() error { return unix.Mkfifo(in("new/fifo"), 0o620) },
		func() error { return os.Chmod(in("bin"), 0o711) },
		func() error { return os.Chown(in("var/keep"), 7, 7) },
		func() error { return unix.Setxattr(in("cap"), "user.mine", []byte("1"), 0) },
		// A copy up that changes nothing, and mount points.
		func() error { f, err := os.OpenFile(in("owned"), os.O_WRONLY, 0); f.Close(); return err },
		func() error { return os.Mkdir(in("proc"), 0o755) },
		func() error { return os.WriteFile(in("etc/hosts"), nil, 0o644) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

const scribbled = `C /becomes-file
A /becomes-file/y
C /bin
C /cap
C /comes-back
A /comes-back/again
D /comes-back/new
C /etc
A /etc/added
C /etc/host
D /etc/keep
A /new
A /new/deep
A /new/deep/a
A /new/deep/b
A /new/deep/link
A /new/fifo
C /sandwich
C /var
C /var/keep
D /var/log
`

func lines(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%c %s\n", c.Kind, c.Path)
	}
	return b.String()
}

func openStack(t *testing.T, fuse bool, dirs ...string) *Stack {
	t.Helper()
	s, err := OpenStack(dirs, fuse)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func compareStacks(t *testing.T, s, base *Stack, above bool) []Change {
	t.Helper()
	changes, err := s.CompareTo(context.Background(), base, above, map[string]bool{"proc": true, "etc/hosts": true})
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(changes); got != scribbled {
		t.Errorf("changes\n%s\nwant\n%s", got, scribbled)
	}
	return changes
}

// TestStackAgainstOverlay: what a stack says without mounting is what overlayfs shows, and what a container changed becomes a
// layer that shows the same.
func TestStackAgainstOverlay(t *testing.T) {
	if !inUserns(t, idRange) {
		return
	}
	lowers := unpackStack(t, Options{})
	upper, work, merged := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.Chmod(upper, 0o755); err != nil {
		t.Fatal(err)
	}
	options := "userxattr,lowerdir=" + strings.Join(lowers, ":") + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Skipf("overlayfs in a user namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(merged, 0); err != nil {
			t.Error(err)
		}
	})
	scribble(t, merged)
	now, base := openStack(t, false, slices.Insert(slices.Clone(lowers), 0, upper)...), openStack(t, false, lowers...)
	changes := compareStacks(t, now, base, true)
	compareStacks(t, now, base, false) // whoever looks at everything sees the same

	unpacked := func(write func(*bytes.Buffer) error) string {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		root := t.TempDir()
		if _, err := Unpack(context.Background(), root, &b, Options{}); err != nil {
			t.Fatal(err)
		}
		return root
	}
	want := show(t, merged)
	exported := unpacked(func(b *bytes.Buffer) error { return now.Export(context.Background(), b) })
	if got := show(t, exported); got != want {
		t.Errorf("exported\n%s\nwant\n%s", got, want)
	}
	if a, b := lstat(t, exported, "new/deep/a"), lstat(t, exported, "new/deep/b"); a.Ino != b.Ino {
		t.Error("two names of one file are two files")
	}
	added := unpacked(func(b *bytes.Buffer) error { return now.WriteChanges(context.Background(), b, changes) })
	for _, name := range []string{"proc", "etc/hosts"} { // which the layer leaves out
		if err := os.Remove(filepath.Join(merged, name)); err != nil {
			t.Fatal(err)
		}
	}
	want = show(t, merged)
	if got := show(t, mountOverlay(t, slices.Insert(slices.Clone(lowers), 0, added)...)); got != want {
		t.Errorf("with the new layer\n%s\nwant\n%s", got, want)
	}
	if got := testXattrs(filepath.Join(added, "cap"))["user.mine"]; got != "1" {
		t.Errorf("the extended attribute is %q", got)
	}
}

// TestStackOfCopy: a container that is a plain copy has changed in the same ways.
func TestStackOfCopy(t *testing.T) {
	if !inUserns(t, idRange) {
		return
	}
	lowers, root := unpackStack(t, Options{}), t.TempDir()
	if err := Flatten(context.Background(), root, lowers); err != nil {
		t.Fatal(err)
	}
	scribble(t, root)
	compareStacks(t, openStack(t, false, root), openStack(t, false, lowers...), false)
}

// TestStackOfFuse: where fuse-overlayfs says by names what overlayfs says by marks.
func TestStackOfFuse(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	for _, name := range []string{lower + "/a", lower + "/d/x", lower + "/keep", upper + "/.wh.a", upper + "/d/.wh..wh..opq", upper + "/d/y", upper + "/.wh..wh.aufs"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	changes, err := openStack(t, true, upper, lower).CompareTo(context.Background(), openStack(t, false, lower), true, nil)
	if want := "D /a\nC /d\nD /d/x\nA /d/y\n"; err != nil || lines(changes) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, lines(changes), want)
	}
}

// TestChangesRefuseMarks: a file that a layer would take for a deletion is no silent loss.
func TestChangesRefuseMarks(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(upper, ".wh.passwd"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	now := openStack(t, false, upper, lower)
	changes, err := now.CompareTo(context.Background(), openStack(t, false, lower), true, nil)
	if err != nil || lines(changes) != "A /.wh.passwd\n" {
		t.Errorf("%s, %v", lines(changes), err)
	}
	if err := now.WriteChanges(context.Background(), &bytes.Buffer{}, changes); err == nil || !strings.Contains(err.Error(), "delete another") {
		t.Error(err)
	}
}

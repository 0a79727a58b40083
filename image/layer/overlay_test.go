package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/linux"
	"golang.org/x/sys/unix"
)

// stack is an image of three layers, bottom first, that uses every word of the format.
var stack = [][]entry{
	{
		dir("./").mode(0o755),
		dir("etc").mode(0o750).owner(0, 12), file("etc/motd", "1"), file("etc/host", "1"), file("etc/ssl/old", "1"), file("etc/keep", "1"),
		file("var/log/a", "1"), file("var/log/deep/b", "1"), file("var/keep", "1"),
		file("becomes-dir", "1"), file("becomes-file/x", "1"), file("comes-back/old", "1"), file("sandwich/old", "1"),
		file("bin/su", "su").mode(0o4755), hardlink("bin/sudo", "bin/su"),
		file("owned", "1").owner(33, 44).mode(0o2755), symlink("link", "etc"),
		file("cap", "1").xattr("security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
	},
	{
		file("etc/.wh.motd", ""), file("etc/.wh.ssl", ""), file("etc/ssl/new", "2"), file("etc/host", "2"), file("etc/.wh.host", ""),
		file("var/.wh.log", ""), file("becomes-dir/x", "2"), file("becomes-file", "2"), file(".wh.comes-back", ""), file("sandwich", "2"),
	},
	{
		dir("etc").mode(0o700), file("var/log/.wh..wh..opq", ""), file("var/log/.wh.stray", ""), file("var/log/c", "3"), file("comes-back/new", "3"), file("sandwich/new", "3"),
	},
}

// stackShows is what a container of that image sees.
const stackShows = `. drwxr-xr-x 0:0
becomes-dir drwxr-xr-x 0:0
becomes-dir/x -rw-r--r-- 0:0 "2"
becomes-file -rw-r--r-- 0:0 "2"
bin drwxr-xr-x 0:0
bin/su urwxr-xr-x 0:0 "su"
bin/sudo urwxr-xr-x 0:0 "su"
cap -rw-r--r-- 0:0 "1"
comes-back drwxr-xr-x 0:0
comes-back/new -rw-r--r-- 0:0 "3"
etc drwx------ 0:0
etc/host -rw-r--r-- 0:0 "2"
etc/keep -rw-r--r-- 0:0 "1"
etc/ssl drwxr-xr-x 0:0
etc/ssl/new -rw-r--r-- 0:0 "2"
link Lrwxrwxrwx 0:0 etc
owned grwxr-xr-x 33:44 "1"
sandwich drwxr-xr-x 0:0
sandwich/new -rw-r--r-- 0:0 "3"
var drwxr-xr-x 0:0
var/keep -rw-r--r-- 0:0 "1"
var/log drwxr-xr-x 0:0
var/log/c -rw-r--r-- 0:0 "3"
`

// unpackStack unpacks the layers of stack and answers their folders, top first.
func unpackStack(t *testing.T, o Options) (lowers []string) {
	t.Helper()
	for i, entries := range stack {
		root := t.TempDir()
		if _, err := Unpack(context.Background(), root, bytes.NewReader(archive(t, entries...)), o); err != nil {
			t.Fatalf("layer %d: %v", i, err)
		}
		lowers = slices.Insert(lowers, 0, root)
	}
	return lowers
}

// show answers what a reader of the tree sees: no inodes, no times.
func show(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); errors.Is(err, fs.ErrNotExist) {
			return nil // a whiteout of nothing, in a folder that one layer has: overlayfs lists it, and denies it
		} else if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		fmt.Fprintf(&b, "%s %v %d:%d", rel, info.Mode(), st.Uid, st.Gid)
		switch info.Mode().Type() {
		case 0:
			fmt.Fprintf(&b, " %q", content(t, root, rel))
		case fs.ModeSymlink:
			target, _ := os.Readlink(name)
			fmt.Fprintf(&b, " %s", target)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return b.String()
}

// mountOverlay mounts lowers, top first, and answers where, or skips.
func mountOverlay(t *testing.T, lowers ...string) string {
	t.Helper()
	upper, work, merged := t.TempDir(), t.TempDir(), t.TempDir()
	os.Chmod(upper, 0o755)
	options := "userxattr,lowerdir=" + strings.Join(lowers, ":") + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Skipf("overlayfs in a user namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(merged, 0); err != nil {
			t.Error(err)
		}
	})
	return merged
}

// TestOverlayRange: with the user's whole range, overlayfs shows the image that the layers describe, owners included.
func TestOverlayRange(t *testing.T) {
	if !inUserns(t, idRange) {
		return
	}
	lowers := unpackStack(t, Options{})
	merged := mountOverlay(t, lowers...)
	if got := show(t, merged); got != stackShows {
		t.Errorf("overlay shows\n%s\nwant\n%s", got, stackShows)
	}
	if got := testXattrs(filepath.Join(merged, "cap"))["security.capability"]; len(got) != 20 || got[0] != 1 {
		t.Errorf("cap's capabilities are %x", got)
	}
}

// TestOverlayOneID: with one id the same, but all is the user's.
func TestOverlayOneID(t *testing.T) {
	if !inUserns(t, oneID) {
		return
	}
	merged := mountOverlay(t, unpackStack(t, Options{TolerateChown: true})...)
	if got, want := show(t, merged), strings.ReplaceAll(stackShows, "33:44", "0:0"); got != want {
		t.Errorf("overlay shows\n%s\nwant\n%s", got, want)
	}
	// Without tolerance the error says what to do.
	_, err := Unpack(context.Background(), t.TempDir(), bytes.NewReader(archive(t, file("f", "").owner(33, 0))), Options{})
	var bad *EntryError
	if !errors.As(err, &bad) || bad.Entry != "f" || !errors.Is(err, unix.EINVAL) {
		t.Errorf("unmapped owner: %v", err)
	}
}

// TestXattrWhiteout: the form for machines that forbid mknod hides too, and is read back.
func TestXattrWhiteout(t *testing.T) {
	if !inUserns(t, oneID) {
		return
	}
	lower, _ := unpack(t, dir("./"), file("d/gone", "1"), file("d/empty", ""), file("d/kept", "1"))
	top, _ := unpack(t, dir("./"), file("d/mine", ""))
	d, err := linux.OpenDir(filepath.Join(top, "d"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := makeXattrWhiteout(d, "gone"); err != nil {
		t.Fatal(err)
	}
	want := `. drwxr-xr-x 0:0
d drwxr-xr-x 0:0
d/empty -rw-r--r-- 0:0 ""
d/kept -rw-r--r-- 0:0 "1"
d/mine -rw-r--r-- 0:0 ""
`
	flat := t.TempDir()
	if err := Flatten(context.Background(), flat, []string{top, lower}); err != nil {
		t.Fatal(err)
	}
	if got := show(t, flat); got != want {
		t.Errorf("flattened\n%s\nwant\n%s", got, want)
	}
	var major, minor int
	release, _ := linux.KernelRelease()
	if fmt.Sscanf(release, "%d.%d", &major, &minor); major < 6 || major == 6 && minor < 7 {
		t.Skipf("Linux %s does not know whiteouts as extended attributes: 6.7 does", release)
	}
	if got := show(t, mountOverlay(t, top, lower)); got != want {
		t.Errorf("overlay shows\n%s\nwant\n%s", got, want)
	}
}

// TestFlatten: the copy shows what overlayfs shows.
func TestFlatten(t *testing.T) {
	if !inUserns(t, idRange) {
		return
	}
	lowers := unpackStack(t, Options{})
	flat := t.TempDir()
	if err := Flatten(context.Background(), flat, lowers); err != nil {
		t.Fatal(err)
	}
	if got := show(t, flat); got != stackShows {
		t.Errorf("flattened\n%s\nwant\n%s", got, stackShows)
	}
	if a, b := lstat(t, flat, "bin/su"), lstat(t, flat, "bin/sudo"); a.Ino != b.Ino {
		t.Error("the hard link is gone")
	}
	if got := testXattrs(filepath.Join(flat, "cap"))["security.capability"]; len(got) != 20 || got[0] != 1 {
		t.Errorf("cap's capabilities are %x", got)
	}
	if got := lstat(t, flat, "etc/keep").Mtim.Sec; got != epoch.Unix() {
		t.Errorf("etc/keep has time %d", got)
	}
	if got := testXattrs(filepath.Join(flat, "var/log")); len(got) != 0 {
		t.Errorf("var/log has %v", got)
	}
}

// TestOverlayUpper: Pack says what a container changed, and unpacked again that shows the same.
func TestOverlayUpper(t *testing.T) {
	if !inUserns(t, idRange) {
		return
	}
	lowers := unpackStack(t, Options{})
	upper, work, merged := t.TempDir(), t.TempDir(), t.TempDir()
	os.Chmod(upper, 0o755)
	options := "userxattr,lowerdir=" + strings.Join(lowers, ":") + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Skipf("overlayfs in a user namespace: %v", err)
	}
	in := func(name string) string { return filepath.Join(merged, name) }
	for _, err := range []error{
		os.Remove(in("etc/host")),
		os.RemoveAll(in("etc/ssl")), os.Mkdir(in("etc/ssl"), 0o700), os.WriteFile(in("etc/ssl/fresh"), []byte("c"), 0o600),
		os.RemoveAll(in("var")), os.WriteFile(in("var"), []byte("now a file"), 0o644),
		os.Chown(in("owned"), 5, 6), os.Link(in("bin/su"), in("bin/doas")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := show(t, merged)
	if err := unix.Unmount(merged, 0); err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	if err := Pack(context.Background(), &layer, upper); err != nil {
		t.Fatal(err)
	}
	again := t.TempDir()
	if _, err := Unpack(context.Background(), again, &layer, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := show(t, mountOverlay(t, append([]string{again}, lowers...)...)); got != want {
		t.Errorf("committed and mounted again:\n%s\nwant\n%s", got, want)
	}
}

// TestFlattenRandom: overlayfs itself is the judge of what random stacks show.
func TestFlattenRandom(t *testing.T) {
	if !inUserns(t, oneID) {
		return
	}
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 20 {
		var lowers []string
		for range 4 {
			program := make([]byte, 3*20)
			for i := range program {
				program[i] = byte(random.Uint32())
			}
			root, opaque := unpackWhatWorks(t, entriesOf(program, "/nowhere"))
			if opaque {
				lowers = nil
			}
			lowers = slices.Insert(lowers, 0, root)
		}
		flat := t.TempDir()
		if err := Flatten(context.Background(), flat, lowers); err != nil {
			t.Fatal(err)
		}
		os.Chmod(flat, 0o755) // a mount has the root of its upper layer
		if got, want := show(t, flat), show(t, mountOverlay(t, lowers...)); got != want {
			t.Errorf("round %d, flattened\n%s\noverlay shows\n%s", round, got, want)
		}
	}
}

// unpackWhatWorks unpacks entries without those that are errors.
func unpackWhatWorks(t *testing.T, entries []entry) (root string, opaque bool) {
	for {
		root = t.TempDir()
		sum, err := Unpack(context.Background(), root, bytes.NewReader(archive(t, entries...)), Options{TolerateChown: true})
		var bad *EntryError
		if !errors.As(err, &bad) {
			if err != nil {
				t.Fatal(err)
			}
			return root, sum.OpaqueRoot
		}
		entries = slices.DeleteFunc(entries, func(e entry) bool { return e.Name == bad.Entry })
	}
}

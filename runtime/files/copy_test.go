package files

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/minipod/minipod/internal/linux"
)

func tree(t *testing.T, dir string) Tree {
	t.Helper()
	f, err := linux.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	f.Name = "/"
	return Tree{f}
}

// mine are the options of the user's side, the only ones that need no user namespace.
var mine = Options{Mine: true}

func copyBetween(from Tree, source string, follow bool, to Tree, target string, o Options) error {
	var pipe bytes.Buffer
	if err := Send(context.Background(), &pipe, from, source, follow); err != nil {
		return err
	}
	return Receive(context.Background(), bufio.NewReader(&pipe), to, target, o)
}

// listing is every name below dir with what it is.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch d.Type() {
		case fs.ModeDir:
			fmt.Fprintf(&b, "%s/ %o\n", rel, info.Mode().Perm())
		case fs.ModeSymlink:
			to, _ := os.Readlink(name)
			fmt.Fprintf(&b, "%s -> %s\n", rel, to)
		case 0:
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s %s %q\n", rel, info.Mode(), content)
		default:
			fmt.Fprintf(&b, "%s %s\n", rel, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCopyTree(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(src, "d/closed"), 0o755))
	must(os.WriteFile(filepath.Join(src, "d/file"), []byte("file"), 0o640))
	must(os.WriteFile(filepath.Join(src, "d/closed/x"), []byte("x"), 0o600))
	must(os.Chmod(filepath.Join(src, "d/file"), 0o4751|fs.ModeSetuid))
	must(os.Link(filepath.Join(src, "d/file"), filepath.Join(src, "d/hard")))
	must(os.Symlink("/etc/passwd", filepath.Join(src, "d/link")))
	from := tree(t, src)
	must(from.Root.Mknod("fifo", linux.S_IFIFO|0o600, 0))
	must(os.Rename(filepath.Join(src, "fifo"), filepath.Join(src, "d/fifo")))
	sparse, err := os.Create(filepath.Join(src, "d/sparse"))
	must(err)
	must(sparse.Truncate(8 << 20))
	must(sparse.Close())
	old := time.Unix(1_600_000_000, 0)
	must(os.Chmod(filepath.Join(src, "d/closed"), 0o500))
	must(os.Chtimes(filepath.Join(src, "d/closed"), old, old))
	t.Cleanup(func() {
		for _, dir := range []string{filepath.Join(src, "d/closed"), filepath.Join(dst, "new/closed")} {
			_ = os.Chmod(dir, 0o700)
		}
	})
	must(copyBetween(from, "d", false, tree(t, dst), "new", mine))
	info, err := os.Stat(filepath.Join(dst, "new/sparse"))
	must(err)
	if st, err := tree(t, filepath.Join(dst, "new")).Root.Lstat("sparse"); err != nil || info.Size() != 8<<20 || st.Blocks > 64 {
		t.Errorf("a file of holes: %d bytes, %d blocks, %v", info.Size(), st.Blocks, err)
	}
	must(os.Remove(filepath.Join(dst, "new/sparse")))
	const want = `./ 755
new/ 755
new/closed/ 500
new/closed/x -rw------- "x"
new/fifo prw-------
new/file -rwxr-x--x "file"
new/hard -rwxr-x--x "file"
new/link -> /etc/passwd
`
	if got := strings.Replace(listing(t, dst), "./ 700", "./ 755", 1); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	a, _ := os.Stat(filepath.Join(dst, "new/file"))
	b, _ := os.Stat(filepath.Join(dst, "new/hard"))
	if !os.SameFile(a, b) {
		t.Error("two names of one file are two files")
	}
	if info, _ := os.Stat(filepath.Join(dst, "new/closed")); !info.ModTime().Equal(old) {
		t.Errorf("the folder's time is %v", info.ModTime())
	}
}

// TestReplace: files replace what is there but for folders, folders merge, links are replaced and not followed.
func TestReplace(t *testing.T) {
	from, _ := world(t)
	to, top := world(t)
	if err := copyBetween(from, "real/deep/x", false, to, "file", mine); err != nil {
		t.Fatal(err)
	}
	if err := copyBetween(from, "file", false, to, "toFile", mine); err != nil { // through the link, as docker does
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(top, "secret"), filepath.Join(top, "root/dir/file")); err != nil {
		t.Fatal(err)
	}
	if err := copyBetween(from, "file", false, to, "dir", mine); err != nil {
		t.Fatal(err)
	}
	if err := copyBetween(from, "toDir", true, to, "real/deep/x", mine); !errors.Is(err, ErrCannotCopyDir) {
		t.Error(err)
	}
	if err := os.MkdirAll(filepath.Join(top, "root/dir/dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(top, "root/dir/toFile"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := copyBetween(from, "toFile", false, to, "dir", mine); err == nil || !strings.Contains(err.Error(), "cannot overwrite a directory") {
		t.Error(err)
	}
	got := listing(t, filepath.Join(top, "root/dir"))
	if !strings.Contains(got, `file -rw-r--r-- "file"`) {
		t.Errorf("the link was not replaced:\n%s", got)
	}
	if secret, _ := os.ReadFile(filepath.Join(top, "secret")); string(secret) != "secret" {
		t.Errorf("the secret is now %q", secret)
	}
}

// receive has an archive from a stranger unpacked in a folder of its own.
func receive(t *testing.T, source Source, target string, o Options, headers ...tar.Header) (string, error) {
	t.Helper()
	to, top := world(t)
	var pipe bytes.Buffer
	if err := Announce(&pipe, source); err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(&pipe)
	for _, h := range headers {
		h.Mode = 0o755
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte("evil")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return top, Receive(context.Background(), bufio.NewReader(&pipe), to, target, o)
}

// TestHostileArchive: nothing but the folder is written to, whatever the names and links say.
func TestHostileArchive(t *testing.T) {
	reg := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	hard := func(name, to string) tar.Header { return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to} }
	for name, archive := range map[string][]tar.Header{
		"dots":                {reg("../secret")},
		"deep dots":           {reg("a/../../../secret")},
		"absolute":            {reg("/../secret")},
		"link then file":      {link("l", "../.."), reg("l/secret")},
		"link itself":         {link("secret", "../../secret"), reg("secret")},
		"hard link":           {hard("h", "../secret"), reg("h")},
		"hard link by a link": {link("l", "../.."), hard("h", "l/secret"), reg("h")},
		"folder on a link":    {link("l", "../.."), {Typeflag: tar.TypeDir, Name: "l/"}, reg("l/secret")},
		"the folder itself":   {link(".", "../..")},
		"device":              {{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
	} {
		for _, source := range []Source{{Stream: true}, {Name: "l", IsDir: true}, {Name: ".", IsDir: true}} {
			top, err := receive(t, source, "dir", mine, archive...)
			t.Logf("%s: %v", name, err)
			if secret, e := os.ReadFile(filepath.Join(top, "secret")); e != nil || string(secret) != "secret" {
				t.Errorf("%s: the secret is %q (%v)", name, secret, e)
			}
			if entries, _ := os.ReadDir(top); len(entries) != 2 {
				t.Errorf("%s: beside the root there are %v", name, entries)
			}
			if _, err := os.Lstat(filepath.Join(top, "root/dir/null")); err == nil {
				t.Errorf("%s: a device was made", name)
			}
		}
	}
	// What is renamed on the way must be what was announced.
	if _, err := receive(t, Source{Name: "a", IsDir: true}, "new", mine, reg("b")); err == nil {
		t.Error("a name that was not announced is accepted")
	}
}

// TestCutOff: a sender that dies leaves no copy that looks whole.
func TestCutOff(t *testing.T) {
	from, _ := world(t)
	var pipe bytes.Buffer
	if err := Send(context.Background(), &pipe, from, "dir", false); err != nil {
		t.Fatal(err)
	}
	whole := pipe.Bytes()
	for _, n := range []int{0, 5, bytes.IndexByte(whole, '\n') + 1, bytes.IndexByte(whole, '\n') + 700} {
		to, _ := world(t)
		err := Receive(context.Background(), bufio.NewReader(bytes.NewReader(whole[:n])), to, "new", mine)
		if n == bytes.IndexByte(whole, '\n')+1 {
			continue // an empty archive, to archive/tar
		}
		if !errors.Is(err, ErrCutOff) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestRace swaps a folder for a link to the secret's while copies go both ways through it.
func TestRace(t *testing.T) {
	hostile, top := world(t)
	root := filepath.Join(top, "root")
	if err := os.Symlink("../..", filepath.Join(root, "evil")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "dir/secret"), []byte("bait"), 0o644); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(filepath.Join(root, "dir"), filepath.Join(root, "aside"))
			_ = os.Rename(filepath.Join(root, "evil"), filepath.Join(root, "dir"))
			_ = os.Rename(filepath.Join(root, "dir"), filepath.Join(root, "evil"))
			_ = os.Rename(filepath.Join(root, "aside"), filepath.Join(root, "dir"))
		}
	}()
	local := t.TempDir()
	if err := os.WriteFile(filepath.Join(local, "secret"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	user, copied := tree(t, local), 0
	for range 400 {
		if copyBetween(hostile, "dir/secret", true, user, "out", mine) == nil {
			copied++
			if got, _ := os.ReadFile(filepath.Join(local, "out")); string(got) == "secret" {
				t.Fatal("the secret came out")
			}
		}
		if copyBetween(hostile, "dir", true, user, "tree", mine) == nil {
			if got, _ := os.ReadFile(filepath.Join(local, "tree/secret")); string(got) == "secret" {
				t.Fatal("the secret came out with its folder")
			}
		}
		_ = copyBetween(user, "secret", false, hostile, "dir", mine)
		_ = copyBetween(user, "secret", false, hostile, "dir/secret", mine)
		if got, err := os.ReadFile(filepath.Join(top, "secret")); err != nil || string(got) != "secret" {
			t.Fatalf("the secret is %q now (%v)", got, err)
		}
	}
	close(stop)
	<-done
	if copied == 0 {
		t.Error("not one copy succeeded: the race is none")
	}
	t.Logf("%d of 400 copies succeeded", copied)
}

// TestNamesThatAreNoText: a file may have any bytes for its name, and any attributes.
func TestNamesThatAreNoText(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for _, name := range []string{"\xff\xfe", "new\nline", "a=b", strings.Repeat("n", 255), "{\"Name\":7}"} {
		full := filepath.Join(from, name)
		if err := os.WriteFile(full, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"user.a=b", "user.overlay.opaque", "user.new\nline"} {
			if err := unix.Setxattr(full, key, []byte("y"), 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := copyBetween(tree(t, from), "/"+name, false, tree(t, to), "/", mine); err != nil {
			t.Errorf("copy %q: %v", name, err)
		}
		copied := filepath.Join(to, name)
		if data, err := os.ReadFile(copied); err != nil || string(data) != name {
			t.Errorf("copied %q: %q, %v", name, data, err)
		}
		attributes := make([]byte, 200)
		if n, err := unix.Listxattr(copied, attributes); err != nil || string(attributes[:n]) != "user.new\nline\x00" {
			t.Errorf("the attributes of %q: %q, %v", name, attributes[:max(n, 0)], err)
		}
	}
}

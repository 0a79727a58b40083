package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// oddities does in the tree at root what a container may do against those who look at its files, and what an archive can say.
func oddities(t *testing.T, root string) {
	t.Helper()
	in := func(name string) string { return filepath.Join(root, name) }
	write := func(name string) func() error {
		return func() error { return os.WriteFile(in(name), []byte("x"), 0o644) }
	}
	attribute := func(key, value string) func() error {
		return func() error { return unix.Setxattr(in("attributes"), key, []byte(value), 0) }
	}
	do(t, []func() error{
		write("new\nC line"), write("\xff\xfe"), write("\x1b]0;title\a"), write("a=b"), write(" 7 path=x"), write(strings.Repeat("n", 255)), write("attributes"),
		func() error { return os.Mkdir(in("d\n\xff"), 0o755) }, write("d\n\xff/" + strings.Repeat("\xfe", 255)),
		func() error { return os.Symlink("loop", in("loop")) }, func() error { return os.Symlink("loop2/x", in("loop2")) },
		func() error { return os.Symlink("/"+strings.Repeat("\xff", 4000), in("far")) },
		func() error { return unix.Mkfifo(in("fifo\n"), 0o600) },
		attribute("user.new\nline", "1\n2"), attribute("user.\xff", "\x00\xff"), attribute("user.empty", ""),
		attribute("user.large", strings.Repeat("l", 2500)), attribute("user."+strings.Repeat("k", 250), "k"),
	})
}

// unsayable does what an archive can't say, or must not.
func unsayable(t *testing.T, root string) {
	t.Helper()
	attribute := func(name, key string) func() error {
		return func() error { return unix.Setxattr(filepath.Join(root, name), key, []byte("y"), 0) }
	}
	do(t, []func() error{
		func() error { return unix.Mknod(filepath.Join(root, "socket"), unix.S_IFSOCK|0o600, 0) },
		attribute("attributes", "user.a=b"), attribute("attributes", "user.overlay.redirect"), attribute("attributes", "user.fuseoverlayfs.override_stat"),
		attribute("d\n\xff", "user.overlay.origin"), attribute("d\n\xff", "user.=path"),
	})
}

func do(t *testing.T, steps []func() error) {
	t.Helper()
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// wholeSeconds gives each file below root the time that an archive keeps.
func wholeSeconds(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, _ os.DirEntry, err error) error {
		at := unix.NsecToTimespec(epoch.UnixNano())
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestHostileTree: names, attributes and kinds of files that are meant to break what reads them come through, or are left out.
func TestHostileTree(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(lower, strings.Repeat("o", 255)), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	oddities(t, upper)
	wholeSeconds(t, upper)
	want := list(t, upper, "")
	unsayable(t, upper)
	wholeSeconds(t, upper)
	now, base := openStack(t, false, upper), openStack(t, false, lower)
	changes, err := now.CompareTo(context.Background(), base, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"Export":       func(b *bytes.Buffer) error { return now.Export(context.Background(), b) },
		"WriteChanges": func(b *bytes.Buffer) error { return now.WriteChanges(context.Background(), b, changes) },
		"Pack":         func(b *bytes.Buffer) error { return Pack(context.Background(), b, upper) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := tar.NewReader(bytes.NewReader(b.Bytes()))
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for key := range h.PAXRecords {
				if strings.Contains(key, "overlay") {
					t.Errorf("%s: %q has %s", name, h.Name, key)
				}
			}
		}
		root := t.TempDir()
		if _, err := Unpack(context.Background(), root, &b, Options{TolerateChown: true}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		gone := filepath.Join(root, strings.Repeat("o", 255))
		if _, err := os.Lstat(gone); (err == nil) != (name == "WriteChanges") {
			t.Errorf("%s: the deletion of a name of 255 bytes: %v", name, err)
		}
		os.Remove(gone)
		wholeSeconds(t, root) // of the root folder, which Export leaves out
		if got := list(t, root, ""); got != want {
			t.Errorf("%s\n%q\nwant\n%q", name, got, want)
		}
	}
}

// TestExportWhileFilesVanish: what is gone by its turn is left out, and nothing beside it.
func TestExportWhileFilesVanish(t *testing.T) {
	root := t.TempDir()
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint("stays", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := filepath.Join(root, fmt.Sprint("comes and goes", i%50))
			if os.WriteFile(name, nil, 0o644) == nil {
				_ = unix.Setxattr(name, "user.mine", []byte("1"), 0)
				_ = unix.Removexattr(name, "user.mine")
				_ = os.Remove(name)
			}
		}
	})
	defer func() { close(stop); busy.Wait() }()
	now := openStack(t, false, root)
	for range 200 {
		var b bytes.Buffer
		if err := now.Export(context.Background(), &b); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b.Bytes(), []byte("stays")); n < 300 {
			t.Fatalf("%d of 300 files were exported", n)
		}
	}
}

package linux

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestChmodNoFollow: a link that took a file's place keeps its target's mode.
func TestChmodNoFollow(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	f, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Mknod("fifo", S_IFIFO|0o600, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.ChmodNoFollow("link", 0o777); !errors.Is(err, ELOOP) {
		t.Errorf("a link: %v", err)
	}
	if info, err := os.Stat(outside); err != nil || info.Mode() != 0o600 {
		t.Errorf("the link's target is %v, %v", info.Mode(), err)
	}
	if err := f.ChmodNoFollow("fifo", 0o622); err != nil {
		t.Error(err)
	}
	if st, err := f.Lstat("fifo"); err != nil || st.Mode&ModeBits != 0o622 {
		t.Errorf("the fifo has mode %o, %v", st.Mode, err)
	}
}

// TestOpenIn: a folder's links and dots end at the root.
func TestOpenIn(t *testing.T) {
	dir := t.TempDir()
	for link, to := range map[string]string{"up": "../../..", "absolute": "/", "magic": "/proc/self/root"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	want, err := root.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/", "up", "absolute", "../..", "up/../absolute/up"} {
		f, err := root.OpenIn(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if st, err := f.Stat(); err != nil || st.Ino != want.Ino {
			t.Errorf("%s is another folder (%v)", name, err)
		}
		f.Close()
	}
	if _, err := root.OpenIn("magic"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a link into proc: %v", err)
	}
}

func TestIsMountRoot(t *testing.T) {
	root, err := OpenDir("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if is, err := root.IsMountRoot("proc"); err != nil || !is {
		t.Errorf("/proc: %t, %v", is, err)
	}
	dir, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := dir.Symlink("/proc", "link"); err != nil {
		t.Fatal(err)
	}
	if is, err := dir.IsMountRoot("link"); err != nil || is {
		t.Errorf("a link to /proc: %t, %v", is, err)
	}
}

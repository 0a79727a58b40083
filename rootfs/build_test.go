package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
)

func TestOverlayOptions(t *testing.T) {
	p := Plan{Lower: []string{"layers/b", "layers/a"}, Upper: "c/upper", Work: "c/work"}
	const want = "lowerdir=layers/b:layers/a,upperdir=c/upper,workdir=c/work,userxattr"
	if got := p.overlayOptions(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := p.OptionsLength(); got != len(want)+1 {
		t.Errorf("length %d", got)
	}
	p.Volatile = true
	if got := p.overlayOptions(); got != want+",volatile" {
		t.Error(got)
	}
	// The longest that one page holds, with names as short as ours: more layers than any image has.
	p.Lower = nil
	for range 127 {
		p.Lower = append(p.Lower, "layers/0123456789abcdef01234567")
	}
	if got := p.OptionsLength(); got > 4200 {
		t.Errorf("127 layers take %d bytes", got)
	}
}

func TestBindAdvice(t *testing.T) {
	m := &Mount{Source: "/src", Target: "/dst"}
	for errno, advice := range map[error]string{syscall.ENOENT: "mkdir -p /src", syscall.EACCES: "your own rights", syscall.EINVAL: ""} {
		err := bindAdvice(m, &os.PathError{Op: "open_tree", Path: "/src", Err: errno})
		if !errors.Is(err, errno) || !strings.Contains(hint.Of(err), advice) || !strings.Contains(err.Error(), "bind /src to /dst") {
			t.Errorf("%v: %v with hint %q", errno, err, hint.Of(err))
		}
	}
}

// TestMakeTarget makes mount points in a folder, as it does in the image's tree.
func TestMakeTarget(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "folder"), 0o755), os.WriteFile(filepath.Join(dir, "file"), nil, 0o644),
		os.Symlink("folder", filepath.Join(dir, "link")), os.Symlink("missing/below", filepath.Join(dir, "dangling")),
		os.Symlink("loop", filepath.Join(dir, "loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		folder bool
		is     error
	}{
		{"folder", true, nil},
		{"folder", false, syscall.EISDIR},
		{"file", false, nil},
		{"file", true, syscall.ENOTDIR},
		{"link", true, nil},
		{"new/deep/folder", true, nil},
		{"new/other/file", false, nil},
		{"file/below", true, syscall.ENOTDIR},
		{"dangling", false, nil}, // /etc/resolv.conf often leads nowhere: ours replaces it
		{"loop", false, syscall.ELOOP},
		{"loop", true, syscall.ELOOP},
	} {
		fd, err := makeTarget(filepath.Join(dir, tt.name), tt.folder)
		if !errors.Is(err, tt.is) || (err == nil) != (fd >= 0) {
			t.Errorf("%s, folder %v: %d, %v; want %v", tt.name, tt.folder, fd, err, tt.is)
		}
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
	if info, err := os.Lstat(filepath.Join(dir, "dangling")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the dangling link is %v, %v", info, err)
	}
}

// TestCopyTree copies everything that a new volume gets from the image, and passes over what it can't hold.
func TestCopyTree(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	when := time.Unix(1_500_000_000, 0)
	for _, err := range []error{
		os.MkdirAll(filepath.Join(from, "a/b"), 0o755), os.WriteFile(filepath.Join(from, "a/file"), []byte("text"), 0o644),
		os.Chmod(filepath.Join(from, "a/file"), 0o640|fs.ModeSetgid), os.Symlink("/etc/passwd", filepath.Join(from, "a/out")),
		os.Symlink("nowhere", filepath.Join(from, "dangling")), syscall.Mkfifo(filepath.Join(from, "pipe"), 0o644),
		os.Chmod(filepath.Join(from, "a/b"), 0o700|fs.ModeSticky), os.Chmod(from, 0o711),
		os.Chtimes(filepath.Join(from, "a/file"), when, when), os.Chtimes(filepath.Join(from, "a"), when, when), os.Chtimes(from, when, when),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := copyTree(from, to); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{".": fs.ModeDir | 0o711, "a/b": fs.ModeDir | fs.ModeSticky | 0o700, "a/file": fs.ModeSetgid | 0o640} {
		if info, err := os.Lstat(filepath.Join(to, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, mode)
		}
	}
	for _, name := range []string{".", "a", "a/file"} {
		if info, err := os.Lstat(filepath.Join(to, name)); err != nil || !info.ModTime().Equal(when) {
			t.Errorf("%s: time %v, %v", name, info.ModTime(), err)
		}
	}
	for name, target := range map[string]string{"a/out": "/etc/passwd", "dangling": "nowhere"} {
		if got, err := os.Readlink(filepath.Join(to, name)); err != nil || got != target {
			t.Errorf("%s leads to %s, %v", name, got, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(to, "pipe")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a pipe was copied: %v", err)
	}
	if info, err := os.Stat("/etc/passwd"); err != nil || info.ModTime().Equal(when) {
		t.Errorf("/etc/passwd was touched through the link: %v", err)
	}
}

func TestUnknownDriver(t *testing.T) {
	b := &Builder{Plan: &Plan{Data: t.TempDir(), Driver: "zfs"}}
	t.Chdir(t.TempDir())
	if err := b.MountRoot(); err == nil || !strings.Contains(err.Error(), `"zfs"`) {
		t.Error(err)
	}
}

package rootfs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
)

func TestChoose(t *testing.T) {
	works := Probed{Overlay: true, Volatile: true}
	refused := Probed{Reason: "mount overlay on merged: invalid argument"}
	const program = "/usr/bin/fuse-overlayfs"
	for _, test := range []struct {
		name, want string
		probed     Probed
		fuse       string
		choice     Driver
		notice     string
		err        string
	}{
		{name: "the kernel's", want: Auto, probed: works, fuse: program, choice: Overlay},
		{name: "no configuration", probed: works, choice: Overlay},
		{name: "old kernel", want: Auto, probed: refused, fuse: program, choice: FuseOverlayfs},
		{name: "nothing", want: Auto, probed: refused, choice: Copy, notice: "invalid argument"},
		{name: "overlay by name", want: "overlay", probed: works, choice: Overlay},
		{name: "overlay by name, refused", want: "overlay", probed: refused, fuse: program, err: "invalid argument"},
		{name: "fuse by name", want: "fuse-overlayfs", probed: works, fuse: program, choice: FuseOverlayfs},
		{name: "fuse by name, missing", want: "fuse-overlayfs", probed: works, err: "fuse-overlayfs"},
		{name: "copy by name", want: "copy", probed: works, choice: Copy},
		{name: "nonsense", want: "zfs", probed: works, err: `"zfs"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Choose(test.want, test.probed, test.fuse)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || hint.Of(err) == "" {
					t.Fatalf("error %v with hint %q, want one about %s", err, hint.Of(err), test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Driver != test.choice || got.Volatile != (test.choice == Overlay && test.probed.Volatile) {
				t.Errorf("got %+v, want %s", got, test.choice)
			}
			if !strings.Contains(got.Notice, test.notice) || (test.notice == "") != (got.Notice == "") {
				t.Errorf("notice %q, want one about %q", got.Notice, test.notice)
			}
		})
	}
}

func TestFresh(t *testing.T) {
	dir := t.TempDir()
	p, err := here(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Fresh(dir) {
		t.Errorf("%+v is not fresh where it was made", p)
	}
	if p.Fresh("/proc") {
		t.Errorf("%+v is fresh on another file system", p)
	}
	if p.Kernel = "2.6.32"; p.Fresh(dir) {
		t.Errorf("%+v is fresh under another kernel", p)
	}
	if p.Fresh(filepath.Join(dir, "missing")) {
		t.Error("fresh in a folder that does not exist")
	}
}

// inside runs the calling test once more as root of a user and a mount namespace, and is true there.
func inside(t *testing.T) bool {
	t.Helper()
	const mark = "ROOTFS_TEST_INSIDE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	test := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	test.Env = append(os.Environ(), mark+"="+t.Name())
	test.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	output, err := test.CombinedOutput()
	var refused *os.PathError
	switch {
	case errors.As(err, &refused):
		t.Skipf("this machine has no user namespaces: %v", err)
	case err != nil:
		t.Fatalf("in a user namespace: %v\n%s", err, output)
	case strings.Contains(string(output), "--- SKIP"):
		t.Skipf("in a user namespace:\n%s", output)
	}
	return false
}

func TestProbe(t *testing.T) {
	if !inside(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), `odd, name: \`) // that overlay's options would need escaped
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := Probe(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.Overlay != (p.Reason == "") {
		t.Errorf("contradiction: %+v", p)
	}
	if !p.Overlay {
		t.Logf("overlay does not work here: %s", p.Reason)
	}
	if !p.Fresh(dir) {
		t.Errorf("%+v is not fresh", p)
	}
	nothingLeft(t, dir)
}

// TestProbeRefused probes a file system without extended attributes, on which no folder can be opaque.
func TestProbeRefused(t *testing.T) {
	if !inside(t) {
		return
	}
	dir := t.TempDir()
	if err := syscall.Mount("ramfs", dir, "ramfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, 0)
	p, err := Probe(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.Overlay || !strings.Contains(p.Reason, "user.overlay.opaque") || strings.Contains(p.Reason, dir) {
		t.Errorf("%+v, want a reason without our folder's name", p)
	}
	nothingLeft(t, dir)
}

func TestProbeWithoutFolder(t *testing.T) {
	if _, err := Probe(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Probe of a missing folder: %v", err)
	}
}

// nothingLeft fails when dir holds anything or something is mounted below it.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left in %s: %v %v", dir, entries, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), "probe-") {
		t.Errorf("mounts left (%v):\n%s", err, mounts)
	}
}

// fusePlan is a tree of two layers, of which the upper hides a file of the lower.
func fusePlan(t *testing.T) (plan *Plan, program string) {
	t.Helper()
	program, err := exec.LookPath("fuse-overlayfs")
	if err != nil {
		t.Skip("fuse-overlayfs is not installed")
	}
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("/dev/fuse: %v", err)
	}
	device.Close()
	tree := trial{t.TempDir()}
	if err := tree.layers(); err != nil {
		t.Fatal(err)
	}
	if err := tree.mark(); err != nil {
		t.Skipf("this file system holds no layers: %v", err)
	}
	return &Plan{Data: tree.dir, Lower: []string{"top", "bottom"}, Upper: "upper", Work: "work", Target: "merged", Driver: FuseOverlayfs}, program
}

func TestFuse(t *testing.T) {
	if !inside(t) {
		return
	}
	plan, program := fusePlan(t)
	server, err := StartFuse(program, plan)
	if err != nil {
		t.Fatal(err)
	}
	if err := (trial{plan.Data}).use(); err != nil {
		t.Errorf("use of the mounted tree: %v", err)
	}
	if err := syscall.Unmount(filepath.Join(plan.Data, "merged"), 0); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := server.Wait(); ended <- err }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("fuse-overlayfs outlives its mount")
		_ = server.Kill()
	}
}

func TestFuseRefused(t *testing.T) {
	if !inside(t) {
		return
	}
	plan, program := fusePlan(t)
	plan.Lower = []string{"no-such-layer"}
	server, err := StartFuse(program, plan)
	if err == nil {
		_ = server.Kill()
		t.Fatal("a missing layer was mounted")
	}
	if !strings.Contains(err.Error(), "no-such-layer") {
		t.Errorf("%v does not name the layer", err)
	}
	if err := syscall.Unmount(filepath.Join(plan.Data, "merged"), 0); err == nil {
		t.Error("a mount is left")
	}
}

package uplink

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
)

func TestPastaVersion(t *testing.T) {
	for text, want := range map[string]string{
		"pasta 2024_09_06.6b38f07\nCopyright Red Hat\n":  "2024-09-06",
		"pasta 0.0~git20240220.1e6f92b-1\nCopyright …\n": "2024-02-20",
		"pasta unknown version\nCopyright Red Hat\n":     "",
		"": "",
	} {
		date, err := pastaVersion(text)
		got := ""
		if err == nil {
			got = date.Format(time.DateOnly)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzPastaVersion(f *testing.F) {
	f.Add("pasta 0.0~git20240220.1e6f92b-1")
	f.Fuzz(func(t *testing.T, text string) {
		if date, err := pastaVersion(text); err != nil && !date.IsZero() {
			t.Errorf("%q: %v and %v", text, date, err)
		}
	})
}

// fakePasta puts a program of that name into PATH.
func fakePasta(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pasta"), []byte("#!/bin/sh\n"+script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestFindPasta(t *testing.T) {
	fakePasta(t, "echo 'pasta 0.0~git20230309.7c7625d-1'")
	if path, err := FindPasta(t.Context()); err == nil || hint.Of(err) == "" {
		t.Errorf("an old one: %s, %v", path, err)
	}
	fakePasta(t, "echo 'pasta 2025_01_21.4f2c8e7'")
	if path, err := FindPasta(t.Context()); err != nil || filepath.Base(path) != "pasta" {
		t.Errorf("a new one: %s, %v", path, err)
	}
}

// TestPastaSignals: pasta has SIGPIPE's default, though we ignore it, and gets both namespaces; and ends with the context.
func TestPastaSignals(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("OUT", out)
	fakePasta(t, `[ "$1" != --version ] || { echo 'pasta 2025_01_21.4f2c8e7'; exit; }
{ grep SigIgn /proc/self/status; readlink /proc/self/fd/3 /proc/self/fd/4; } >"$OUT.new"
mv "$OUT.new" "$OUT"
exec sleep 60
`)
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Pasta(ctx, namespaces(t, os.Getpid())) }()
	var text []byte
	for deadline := time.Now().Add(10 * time.Second); text == nil; time.Sleep(10 * time.Millisecond) {
		text, _ = os.ReadFile(out)
		if time.Now().After(deadline) {
			t.Fatal("it was never started")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	lines := strings.Fields(string(text))
	if len(lines) != 4 || !strings.HasPrefix(lines[2], "net:[") || !strings.HasPrefix(lines[3], "user:[") {
		t.Fatalf("%q", text)
	}
	if mask := lines[1]; mask[len(mask)-4]&1 != 0 { // SIGPIPE is 13: bit 12
		t.Errorf("SIGPIPE is ignored: %s", mask)
	}
}

func namespaces(t *testing.T, pid int) PastaOptions {
	t.Helper()
	var files [2]*os.File
	for i, kind := range []string{"user", "net"} {
		f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "ns", kind))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		files[i] = f
	}
	return PastaOptions{User: files[0], Net: files[1]}
}

// TestPasta runs the real one, of whatever version: it makes its device in another's namespaces, and ends when told to.
func TestPasta(t *testing.T) {
	path, err := exec.LookPath("pasta")
	if err != nil {
		t.Skip("pasta is not installed")
	}
	if routes, err := os.ReadFile("/proc/net/route"); err != nil || !strings.Contains(string(routes), "\t00000000\t") {
		t.Skip("no default route, without which pasta has nothing to offer")
	}
	holder := exec.Command("sleep", "60")
	holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { holder.Process.Kill(); holder.Wait() }()
	o := namespaces(t, holder.Process.Pid)
	o.Path = path
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Pasta(ctx, o) }()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		devices, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(holder.Process.Pid), "net/dev"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(devices), ":") > 1 { // one beside lo
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("no device was made:\n%s", devices)
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

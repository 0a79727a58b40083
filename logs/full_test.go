package logs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fullDiskVariable names the folder on which TestFullDisk's helper mounts a small file system.
const fullDiskVariable = "MINIPOD_TEST_FULL_DISK"

// TestFullDisk fills a real file system, in a user namespace of its own, and makes room again.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(fullDiskVariable); dir != "" {
		fullDisk(t, dir)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), fullDiskVariable+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fullDisk(t *testing.T, dir string) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=600k"); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 400<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, filepath.Join(dir, FileName), Options{})
	f := followLog(t.Context(), t, c.name, ReadOptions{Tail: -1})
	printed := 0
	print := func(text string) {
		t.Helper()
		printed += len(text)
		c.print(Stdout, text)
	}
	line := strings.Repeat("é \"quoted\" \xff", 30) + "\n" // of other lengths in the log than as it was printed
	for range 10_000 {                                     // several MB, which nothing holds up
		print(line)
	}
	if err := os.Truncate(filler, 380<<10); err != nil { // for a note that is torn, perhaps, and then a little more
		t.Fatal(err)
	}
	for range 10_000 {
		print(line)
	}
	if err := os.Remove(filler); err != nil { // room for what is in the pipe, which grows in the log
		t.Fatal(err)
	}
	print("after\n")
	c.end()

	got := strings.Join(texts(t, c.name), "")
	kept, lost, notes := 0, 0, 0
	for text := range strings.Lines(got) {
		var n int
		if _, err := fmt.Sscanf(text, "minipod: %d bytes of output were lost: no space left on device\n", &n); err == nil {
			lost, notes = lost+n, notes+1
			continue
		}
		if text != "after\n" && text != valid([]byte(line)) {
			t.Errorf("%q", text)
		}
		kept += len(strings.ReplaceAll(text, "\ufffd", "\xff"))
	}
	if kept+lost != printed || notes == 0 || !strings.HasSuffix(got, "after\n") {
		t.Errorf("%d bytes of %d are in the log, %d are said to be lost in %d notes; it ends in %q", kept, printed, lost, notes, got[max(len(got)-100, 0):])
	}
	f.end(t)
	if out := f.out.String(); out != got {
		t.Errorf("the follower saw %d bytes, not %d: %.100q", len(out), len(got), out)
	}

	// What is lost when the log is closed is told to the caller.
	if err := os.WriteFile(filler, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c = start(t, c.name, Options{})
	_ = os.WriteFile(filler, bytes.Repeat([]byte{1}, 1<<20), 0o600) // until the disk is full
	c.print(Stdout, strings.Repeat("x", 10_000))
	c.to[Stdout].Close()
	c.to[Stderr].Close()
	c.done.Wait()
	if err := c.log.Close(); err == nil || !strings.HasSuffix(err.Error(), "10000 bytes of output were lost: no space left on device") {
		t.Errorf("closed: %v", err)
	}
}

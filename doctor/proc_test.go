package doctor

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"codeberg.org/minipod/minipod/internal/lang"
)

const (
	wholeProc  = "24 1 0:22 / / rw - ext4 /dev/vda rw\n25 24 0:23 / /proc rw,nosuid - proc proc rw\n"
	binfmt     = "26 25 0:24 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw,fd=29\n"
	dockerProc = wholeProc + "30 25 0:23 /bus /proc/bus ro - proc proc rw\n31 25 0:30 / /proc/acpi ro - tmpfs tmpfs ro\n32 25 0:6 /null /proc/kcore rw - devtmpfs udev rw\n"
)

func TestProcObstacles(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"a machine":          {wholeProc, nil},
		"binfmt_misc":        {wholeProc + binfmt, nil},
		"docker":             {dockerProc, []string{"/proc/bus is covered by a proc", "/proc/acpi is covered by a tmpfs", "/proc/kcore is covered by a devtmpfs"}},
		"docker, and a copy": {dockerProc + "40 24 0:23 / /mnt/proc rw - proc proc rw\n", nil},
		"read-only":          {strings.Replace(wholeProc, "/proc rw,", "/proc ro,", 1), []string{"/proc is mounted read-only"}},
		"covered as a whole": {wholeProc + "33 25 0:40 / /proc rw - tmpfs tmpfs rw\n", []string{"/proc is covered by a tmpfs"}},
		"a part of one":      {"25 24 0:23 /sys /proc/sys rw - proc proc rw\n", []string{"no whole proc"}},
		"none":               {"24 1 0:22 / / rw - ext4 /dev/vda rw\n", []string{"no whole proc"}},
		"odd names":          {wholeProc + `34 25 0:41 / /proc/a\040b rw shared:1 master:2 - fuse.x a\134b rw` + "\n", []string{"/proc/a b is covered by a fuse.x"}},
	} {
		got, err := procObstacles([]byte(tt.text), lang.English)
		if err != nil || len(got) != len(tt.want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tt.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], tt.want[i]) {
				t.Errorf("%s: %q, want %q", name, got[i], tt.want[i])
			}
		}
	}
	if _, err := procObstacles([]byte("nonsense\n"), lang.English); err == nil {
		t.Error("nonsense was parsed")
	}
}

// TestProcHere asks the kernel whether what procObstacles says of this machine is so.
func TestProcHere(t *testing.T) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	obstacles, err := procObstacles(text, lang.English)
	if err != nil {
		t.Fatal(err)
	}
	mount := exec.Command("mount", "-t", "proc", "proc", "/proc")
	mount.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := mount.CombinedOutput(); (err == nil) != (len(obstacles) == 0) {
		t.Errorf("mount in a user namespace: %v %s; obstacles %q", err, out, obstacles)
	}
}

// FuzzMountinfo reads tables that no kernel would write.
func FuzzMountinfo(f *testing.F) {
	for _, text := range []string{"", wholeProc, wholeProc + binfmt, dockerProc, "1 1 0:1 / / rw - proc x rw\n", "a b c d e f - g h i\n", `9 9 0:1 / \0 rw - proc p rw`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		obstacles, err := procObstacles(text, lang.English)
		if err == nil && !strings.ContainsAny(string(text), `\`) && !strings.Contains(string(text), "proc") && len(obstacles) == 0 {
			t.Errorf("no proc, and nothing in the way: %q", text)
		}
	})
}

package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime/caps"
	"codeberg.org/minipod/minipod/runtime/seccomp"
	"codeberg.org/minipod/minipod/state"
)

// A program that may trace PID 1 can make it execute anything: so PID 1 must not be able to do more than the program.
func TestPID1HasNoMorePowersThanWhoTracesIt(t *testing.T) {
	w := newWorld(t, false, rootfs.Overlay)
	for name, bounding := range map[string]string{"SYS_PTRACE": "00000000a80c25fb", "BLOCK_SUSPEND": "00000010a80425fb"} {
		set, err := caps.Apply(caps.Default, []string{name}, nil)
		w.must(err)
		o := sh(`grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/1/status | tr -s '\t\n' ' '`)
		o.Capabilities = set
		w.want(w.config(o), 0, "CapBnd: "+bounding+" NoNewPrivs: 1 Seccomp: 2 ")
	}
}

// Who may trace PID 1 has it under the command's filter, which may forbid what an end is heard of by.
func TestPID1WaitsUnderAnyFilter(t *testing.T) {
	w := newWorld(t, false, rootfs.Overlay)
	for _, name := range []string{"rt_sigtimedwait", "tgkill", "wait4", "futex", "dup3"} {
		o := sh("exit 3")
		set, err := caps.Apply(caps.Default, []string{"SYS_PTRACE"}, nil)
		w.must(err)
		o.Capabilities = set
		cfg := w.config(o)
		cfg.Seccomp, err = seccomp.Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{name}, Action: specs.ActKillProcess}}})
		w.must(err)
		w.want(cfg, 3, "")
	}
}

// The covers over /proc lie where /proc is, not where an image's link leads by then.
func TestKernelTreesAreNoLinks(t *testing.T) {
	for _, name := range []string{"proc", "sys", "dev"} {
		w := newWorld(t, false, rootfs.Overlay)
		w.must(os.Symlink("/data", filepath.Join(w.dirs.Layers(), "top", name)))
		_, _, err := w.run(w.config(sh("true")))
		if err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("/%s is a link: %v", name, err)
		}
	}
}

// A name ends with its container, however that one ended.
func TestSweepRemovesNames(t *testing.T) {
	dirs := state.Dirs{Data: t.TempDir()}
	dead, err := Create(dirs, Record{Remove: true})
	if err == nil {
		err = dead.Close() // as the kernel does for one that was killed
	}
	if err != nil {
		t.Fatal(err)
	}
	kept, err := Create(dirs, Record{})
	if err == nil {
		err = Sweep(dirs, RemoveTree, func(Record) error { return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(filepath.Join(dirs.Containers(), ".names"))
	if err != nil || len(names) != 1 || names[0].Name() != kept.Name {
		t.Errorf("names %v (%v), want %s alone", names, err, kept.Name)
	}
	if err := kept.Delete(RemoveTree); err != nil {
		t.Error(err)
	}
}

// PID 1 is in no session of the user's: who takes it over could type at the user's terminal (TIOCSTI).
func TestPID1LeadsItsOwnSession(t *testing.T) {
	w := newWorld(t, false, rootfs.Overlay)
	w.want(w.config(sh("read -r pid name state parent group session terminal rest </proc/1/stat; echo $session $terminal")), 0, "1 0\n")
}

package seccomp

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"codeberg.org/minipod/minipod/runtime/caps"
)

const childVariable = "MINIPOD_TEST_SECCOMP_CHILD"

// TestKernel loads the default filter in a process of its own, this test once more, and makes some calls there.
func TestKernel(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		underTheFilter(t)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestKernel$", "-test.v")
	child.Env = append(os.Environ(), childVariable+"=1")
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

func underTheFilter(t *testing.T) {
	profile, err := Default(caps.Default.Names())
	if err != nil {
		t.Fatal(err)
	}
	filter, err := Compile(profile)
	if err != nil {
		t.Fatal(err)
	}
	calls := []struct {
		name          string
		number, first uintptr
		want          unix.Errno
		filtered      bool // the kernel's own answer, to root too, is another
	}{
		{"getpid", unix.SYS_GETPID, 0, 0, false},
		{"clone3(NULL)", unix.SYS_CLONE3, 0, unix.ENOSYS, true},
		{"unshare(-1)", unix.SYS_UNSHARE, ^uintptr(0), unix.EPERM, true},
		{"mount(NULL)", unix.SYS_MOUNT, 0, unix.EPERM, true},
		{"personality(query)", unix.SYS_PERSONALITY, 0xffffffff, 0, false},
		{"socket(99)", unix.SYS_SOCKET, 99, unix.EAFNOSUPPORT, false},
		{"socket(AF_VSOCK)", unix.SYS_SOCKET, unix.AF_VSOCK, unix.EPERM, true},
		{"call 500", 500, 0, unix.ENOSYS, false},
	}
	// A filter belongs to a thread; this one is never unlocked, so it ends with the test's goroutine.
	runtime.LockOSThread()
	for _, c := range calls {
		if _, _, errno := unix.RawSyscall6(c.number, c.first, 0, 0, 0, 0, 0); (errno != c.want) != c.filtered {
			t.Errorf("%s without the filter: %v", c.name, errno)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	program := unix.SockFprog{Len: uint16(len(filter) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
	if _, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
		t.Fatalf("load the filter: %v", errno)
	}
	for _, c := range calls {
		if _, _, errno := unix.RawSyscall6(c.number, c.first, 0, 0, 0, 0, 0); errno != c.want {
			t.Errorf("%s under the filter: %v, want %v", c.name, errno, c.want)
		}
	}
}

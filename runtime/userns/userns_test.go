package userns

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// files answers readFile from a map.
type files map[string]string

func (f files) read(name string) ([]byte, error) {
	content, ok := f[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(content), nil
}

func TestDiagnose(t *testing.T) {
	const (
		filtered = "Name:\tminipod\nNoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n"
		free     = "Name:\tminipod\nNoNewPrivs:\t0\nSeccomp:\t0\n"
		rooted   = "22 27 0:21 / /proc rw - proc proc rw\n27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
		chrooted = "22 27 0:21 / /proc rw - proc proc rw\n"
	)
	for _, test := range []struct {
		name      string
		errno     syscall.Errno
		files     files
		why, hint string
	}{
		{"debian", syscall.EPERM, files{CloneSysctl: "0\n"}, "unprivileged_userns_clone is 0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		{"ubuntu", syscall.EPERM, files{CloneSysctl: "1\n", AppArmorSysctl: "1\n", AppArmorLabel: "unconfined\n"}, "/usr/bin/minipod has none", "minipod doctor"},
		{"ubuntu, EACCES", syscall.EACCES, files{AppArmorSysctl: "1\n", AppArmorLabel: "unprivileged_userns (enforce)\n"}, "AppArmor", "minipod doctor"},
		{"ubuntu with a profile, in docker", syscall.EPERM, files{AppArmorSysctl: "1\n", AppArmorLabel: "docker-default (enforce)\n", "/proc/self/status": filtered, "/.dockerenv": ""}, "seccomp filter", "docker run --security-opt seccomp=unconfined"},
		{"a profile without the rule", syscall.EACCES, files{AppArmorLabel: "no-userns (enforce)\n"}, "profile no-userns confines us", "minipod doctor"},
		{"a profile that only complains", syscall.EACCES, files{AppArmorLabel: "no-userns (complain)\n"}, "none of the policies", "minipod doctor"},
		{"docker", syscall.EPERM, files{AppArmorLabel: "docker-default (enforce)\n", "/proc/self/status": filtered, "/.dockerenv": ""}, "seccomp filter", "docker run"},
		{"podman", syscall.EPERM, files{"/proc/self/status": filtered, "/run/.containerenv": ""}, "seccomp filter", "podman run"},
		{"another sandbox", syscall.EPERM, files{"/proc/self/status": filtered}, "seccomp filter", "outside of that sandbox"},
		{"chroot", syscall.EPERM, files{"/proc/self/status": free, "/proc/self/mountinfo": chrooted}, "chroot", "leave the chroot"},
		{"selinux", syscall.EACCES, files{"/proc/self/mountinfo": rooted, "/sys/fs/selinux/enforce": "1"}, "SELinux", "ausearch"},
		{"unknown policy", syscall.EPERM, files{"/proc/self/status": free, "/proc/self/mountinfo": rooted}, "none of the policies", "minipod doctor"},
		{"red hat 7", syscall.ENOSPC, files{LimitFolder + "max_user_namespaces": "0\n"}, "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces"},
		{"no network namespaces", syscall.ENOSPC, files{LimitFolder + "max_user_namespaces": "99\n", LimitFolder + "max_net_namespaces": "0\n"}, "user.max_net_namespaces is 0", "max_net_namespaces"},
		{"all used", syscall.ENOSPC, files{LimitFolder + "max_user_namespaces": "99\n"}, "as many namespaces", "lsns"},
		{"no CONFIG_USER_NS", syscall.EINVAL, nil, "CONFIG_USER_NS", "kernel"},
		{"gVisor", syscall.ENOSYS, nil, "does not know the call", "sandbox"},
		{"ulimit", syscall.EAGAIN, nil, "ulimit -u", "raise the limit"},
		{"no memory", syscall.ENOMEM, nil, "cannot allocate memory: the reason", "minipod doctor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			refused := &os.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: test.errno}
			err := Diagnose(refused, test.files.read, "/usr/bin/minipod")
			if !errors.Is(err, test.errno) {
				t.Errorf("%v does not wrap %v", err, test.errno)
			}
			var refusal *Refusal
			if !errors.As(err, &refusal) {
				t.Errorf("%v wraps no Refusal", err)
			}
			if !strings.Contains(err.Error(), test.why) {
				t.Errorf("error %q does not say %q", err, test.why)
			}
			if !strings.Contains(hint.Of(err), test.hint) {
				t.Errorf("hint %q does not say %q", hint.Of(err), test.hint)
			}
		})
	}
	if err := Diagnose(nil, os.ReadFile, ""); err != nil {
		t.Errorf("Diagnose(nil) = %v", err)
	}
}

// TestThisMachine walks a real refusal through Diagnose, where there is one; else the namespace must be creatable.
func TestThisMachine(t *testing.T) {
	err := linux.TryUserns()
	if err == nil {
		return
	}
	err = Diagnose(err, os.ReadFile, "/usr/bin/minipod")
	if hint.Of(err) == "" {
		t.Errorf("no hint for %v", err)
	}
	t.Skipf("no user namespaces here: %v (%s)", err, hint.Of(err))
}

func TestProfile(t *testing.T) {
	for exe, want := range map[string]string{
		"/usr/local/bin/minipod": `profile minipod "/usr/local/bin/minipod" flags=(unconfined) {`,
		"/home/a b/{x}*/minipod": `profile minipod "/home/a b/\{x\}\*/minipod" flags=(unconfined) {`,
	} {
		if got := Profile(exe); !strings.Contains(got, want) || !strings.Contains(got, "\n  userns,\n") {
			t.Errorf("Profile(%q) = %s, want the line %s", exe, got, want)
		}
	}
}

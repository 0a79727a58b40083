// Package userns explains why this machine refuses a user namespace.
//
// Everything that minipod does without root starts with one system call, clone(2) with CLONE_NEWUSER. Half a dozen
// policies may forbid it, and all that the kernel answers is an errno: EPERM may be Debian's sysctl, Ubuntu's
// AppArmor, the seccomp filter of a container that we run in, or a chroot. Each needs another cure, so Diagnose reads
// the files in which those policies show and names the one that did it.
//
// The package is light: `minipod run` links it for its failure path, and `minipod doctor` asks the same question.
package userns

import (
	"errors"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// Files that Diagnose reads, for those who show the evidence.
const (
	CloneSysctl    = "/proc/sys/kernel/unprivileged_userns_clone"             // Debian's patch: 0 forbids
	AppArmorSysctl = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns" // Ubuntu since 23.10: 1 restricts
	AppArmorLabel  = "/proc/self/attr/apparmor/current"                       // the profile that confines us
	LimitFolder    = "/proc/sys/user/"                                        // max_user_namespaces and its kin

	profileFile = "/etc/apparmor.d/minipod"
)

// A Refusal is the policy that forbids user namespaces. Errors of Diagnose wrap one.
type Refusal struct {
	Err error    // what the kernel answered
	Why string   // which policy, for a person
	Fix []string // shell commands that lift it, where there are any
}

func (r *Refusal) Error() string { return "create a user namespace: " + r.Err.Error() + ": " + r.Why }
func (r *Refusal) Unwrap() error { return r.Err }

// Diagnose explains err, which clone(2) with CLONE_NEWUSER and perhaps other namespaces (or the write of the new
// namespace's id map) answered: one error that wraps a Refusal and err, with a hint that lifts it. readFile is
// os.ReadFile but for tests; exe is the path of our own binary, for the AppArmor profile. nil stays nil.
func Diagnose(err error, readFile func(name string) ([]byte, error), exe string) error {
	if err == nil {
		return nil
	}
	m := machine{readFile}
	why, advice, fix := "the reason does not show", "run `minipod doctor`", []string(nil)
	switch {
	case errors.Is(err, linux.EPERM), errors.Is(err, linux.EACCES):
		why, advice, fix = m.forbidden(err, exe)
	case errors.Is(err, linux.ENOSPC):
		why, advice, fix = m.limited()
	case errors.Is(err, linux.EINVAL):
		why, advice = "this kernel is built without user namespaces (CONFIG_USER_NS)", "boot your distribution's own kernel, which has them"
	case errors.Is(err, linux.ENOSYS):
		why, advice = "a sandbox that we run in does not know the call", m.outside()
	case errors.Is(err, linux.EAGAIN):
		why, advice = "you have as many processes as ulimit -u, or your cgroup's pids.max, allows", "end some processes, or raise the limit"
	}
	return hint.Wrap(&Refusal{err, why, fix}, advice)
}

// A machine answers questions from its files. A file that can't be read answers no.
type machine struct {
	readFile func(string) ([]byte, error)
}

func (m machine) read(name string) string {
	data, err := m.readFile(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// forbidden asks the policies that answer EPERM or EACCES, the most certain first.
func (m machine) forbidden(err error, exe string) (why, advice string, fix []string) {
	profile := m.confinement()
	switch {
	case m.read(CloneSysctl) == "0":
		return setSysctl("kernel.unprivileged_userns_clone", "1")
	case m.read(AppArmorSysctl) == "1" && !m.hasProfile():
		return "AppArmor reserves them for programs that have a profile, and " + exe + " has none",
			"run `minipod doctor`: it prints the profile to install and the commands", install(exe)
	// AppArmor 4 on a kernel of anybody's (6.7 or newer): EACCES, where a seccomp filter or a sysctl answers EPERM.
	case errors.Is(err, linux.EACCES) && profile != "":
		return "the AppArmor profile " + profile + " confines us, and has no rule for them",
			"run `minipod doctor`: it prints a profile of minipod's own to install, and the commands",
			append(install(exe), "# refused still? then the shell passes its profile on: add the rule \"userns,\" to that one")
	case m.filtered():
		return "a seccomp filter forbids it, as a container's does", m.outside(), nil
	case m.chrooted():
		return "we run in a chroot, which may not create any (man 2 unshare)",
			"leave the chroot, or enter it by pivot_root(8) in a mount namespace of its own", nil
	case m.read("/sys/fs/selinux/enforce") == "1":
		const search = "sudo ausearch -m avc -ts recent | grep user_namespace"
		return "SELinux may forbid it to this user or program", "run `" + search + "`", []string{search}
	}
	return "none of the policies known to minipod shows; a security module may forbid it", "run `minipod doctor`", nil
}

// limited finds the exhausted limit: ENOSPC does not say which kind of namespace ran out.
func (m machine) limited() (why, advice string, fix []string) {
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} {
		if name := "max_" + kind + "_namespaces"; m.read(LimitFolder+name) == "0" {
			return setSysctl("user."+name, "65536")
		}
	}
	return "you have as many namespaces as the sysctls user.max_*_namespaces allow, or 32 levels of them",
		"run `lsns`; stop what you no longer need, or raise user.max_user_namespaces", nil
}

// setSysctl is the answer where a sysctl that is 0 forbids. The fix survives a reboot, the hint is short.
func setSysctl(name, value string) (why, advice string, fix []string) {
	return "the sysctl " + name + " is 0", "run `sudo sysctl -w " + name + "=" + value + "`", []string{
		"echo " + name + "=" + value + " | sudo tee -a /etc/sysctl.d/99-minipod.conf",
		"sudo sysctl --system",
	}
}

// hasProfile tells whether an AppArmor profile is attached to us: then it is not the lack of one that refuses.
func (m machine) hasProfile() bool {
	label := m.read(AppArmorLabel)
	return label != "" && label != "unconfined" && !strings.HasPrefix(label, "unprivileged_userns")
}

// confinement is the name of the AppArmor profile that is enforced on us, if one is.
func (m machine) confinement() string {
	name, enforced := strings.CutSuffix(m.read(AppArmorLabel), " (enforce)")
	if !enforced {
		return ""
	}
	return name
}

// install is how a person gives exe its Profile. It goes by exe's whole path, so it wins over another's pattern.
func install(exe string) []string {
	return []string{
		"sudo tee " + profileFile + " <<'END'\n" + Profile(exe) + "END",
		"sudo apparmor_parser -r " + profileFile,
	}
}

// filtered tells whether a seccomp filter watches us (mode 2, man 5 proc).
func (m machine) filtered() bool {
	for line := range strings.Lines(m.read("/proc/self/status")) {
		if mode, found := strings.CutPrefix(line, "Seccomp:"); found {
			return strings.TrimSpace(mode) == "2"
		}
	}
	return false
}

// chrooted tells whether our root is no mount point, which only chroot(2) brings about. Field 5 is the mount point.
func (m machine) chrooted() bool {
	mounts := m.read("/proc/self/mountinfo")
	for line := range strings.Lines(mounts) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == "/" {
			return false
		}
	}
	return mounts != ""
}

// outside is the advice to a process in somebody else's container.
func (m machine) outside() string {
	if _, err := m.readFile("/run/.containerenv"); err == nil {
		return "start the outer container with `podman run --security-opt seccomp=unconfined --security-opt unmask=ALL …`"
	}
	if _, err := m.readFile("/.dockerenv"); err == nil {
		return "start the outer container with `docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined …`"
	}
	return "run minipod outside of that sandbox"
}

// Profile is the AppArmor profile that lets the binary exe create user namespaces and confines it in nothing else, in
// the form of those that Ubuntu ships in /etc/apparmor.d. Children of exe keep it.
func Profile(exe string) string {
	// In a profile's path *, ?, [], {} and ^ are patterns (man 5 apparmor.d), and quotes keep spaces.
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `{`, `\{`, `}`, `\}`, `^`, `\^`)
	return `abi <abi/4.0>,
include <tunables/global>

profile minipod "` + escape.Replace(exe) + `" flags=(unconfined) {
  userns,

  include if exists <local/minipod>
}
`
}

package stage

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
)

// TestOrder holds the two tables to the reasons for their order. Who adds a step finds here what it may break.
func TestOrder(t *testing.T) {
	var order []string
	for _, s := range sandboxSteps {
		order = append(order, s.name)
	}
	for _, s := range payloadSteps {
		order = append(order, s.name)
	}
	at := func(name string) int {
		i := slices.Index(order, name)
		if i < 0 {
			t.Fatalf("there is no step %s", name)
		}
		return i
	}
	if at("become-root") != 0 {
		t.Error("become-root is not first: without a uid of the namespace nothing else is allowed, and nothing tells us that the parent died")
	}
	if at("exec") != len(order)-1 {
		t.Error("exec is not last")
	}
	for _, rule := range []struct{ first, then, why string }{
		{"private-mounts", "gather", "a mount made before would appear on the host"},
		{"private-mounts", "overlay", "a mount made before would appear on the host"},
		{"gather", "pivot-root", "the host's folders and a fully visible proc are in sight only before"},
		{"overlay", "fill-volumes", "a volume is filled with what the image has there"},
		{"fill-volumes", "pivot-root", "the image and the volume's folder are both in sight only before"},
		{"overlay", "pivot-root", "the new root must be mounted"},
		{"pivot-root", "proc", "a path of the image may be resolved only where the host is out of reach"},
		{"pivot-root", "dev", "a path of the image may be resolved only where the host is out of reach"},
		{"pivot-root", "volumes", "a path of the image may be resolved only where the host is out of reach"},
		{"proc", "dev", "the links in /dev lead to /proc"},
		{"proc", "volumes", "a target inside /proc can be refused only once it is there"},
		{"sys", "volumes", "a target inside /sys can be refused only once it is there"},
		{"dev", "volumes", "the tmpfs of /dev would cover a volume at /dev/x"},
		{"dev", "files", "the files live in a folder of /dev for a moment"},
		{"volumes", "files", "the tmpfs of a volume at /etc would cover /etc/hosts"},
		{"proc", "mask", "what is mounted after the mask is not masked"},
		{"sys", "mask", "what is mounted after the mask is not masked"},
		{"volumes", "mask", "a volume could cover the mask"},
		{"dev", "mask", "files are covered by /dev/null"},
		{"dev", "console", "the terminal is made in the container's own devpts"},
		{"volumes", "read-only", "mount points are made in the image's tree"},
		{"files", "read-only", "mount points are made in the image's tree"},
		{"console", "user", "the terminal is given to the user"},
		{"pivot-root", "user", "it reads the image's own /etc/passwd"},
		{"volumes", "user", "a volume may hold /etc/passwd"},
		{"volumes", "workdir", "the working folder may be in a volume"},
		{"workdir", "find-command", "a command like ./x is below the working folder"},
		{"pivot-root", "find-command", "it looks the command up in the image"},
		{"proc", "oom-score", "it writes to our /proc"},
		{"proc", "sysctls", "it writes to our /proc"},
		{"loopback", "sysctls", "an interface that comes up takes the defaults that a sysctl may change"},
		{"limits", "credentials", "only root of the namespace may raise a limit"},
		{"early-seccomp", "bound-capabilities", "without no_new_privs a filter takes CAP_SYS_ADMIN"},
		{"early-seccomp", "capabilities", "without no_new_privs a filter takes CAP_SYS_ADMIN"},
		{"bound-capabilities", "capabilities", "dropping from the bounding set takes CAP_SETPCAP"},
		{"bound-capabilities", "credentials", "dropping from the bounding set takes CAP_SETPCAP, which goes with uid 0"},
		{"credentials", "capabilities", "changing ids takes capabilities, and changes them"},
		{"credentials", "seccomp", "a filter may forbid it"},
		{"capabilities", "seccomp", "a filter may forbid it"},
		{"no-new-privs", "seccomp", "an unprivileged process may install a filter only after it"},
		{"descriptors", "seccomp", "a filter may forbid close_range"},
		{"descriptors", "exec", "no descriptor of ours goes along"},
		{"join-pids", "bound-capabilities", "joining a namespace takes CAP_SYS_ADMIN"},
		{"join-pids", "credentials", "joining a namespace takes CAP_SYS_ADMIN, which goes with uid 0"},
		{"capabilities", "among", "who may trace among those processes could have it do what the command can't"},
		{"no-new-privs", "among", "who may trace among those processes could have it execute something before"},
		{"descriptors", "among", "who may trace among those processes could have it use a descriptor of ours"},
		{"among", "seccomp", "a filter may forbid clone"},
		{"seccomp", "exec", "the program runs under it"},
	} {
		if at(rule.first) >= at(rule.then) {
			t.Errorf("%s must come before %s: %s", rule.first, rule.then, rule.why)
		}
	}
	if len(order) != len(slices.Compact(slices.Sorted(slices.Values(order)))) {
		t.Error("two steps have one name")
	}
	for _, s := range sandboxSteps {
		if s.why == "" || s.do == nil {
			t.Errorf("%s has no reason, or does nothing", s.name)
		}
	}
}

func TestCandidates(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		want       []string
	}{
		{"sh", "/bin:/usr/bin", []string{"/bin/sh", "/usr/bin/sh"}},
		{"sh", "", nil},
		{"sh", ".:bin::/bin/:", []string{"/bin/sh"}}, // a relative folder would be the working folder: somebody else's sh
		{"./sh", "/bin", []string{"./sh"}},
		{"/sh", "/bin", []string{"/sh"}},
		{"a/b", "/bin", []string{"a/b"}},
		{"", "/bin", []string{""}},
		{"..", "/bin", []string{"/"}}, // a folder: not executable
	} {
		if got := candidates(tt.name, tt.path); !slices.Equal(got, tt.want) {
			t.Errorf("candidates(%q, %q) = %q, want %q", tt.name, tt.path, got, tt.want)
		}
	}
}

func TestLookup(t *testing.T) {
	env := []string{"PATH=/a", "PATHS=/b", "EMPTY=", "PATH=/c", "=x", "BARE"}
	for name, want := range map[string]string{"PATH": "/c", "EMPTY": "", "BARE": "", "MISSING": ""} {
		if got := lookup(env, name); got != want {
			t.Errorf("lookup %s = %q, want %q", name, got, want)
		}
	}
}

// aPayload is the calls of a container with everything.
func aPayload(t *testing.T, change func(*sandbox)) (*sandbox, *payload) {
	t.Helper()
	s := &sandbox{plan: &Plan{Explain: true, Process: Process{
		Args: []string{"sh"}, NoNewPrivileges: true, Seccomp: make([]byte, 16), Setgroups: true,
		Capabilities: 0xa80425fb, Bounding: 0xa80425fb, Rlimits: []Rlimit{{Name: "RLIMIT_NOFILE", Resource: 7}},
	}}, root: &rootfs.Builder{}, command: "/bin/sh"}
	if change != nil {
		change(s)
	}
	p, err := s.payload()
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

func indexOf(t *testing.T, p *payload, call string) int {
	t.Helper()
	i := slices.IndexFunc(p.program.Calls(), func(c string) bool { return strings.HasPrefix(c, call) })
	if i < 0 {
		t.Fatalf("no call %s among %q", call, p.program.Calls())
	}
	return i
}

// TestBlame finds the step that each call of the payload belongs to.
func TestBlame(t *testing.T) {
	s, p := aPayload(t, nil)
	for call, step := range map[string]string{
		"setrlimit": "limits", "umask": "limits", "prctl(PR_CAPBSET_DROP": "bound-capabilities",
		"setgroups": "credentials", "setresuid": "credentials", "prctl(PR_CAP_AMBIENT_CLEAR_ALL": "capabilities",
		"capset": "capabilities", "prctl(PR_SET_NO_NEW_PRIVS": "no-new-privs", "close_range": "descriptors",
		"seccomp": "seccomp", "execve": "exec",
	} {
		name, err := s.blame(p, &linux.CallError{Call: call, Index: indexOf(t, p, call), Err: syscall.EPERM})
		if name != step || !errors.Is(err, syscall.EPERM) {
			t.Errorf("%s is blamed on %s (%v), want %s", call, name, err, step)
		}
		if step != "exec" && hint.ExitStatus(err, 125) != 125 {
			t.Errorf("%s: exit status %d", call, hint.ExitStatus(err, 125))
		}
	}
	s, p = aPayload(t, func(s *sandbox) { s.plan.PIDNamespace = 4 })
	if name, err := s.blame(p, &linux.CallError{Call: "clone", Index: indexOf(t, p, "clone"), Err: syscall.ENOMEM}); name != "among" || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("a pid namespace without PID 1: %s, %v", name, err)
	}
	s, p = aPayload(t, nil)
	for errno, exit := range map[syscall.Errno]int{syscall.ENOENT: 127, syscall.ENOEXEC: 126, syscall.EACCES: 126, syscall.EPERM: 126, syscall.E2BIG: 126, syscall.ETXTBSY: 126} {
		_, err := s.blame(p, &linux.CallError{Call: "execve", Index: indexOf(t, p, "execve"), Err: errno})
		if got := hint.ExitStatus(err, 125); got != exit || !errors.Is(err, errno) {
			t.Errorf("execve: %v exits with %d, want %d", errno, got, exit)
		}
	}
	if name, err := s.blame(p, syscall.EAGAIN); name != "exec" || !errors.Is(err, syscall.EAGAIN) { // fork itself
		t.Errorf("fork is blamed on %s, %v", name, err)
	}
}

// TestPayload looks at which calls a plan asks for.
func TestPayload(t *testing.T) {
	calls := func(change func(*sandbox)) string {
		_, p := aPayload(t, change)
		return strings.Join(p.program.Calls(), "\n")
	}
	all := calls(nil)
	if strings.Count(all, "seccomp(") != 1 || strings.Index(all, "seccomp(") < strings.Index(all, "NO_NEW_PRIVS") {
		t.Errorf("seccomp:\n%s", all)
	}
	raising := calls(func(s *sandbox) { s.plan.Process.NoNewPrivileges = false })
	if strings.Count(raising, "seccomp(") != 1 || strings.Index(raising, "seccomp(") > strings.Index(raising, "setresgid") || strings.Contains(raising, "NO_NEW_PRIVS") {
		t.Errorf("seccomp without no_new_privs:\n%s", raising)
	}
	if none := calls(func(s *sandbox) { s.plan.Process.Seccomp = nil }); strings.Contains(none, "seccomp(") {
		t.Errorf("no filter was asked for:\n%s", none)
	}
	if single := calls(func(s *sandbox) { s.plan.Process.Setgroups = false }); strings.Contains(single, "setgroups(") {
		t.Errorf("setgroups is denied with one id:\n%s", single)
	}
	if strings.Contains(all, "clone(") || strings.Contains(all, "setns(") {
		t.Errorf("a namespace is joined:\n%s", all)
	}
	shared := calls(func(s *sandbox) { s.plan.PIDNamespace, s.plan.Reaper = 4, true })
	for _, call := range []string{"setns(pid)", "capset(", "clone(CLONE_PARENT)", "setsid()", "prctl(PR_SET_PDEATHSIG, SIGKILL)", "seccomp("} {
		at := strings.Index(shared, call)
		if at < 0 || strings.LastIndex(shared, call) != at {
			t.Errorf("%s is not there once:\n%s", call, shared)
		}
	}
	if !strings.HasPrefix(shared, "setns(pid)") || strings.Index(shared, "clone(") > strings.Index(shared, "setsid()") || strings.Index(shared, "capset(") > strings.Index(shared, "clone(") {
		t.Errorf("the process that leads the session is another:\n%s", shared)
	}
	if other := calls(func(s *sandbox) { s.uid = 1000 }); !strings.Contains(other, "capset(effective=0x0, permitted=0x0)") {
		t.Errorf("another user than root has capabilities:\n%s", other)
	}
}

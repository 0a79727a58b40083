package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/runtime"
)

var kindsOfNamespaces = []string{"mnt", "pid", "net", "ipc", "uts", "user", "cgroup"}

// TestPodHostNamespaces gives pods one of the host's namespaces, and looks at the seven of their commands: just that one is the host's.
func TestPodHostNamespaces(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	own := map[string]string{}
	for _, kind := range kindsOfNamespaces {
		text, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		own[kind] = text
	}
	tell := "for n in " + strings.Join(kindsOfNamespaces, " ") + "; do echo $n $(readlink /proc/$$/ns/$n); done; "
	yes := true
	for name, tt := range map[string]struct {
		spec pod.Spec
		want []string
	}{
		"net":  {pod.Spec{HostNetwork: true}, []string{"net"}},
		"pid":  {pod.Spec{HostPID: true}, []string{"pid"}},
		"ipc":  {pod.Spec{HostIPC: true}, []string{"ipc"}},
		"all":  {pod.Spec{HostNetwork: true, HostPID: true, HostIPC: true}, []string{"ipc", "net", "pid"}},
		"none": {pod.Spec{ShareProcessNamespace: &yes}, nil},
	} {
		tt.spec.Containers = []pod.Container{shell("a", tell+forever), shell("b", forever)}
		p := m.pod("host-"+name, tt.spec)
		p.ready()
		told := ""
		awaitThat(t, "seven lines", func() bool {
			told = p.must("logs", p.id("a"))
			return strings.Count(told, ":[") == len(kindsOfNamespaces)
		})
		var hosts []string
		for line := range strings.Lines(told) {
			kind, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			if text != "" && own[kind] == text {
				hosts = append(hosts, kind)
			}
		}
		slices.Sort(hosts)
		if !slices.Equal(hosts, tt.want) {
			t.Errorf("%s: the host's are %v, want %v: %s", name, hosts, tt.want, told)
		}
		for _, kind := range []string{"net", "ipc", "uts", "user"} { // whatever is the host's, the rest is the pod's
			if a, b := p.exec("a", "readlink /proc/self/ns/"+kind), p.exec("b", "readlink /proc/self/ns/"+kind); a != b {
				t.Errorf("%s: %s is %s and %s", name, kind, a, b)
			}
		}
		m.podctl("delete", "host-"+name, "0")
		p.gone()
	}
}

// TestPodHostIPC shares a System V queue and a file of POSIX shared memory with the host's ordinary processes: this one. The volumes in memory stay
// the pod's.
func TestPodHostIPC(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	key := 0x6d000000 | os.Getpid()
	queue, _, errno := syscall.Syscall(unix.SYS_MSGGET, uintptr(key), unix.IPC_CREAT|unix.IPC_EXCL|0o600, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	removeQueue := func() syscall.Errno {
		_, _, errno := syscall.Syscall(unix.SYS_MSGCTL, queue, unix.IPC_RMID, 0)
		return errno
	}
	defer removeQueue()
	f, err := os.CreateTemp("/dev/shm", "minipod-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString("from outside"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	a, b := shell("a", forever), shell("b", forever)
	a.VolumeMounts = []pod.VolumeMount{{Name: "mem", MountPath: "/mem"}}
	b.VolumeMounts = a.VolumeMounts
	p := m.pod("ipc", pod.Spec{HostIPC: true, Containers: []pod.Container{a, b}, Volumes: []pod.Volume{
		{Name: "mem", EmptyDir: &pod.EmptyDir{Medium: "Memory"}},
	}})
	p.ready()
	for _, container := range []string{"a", "b"} {
		if got := p.exec(container, fmt.Sprintf("grep -c '^ *%d ' /proc/sysvipc/msg", int32(key))); got != "1" {
			t.Errorf("%s sees %s queues", container, got)
		}
		if got := p.exec(container, "cat "+f.Name()); got != "from outside" {
			t.Errorf("%s reads %q", container, got)
		}
	}
	p.exec("a", "echo from inside >"+f.Name()+"; echo x >/mem/x")
	if text, err := os.ReadFile(f.Name()); err != nil || string(text) != "from inside\n" {
		t.Errorf("%q, %v", text, err)
	}
	if got := p.exec("b", "cat /mem/x"); got != "x" {
		t.Errorf("the volume in memory has %q", got)
	}
	if p.exec("b", fmt.Sprintf("if command -v ipcrm >/dev/null; then ipcrm -q %d; else echo none; fi", queue)) != "none" { // Debian's busybox has none
		if errno := removeQueue(); errno != syscall.EINVAL && errno != syscall.EIDRM {
			t.Errorf("the queue was not removed inside: %v", errno)
		}
	}
	q := m.pod("own", pod.Spec{Containers: []pod.Container{shell("a", forever)}})
	q.ready()
	if got := q.exec("a", "ls /dev/shm"); got != "" {
		t.Errorf("another pod sees %s", got)
	}
}

// TestPodHostPID lives among the host's processes: sees them, may not look into them, and leaves none.
func TestPodHostPID(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("run", "--rm", alpine(), "true")
	before := takeCensus(t, filepath.Join(m.dirs().Data, "containers"))
	const stray = "sleep 7011 & (setsid sleep 7012 &) ; "
	a := shell("a", stray+forever)
	a.ReadinessProbe = &pod.Probe{Handler: pod.Handler{Exec: &pod.ExecAction{Command: []string{"test", "-d", "/proc/1"}}}, PeriodSeconds: 1, TimeoutSeconds: 20}
	b := shell("b", stray+"touch /up; "+forever)
	b.SecurityContext = &pod.ContainerSecurityContext{Privileged: ptr(true)}
	p := m.pod("pids", pod.Spec{HostPID: true, TerminationGracePeriodSeconds: ptr(int64(1)), Containers: []pod.Container{a, b}})
	p.ready()
	awaitThat(t, "two of each", func() bool { return strays(t) == 4 })

	record, err := runtime.Find(m.dirs(), p.id("a"))
	if err != nil {
		t.Fatal(err)
	}
	for _, container := range []string{"a", "b"} {
		for name, pid := range map[string]int{"ourselves": os.Getpid(), "the supervisor": record.Supervisor, "the sandbox of a": record.PID} {
			dir := fmt.Sprintf("/proc/%d/", pid)
			if got := p.exec(container, "cat "+dir+"comm"); got == "" {
				t.Errorf("%s does not see %s", container, name)
			}
			script := "for f in exe cwd root ns/mnt; do readlink " + dir + "$f; done; for f in environ maps mem; do head -c 1 " + dir + "$f; done; for f in " + dir + "fd/*; do readlink $f; head -c 1 $f; done; " +
				"echo x >" + dir + "mem && echo written"
			if got := p.exec(container, "{ "+script+"; } 2>/dev/null; true"); got != "" {
				t.Errorf("%s looks into %s: %q", container, name, got)
			}
		}
	}
	for script, want := range map[string]string{
		"wc -c </proc/interrupts":                       "0", // covered
		"grep -c ' /proc/sys ro,' /proc/self/mountinfo": "1",
		"echo $$ >/dev/null; test -d /proc/$$; echo $?": "0",
	} {
		if got := p.exec("a", script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
	if got := p.exec("b", "echo $((0x$(sed -n 's/CapBnd:.//p' /proc/self/status) & (1<<19|1<<36)))"); got != "0" {
		t.Errorf("a privileged container may trace: %s", got)
	}

	// A container that ends, by its command or with its sandbox, leaves nobody, and comes again.
	for restarts, end := range []func(){
		func() { m.must("kill", p.id("a")) },
		func() { p.kill(record.PID) },
	} {
		if record, err = runtime.Find(m.dirs(), p.id("a")); err != nil {
			t.Fatal(err)
		}
		end()
		p.await("restarted", func(s *pod.Status) bool {
			return int(s.ContainerStatuses[0].RestartCount) == restarts+1 && s.ContainerStatuses[0].Ready
		})
		awaitThat(t, "two of each again", func() bool { return strays(t) == 4 })
	}

	// So does the supervisor.
	p.kill(record.Supervisor)
	awaitThat(t, "nobody", func() bool { return strays(t) == 0 })
	m.podctl("revive")
	p.ready()
	m.podctl("delete", "pids")
	p.gone()
	if left := strays(t); left > 0 {
		t.Errorf("%d processes are left", left)
	}
	for range 100 {
		if before.network(takeCensus(t)); len(before.more(takeCensus(t, filepath.Join(m.dirs().Data, "containers")))) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	before.settles(t, filepath.Join(m.dirs().Data, "containers"))

	tracer := shell("a", forever)
	tracer.SecurityContext = &pod.ContainerSecurityContext{Capabilities: &pod.Capabilities{Add: []string{"SYS_PTRACE"}}}
	q := m.pod("tracer", pod.Spec{HostPID: true, Containers: []pod.Container{tracer}})
	q.await("refused", func(s *pod.Status) bool {
		return len(s.ContainerStatuses) == 1 && s.ContainerStatuses[0].State.Waiting != nil && s.ContainerStatuses[0].State.Waiting.Reason == pod.CreateContainerConfigError
	})
}

// strays counts what TestPodHostPID's containers leave in the background.
func strays(t *testing.T) (n int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err == nil && (string(text) == "sleep\x007011\x00" || string(text) == "sleep\x007012\x00") {
			n++
		}
	}
	return n
}

func awaitThat(t *testing.T, what string, enough func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !enough(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}

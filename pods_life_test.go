package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/kube/store"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
)

func execProbe(script string) *pod.Probe {
	return &pod.Probe{Handler: pod.Handler{Exec: &pod.ExecAction{Command: []string{"sh", "-c", script}}}, PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: 20}
}

// event waits for an event whose line has all of the words.
func (p *podTest) event(words ...string) {
	p.t.Helper()
	var list []string
	for range 1000 {
		list = p.events()
		for _, line := range list {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.t.Errorf("no event has %q:\n%s", words, strings.Join(list, "\n"))
}

func (p *podTest) waits(container, reason string) *pod.Waiting {
	p.t.Helper()
	var found *pod.Waiting
	p.await(container+" "+reason, func(s *pod.Status) bool {
		for _, c := range append(s.InitContainerStatuses, s.ContainerStatuses...) {
			if c.Name == container && c.State.Waiting != nil && c.State.Waiting.Reason == reason {
				found = c.State.Waiting
				return true
			}
		}
		return false
	})
	return found
}

func TestPodProbes(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	ready := shell("ready", forever)
	ready.ReadinessProbe = execProbe("test -e /tmp/ready || { echo not yet; exit 1; }")
	live := shell("live", forever)
	live.LivenessProbe = execProbe("test ! -e /tmp/sick")
	live.LivenessProbe.TerminationGracePeriodSeconds = new(int64)
	slow := shell("slow", "sleep 1; touch /tmp/up; "+forever)
	slow.StartupProbe = execProbe("test -e /tmp/up")
	slow.StartupProbe.FailureThreshold = 30
	hangs := shell("hangs", forever)
	hangs.ReadinessProbe = execProbe("sleep 1000")
	hangs.ReadinessProbe.TimeoutSeconds = 1
	p := m.pod("probes", pod.Spec{Containers: []pod.Container{ready, live, slow, hangs}})
	p.event("Unhealthy", "spec.containers{ready}", "Readiness probe failed: not yet")
	p.exec("ready", "touch /tmp/ready")
	p.await("ready", func(s *pod.Status) bool { return s.ContainerStatuses[0].Ready })
	p.await("slow is up", func(s *pod.Status) bool { c := s.ContainerStatuses[2]; return c.Ready && *c.Started })
	p.exec("live", "touch /tmp/sick")
	p.await("restarted", func(s *pod.Status) bool { return s.ContainerStatuses[1].RestartCount == 1 })
	p.event("Killing", "Container live failed liveness probe, will be restarted")
	p.event("Unhealthy", "spec.containers{hangs}", "timed out")
	if out := p.exec("hangs", "ps | grep -c 'sleep 100[0]' || true"); len(out) > 1 || out > "1" {
		t.Errorf("probes that timed out are still there: %s", out)
	}
}

func TestPodHooks(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	grace := int64(3)
	hooked := shell("hooked", "trap '' TERM; while :; do sleep 0.1; done")
	hooked.Lifecycle = &pod.Lifecycle{
		PostStart: &pod.Handler{Exec: &pod.ExecAction{Command: []string{"sh", "-c", "echo post >/v/post"}}},
		PreStop:   &pod.Handler{Exec: &pod.ExecAction{Command: []string{"sh", "-c", "echo pre >/v/pre; sleep 1000"}}},
	}
	bad := shell("bad", forever)
	bad.Lifecycle = &pod.Lifecycle{PostStart: &pod.Handler{Exec: &pod.ExecAction{Command: []string{"sh", "-c", "echo oh no; exit 7"}}}}
	hooked.VolumeMounts = []pod.VolumeMount{{Name: "v", MountPath: "/v"}}
	dir := t.TempDir()
	p := m.pod("hooks", pod.Spec{
		TerminationGracePeriodSeconds: &grace, Containers: []pod.Container{hooked, bad},
		Volumes: []pod.Volume{{Name: "v", HostPath: &pod.HostPath{Path: dir}}},
	})
	p.event("FailedPostStartHook", "spec.containers{bad}", "exited with 7", "oh no")
	p.await("bad starts again", func(s *pod.Status) bool { return s.ContainerStatuses[1].RestartCount > 0 })
	p.await("hooked", func(s *pod.Status) bool { return s.ContainerStatuses[0].Ready })
	if post := p.exec("hooked", "cat /v/post"); post != "post" {
		t.Errorf("postStart wrote %q", post)
	}
	began := time.Now()
	m.podctl("delete", "hooks")
	p.gone()
	if took := time.Since(began); took < 3*time.Second || took > time.Minute {
		t.Errorf("a preStop that never ends took %s of a grace period of 3 s", took)
	}
	p.event("FailedPreStopHook", "spec.containers{hooked}", "PreStopHook failed: not completed in the grace period of 3s")
}

// A pod that waits for a registry which never answers can be deleted.
func TestPodDeletedWhilePulling(t *testing.T) {
	m := newMachine(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	slow := shell("slow", forever)
	slow.Image = silent.Addr().String() + "/slow:1"
	p := m.pod("slow", pod.Spec{Containers: []pod.Container{slow}})
	p.event("Pulling", "spec.containers{slow}")
	began := time.Now()
	m.podctl("delete", "slow")
	p.gone()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("its end took %s", took)
	}
	for _, line := range p.events() {
		if strings.Contains(line, "Failed") {
			t.Error(line)
		}
	}
}

func TestPodFailures(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	crash := shell("crash", "echo bye >/dev/termination-log; exit 3")
	logs := shell("logs", "echo from the log; exit 4")
	logs.TerminationMessagePolicy = "FallbackToLogsOnError"
	nothing := pod.Container{Name: "nothing", Command: []string{"/no/such"}}
	config := shell("config", forever)
	config.EnvFrom = []pod.EnvFrom{{ConfigMapRef: &pod.ObjectRef{Name: "later"}}}
	pull := shell("pull", forever)
	pull.Image, pull.ImagePullPolicy = strings.Replace(alpine(), "alpine", "no-such-image", 1), "IfNotPresent"
	never := shell("never", forever)
	never.Image, never.ImagePullPolicy = pull.Image, "Never"
	name := shell("name", forever)
	name.Image = "Not A Name"
	root := shell("root", forever)
	yes := true
	root.SecurityContext = &pod.ContainerSecurityContext{RunAsNonRoot: &yes}
	p := m.pod("failures", pod.Spec{Containers: []pod.Container{crash, logs, nothing, config, pull, never, name, root}})
	s := p.await("they ended", func(s *pod.Status) bool {
		return s.ContainerStatuses[0].RestartCount == 1 && s.ContainerStatuses[0].State.Waiting != nil && s.ContainerStatuses[1].RestartCount == 1 && s.ContainerStatuses[1].LastState.Terminated != nil
	})
	if c := s.ContainerStatuses[0]; c.LastState.Terminated.ExitCode != 3 || c.LastState.Terminated.Message != "bye\n" || c.LastState.Terminated.Reason != pod.Error {
		t.Errorf("%+v", c.LastState.Terminated)
	}
	if w := p.waits("crash", pod.CrashLoopBackOff); !strings.HasPrefix(w.Message, "back-off 10s restarting failed container=crash pod=failures_default(") {
		t.Error(w.Message)
	}
	if left, err := filepath.Glob(filepath.Join(m.dirs().Data, "pods", p.stored().Metadata.UID, "messages", "crash", "*")); err != nil || len(left) > 0 {
		t.Errorf("what it said is left on disk: %q, %v", left, err)
	}
	if c := p.status().ContainerStatuses[1]; c.LastState.Terminated == nil || c.LastState.Terminated.Message != "from the log\n" {
		t.Errorf("%+v", c)
	}
	p.event("BackOff", "Back-off restarting failed container crash in pod failures_default(")
	p.await("nothing", func(s *pod.Status) bool {
		c := s.ContainerStatuses[2]
		return c.LastState.Terminated != nil && c.LastState.Terminated.Reason == "StartError" && c.LastState.Terminated.ExitCode == 128
	})
	p.waits("pull", pod.ImagePullBackOff)
	p.event("Failed", "spec.containers{pull}", "Failed to pull image")
	p.waits("never", pod.ErrImageNeverPull)
	p.waits("name", pod.InvalidImageName)
	if w := p.waits("root", pod.CreateContainerConfigError); !strings.Contains(w.Message, "container has runAsNonRoot and image will run as root (pod:") {
		t.Error(w.Message)
	}
	if w := p.waits("config", pod.CreateContainerConfigError); w.Message != `configmap "later" not found` {
		t.Error(w.Message)
	}
	if err := store.Put(m.dirs(), store.KindConfigMap, "default", "later", []byte(`{"data":{"A":"1"}}`)); err != nil {
		t.Fatal(err)
	}
	p.await("config runs", func(s *pod.Status) bool { return s.ContainerStatuses[3].Ready })
	if s := p.status(); s.Phase != pod.Pending {
		t.Errorf("phase %s, while some containers never ran", s.Phase)
	}
	m.podctl("delete", "failures", "0")
	p.gone()
}

func TestPodOnce(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	p := m.pod("once", pod.Spec{RestartPolicy: "Never", Containers: []pod.Container{shell("a", "exit 0"), shell("b", "sleep 0.3")}})
	s := p.phase(pod.Succeeded)
	if s.ContainerStatuses[0].State.Terminated.Reason != pod.Completed {
		t.Errorf("%+v", s.ContainerStatuses[0])
	}
	for range 1000 { // it stays as it is, and nobody looks after it
		if there, err := pod.Supervised(m.dirs(), p.stored().Metadata.UID); err != nil || !there {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if there, err := pod.Supervised(m.dirs(), p.stored().Metadata.UID); err != nil || there {
		t.Errorf("its supervisor stays: %v", err)
	}
	if s := p.status(); s.Phase != pod.Succeeded {
		t.Errorf("%+v", s)
	}
	if out := m.must("logs", p.id("a")); out != "" {
		t.Errorf("%q", out)
	}
	m.podctl("delete", "once")
	p.gone()
	q := m.pod("deadline", pod.Spec{RestartPolicy: "Always", ActiveDeadlineSeconds: ptr(int64(1)), TerminationGracePeriodSeconds: ptr(int64(1)), Containers: []pod.Container{shell("a", forever)}})
	if s := q.phase(pod.Failed); s.Reason != pod.DeadlineExceeded {
		t.Errorf("%+v", s)
	}
}

func ptr[T any](v T) *T { return &v }

func TestPodSecurity(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	yes, no := true, false
	a := shell("a", forever)
	a.SecurityContext = &pod.ContainerSecurityContext{
		RunAsUser: ptr(int64(1000)), RunAsGroup: ptr(int64(3000)), ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no,
		Capabilities: &pod.Capabilities{Drop: []string{"ALL"}},
	}
	b := shell("b", forever)
	b.SecurityContext = &pod.ContainerSecurityContext{Capabilities: &pod.Capabilities{Add: []string{"NET_ADMIN"}}}
	p := m.pod("secure", pod.Spec{
		ShareProcessNamespace: &yes, Hostname: "box", HostAliases: []pod.HostAlias{{IP: "10.1.2.3", Hostnames: []string{"foo.local", "bar"}}},
		DNSPolicy: "None", DNSConfig: &pod.DNSConfig{Nameservers: []string{"192.0.2.1"}, Searches: []string{"a.b"}, Options: []pod.DNSOption{{Name: "ndots", Value: ptr("2")}}},
		SecurityContext: &pod.PodSecurityContext{SupplementalGroups: []int64{4000}, Sysctls: []pod.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "99"}}},
		Containers:      []pod.Container{a, b},
	})
	p.ready()
	for script, want := range map[string]string{
		"id -u; id -g; id -G":                           "1000\n3000\n3000 4000",
		"touch /x 2>&1 | grep -c Read-only":             "1",
		"grep -E 'CapBnd|NoNewPrivs' /proc/self/status": "CapBnd:\t0000000000000000\nNoNewPrivs:\t1",
		"hostname":                  "box",
		"grep foo.local /etc/hosts": "10.1.2.3\tfoo.local\tbar",
		"cat /etc/resolv.conf":      "search a.b\nnameserver 192.0.2.1\noptions ndots:2",
		"cat /proc/sys/net/ipv4/ip_unprivileged_port_start": "99",
		"tr '\\0' ' ' </proc/1/cmdline | cut -c1-31":        "minipod sandbox k8s_POD_secure_",
	} {
		if got := p.exec("a", script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
	if got := p.exec("b", "ip link set lo mtu 1400 && ip link show lo | grep -c 'mtu 1400'"); got != "1" {
		t.Errorf("NET_ADMIN: %s", got)
	}
	record, err := runtime.Find(m.dirs(), p.id("b"))
	if err != nil {
		t.Fatal(err)
	}
	p.kill(record.PID) // its sandbox is not the PID 1 that would take it along
	p.await("restarted", func(s *pod.Status) bool {
		return s.ContainerStatuses[1].RestartCount == 1 && s.ContainerStatuses[1].Ready
	})
	var got string
	for range 300 { // one that forks is two for a moment
		if got = p.exec("b", "ps -o args | grep -c \"^sh -c trap\""); got == "2" {
			break
		}
	}
	if got != "2" {
		t.Errorf("%s of two shells run", got)
	}
	m.podctl("delete", "secure")
	p.gone()
}

// TestPodNetwork asks a pod by its network, and replaces one image without touching the rest.
func TestPodNetwork(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	m.must("pull", busybox())
	web := shell("web", "mkdir /w; echo hi >/w/index.html; httpd -f -p 8080 -h /w")
	web.Image = busybox()
	web.Ports = []pod.ContainerPort{{Name: "http", ContainerPort: 8080}}
	web.ReadinessProbe = &pod.Probe{Handler: pod.Handler{HTTPGet: &pod.HTTPGet{Path: "/index.html", Port: pod.Port{Name: "http"}}}, PeriodSeconds: 1, TimeoutSeconds: 20}
	web.LivenessProbe = &pod.Probe{Handler: pod.Handler{TCPSocket: &pod.TCPSocket{Port: pod.Port{Number: 8080}}}, PeriodSeconds: 1}
	lost := shell("lost", forever)
	lost.ReadinessProbe = &pod.Probe{Handler: pod.Handler{HTTPGet: &pod.HTTPGet{Path: "/none", Port: pod.Port{Number: 8080}}}, PeriodSeconds: 1}
	spec := pod.Spec{Containers: []pod.Container{web, lost}}
	p := m.pod("net", spec)
	s := p.await("web is ready", func(s *pod.Status) bool { return s.ContainerStatuses[0].Ready })
	if !strings.HasPrefix(s.PodIP, "10.") || s.ContainerStatuses[1].Ready {
		t.Errorf("%+v", s)
	}
	p.event("Unhealthy", "spec.containers{lost}", "Readiness probe failed: HTTP probe failed with statuscode: 404")
	if got := p.exec("lost", "grep -w net /etc/hosts; wget -qO- localhost:8080"); got != s.PodIP+"\tnet\nhi" {
		t.Errorf("%q", got)
	}
	other := m.pod("other", pod.Spec{Containers: []pod.Container{shell("a", forever)}})
	other.ready()
	if got := other.exec("a", "wget -qO- "+s.PodIP+":8080"); got != "hi" {
		t.Errorf("from another pod: %q", got)
	}
	first := p.id("web")
	spec.Containers[1].Image = busybox()
	m.podctl("change", "net", m.podFile("net", spec))
	p.await("replaced", func(s *pod.Status) bool {
		c := s.ContainerStatuses[1]
		return c.RestartCount == 1 && c.State.Running != nil && c.Image == busybox()
	})
	p.event("Killing", "Container lost definition changed, will be restarted")
	if p.id("web") != first || p.status().ContainerStatuses[0].RestartCount != 0 {
		t.Error("the other one was touched")
	}
	host := m.pod("hostnet", pod.Spec{HostNetwork: true, Containers: []pod.Container{shell("a", forever)}})
	host.ready()
	mine, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if got := host.exec("a", "readlink /proc/self/ns/net"); got != mine {
		t.Errorf("%s is not the host's %s", got, mine)
	}
}

func busybox() string { return os.Getenv("MINIPOD_REGISTRY") + "/library/busybox" }

// TestPodByDockersVerbs does to a pod's containers what docker's verbs do: the pod sees to it that they come back, and none ends its supervisor.
func TestPodByDockersVerbs(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	p := m.pod("docker", pod.Spec{Containers: []pod.Container{shell("a", forever), shell("b", forever)}})
	p.ready()
	other := p.id("b")
	m.must("stop", p.id("a"))
	p.await("again", func(s *pod.Status) bool {
		return s.ContainerStatuses[0].RestartCount == 1 && s.ContainerStatuses[0].Ready
	})
	m.must("rm", "-f", p.id("a"))
	p.await("and again", func(s *pod.Status) bool {
		return s.ContainerStatuses[0].RestartCount == 2 || s.ContainerStatuses[0].State.Waiting != nil
	})
	if p.id("b") != other || p.status().ContainerStatuses[1].RestartCount != 0 {
		t.Error("its sibling was touched")
	}
	var keeper struct{ PID int }
	if err := state.ReadJSON(filepath.Join(p.stored().Dir(), "supervisor.json"), &keeper); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(keeper.PID, syscall.SIGTERM); err != nil { // a shutdown
		t.Fatal(err)
	}
	p.phase(pod.Unknown)
	m.podctl("revive")
	p.ready()
	m.podctl("delete", "docker")
	p.gone()
	if err := nothingLeft(m.home); err != nil {
		t.Error(err)
	}
}

// TestPodHostileSubPath has a container put a link where another's subPath is.
func TestPodHostileSubPath(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	for medium, name := range map[string]string{"": "disk", "Memory": "memory"} {
		evil, victim := shell("evil", "ln -s / /v/sub; ln -s ../../.. /v/up"), shell("victim", forever)
		evil.VolumeMounts = []pod.VolumeMount{{Name: "v", MountPath: "/v"}}
		victim.VolumeMounts = []pod.VolumeMount{{Name: "v", MountPath: "/v", SubPath: "sub"}}
		other := shell("other", forever)
		other.VolumeMounts = []pod.VolumeMount{{Name: "v", MountPath: "/v", SubPath: "up"}}
		p := m.pod("hostile-"+name, pod.Spec{
			InitContainers: []pod.Container{evil}, Containers: []pod.Container{victim, other}, Volumes: []pod.Volume{{Name: "v", EmptyDir: &pod.EmptyDir{Medium: medium}}},
		})
		for _, name := range []string{"victim", "other"} {
			if w := p.waits(name, pod.CreateContainerConfigError); !strings.Contains(w.Message, "failed to create subPath directory for volumeMount") {
				t.Error(w.Message)
			}
		}
	}
}

// TestPodSubPathInMemory mounts parts of volumes that are the sandbox's, while a container makes one of them a link to / and a folder again, in turns. Whoever
// starts meanwhile has the folder, or doesn't start.
func TestPodSubPathInMemory(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	always := "Always"
	evil := shell("evil", "cd /v; while :; do mkdir sub; usleep 30000; rmdir sub; ln -s / sub; rm sub; done")
	evil.VolumeMounts, evil.RestartPolicy = []pod.VolumeMount{{Name: "v", MountPath: "/v"}}, &always
	good := shell("good", "echo own >/mnt/file; "+forever)
	good.VolumeMounts = []pod.VolumeMount{{Name: "v", MountPath: "/mnt", SubPath: "a/b"}, {Name: "v", MountPath: "/whole", ReadOnly: true}}
	spec := pod.Spec{InitContainers: []pod.Container{evil}, Containers: []pod.Container{good}, Volumes: []pod.Volume{{Name: "v", EmptyDir: &pod.EmptyDir{Medium: "Memory"}}}}
	for i := range 8 {
		victim := shell(fmt.Sprint("victim", i), forever)
		victim.VolumeMounts = []pod.VolumeMount{{Name: "v", MountPath: "/v", SubPath: "sub"}}
		spec.Containers = append(spec.Containers, victim)
	}
	p := m.pod("race", spec)
	tried := p.await("all have been tried", func(s *pod.Status) bool {
		return len(s.ContainerStatuses) == 9 && !slices.ContainsFunc(s.ContainerStatuses, func(c pod.ContainerStatus) bool {
			return c.State.Waiting != nil && (c.State.Waiting.Reason == "ContainerCreating" || c.State.Waiting.Reason == "PodInitializing")
		})
	})
	started := 0
	for _, c := range tried.ContainerStatuses[1:] {
		if c.State.Running == nil {
			continue
		}
		started++
		if got := p.exec(c.Name, "ls -A /v"); strings.Contains(got, "etc") || strings.Contains(got, "uptime") {
			t.Errorf("%s has at its subPath: %s", c.Name, got)
		}
	}
	t.Logf("%d of 8 started", started)
	if got := p.exec("good", "cat /whole/a/b/file"); got != "own" {
		t.Errorf("the part of the volume has %q", got)
	}
}

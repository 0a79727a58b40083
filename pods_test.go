package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/kube/store"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
)

// podctl is package pod for a test, in a process with the environment of minipod's: create FILE, change NAME FILE, delete NAME [GRACE], revive.
func podctl() {
	dirs, err := state.Find(os.Getenv)
	if err == nil {
		err = podctlVerb(dirs, os.Args[1], os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func podctlVerb(dirs state.Dirs, verb string, args []string) error {
	var p pod.Pod
	var uid string
	switch verb {
	case "create", "change":
		data, err := os.ReadFile(args[len(args)-1])
		if err == nil {
			err = json.Unmarshal(data, &p)
		}
		if err != nil {
			return err
		}
	}
	if verb == "change" || verb == "delete" {
		s, err := pod.Find(dirs, "default", args[0])
		if err != nil {
			return err
		}
		uid = s.Metadata.UID
	}
	switch verb {
	case "create":
		s, err := pod.Create(dirs, &p, nil)
		if err == nil {
			err = pod.Start(dirs, s.Metadata.UID)
		}
		return err
	case "change":
		return pod.Change(dirs, uid, nil, func(old *pod.Pod) error { old.Spec = p.Spec; return nil })
	case "delete":
		var grace *int64
		if len(args) > 1 {
			n, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil {
				return err
			}
			grace = &n
		}
		return pod.Delete(dirs, uid, grace)
	case "revive":
		return pod.Revive(dirs)
	}
	return errors.New("unknown verb " + verb)
}

// A podTest is a pod of a test.
type podTest struct {
	*machine

	name string
}

func (m *machine) podctl(args ...string) {
	m.t.Helper()
	cmd := exec.Command("podctl", args...)
	cmd.Env = m.env
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("podctl %s: %v: %s", args, err, out)
	}
}

func (m *machine) podFile(name string, spec pod.Spec) string {
	m.t.Helper()
	for _, list := range [][]pod.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			if list[i].Image == "" {
				list[i].Image = alpine()
			}
		}
	}
	data, err := json.Marshal(pod.Pod{Metadata: pod.Metadata{Name: name, Namespace: "default", Labels: map[string]string{"app": name}}, Spec: spec})
	if err != nil {
		m.t.Fatal(err)
	}
	file := filepath.Join(m.t.TempDir(), name+".json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		m.t.Fatal(err)
	}
	return file
}

// pod makes a pod, which the test's end deletes.
func (m *machine) pod(name string, spec pod.Spec) *podTest {
	m.t.Helper()
	m.podctl("create", m.podFile(name, spec))
	p := &podTest{m, name}
	m.t.Cleanup(func() {
		if _, err := pod.Find(m.dirs(), "default", name); err == nil {
			m.podctl("delete", name, "0")
			p.gone()
		}
	})
	return p
}

func (p *podTest) stored() *pod.Stored {
	p.t.Helper()
	s, err := pod.Find(p.dirs(), "default", p.name)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *podTest) status() *pod.Status {
	p.t.Helper()
	s, err := pod.ReadStatus(p.dirs(), p.stored().Metadata.UID)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// await waits until the status is as enough wants it.
func (p *podTest) await(what string, enough func(*pod.Status) bool) *pod.Status {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 3*time.Minute)
	defer cancel()
	var last *pod.Status
	err := pod.Wait(ctx, p.dirs(), p.stored().Metadata.UID, func(_ *pod.Stored, s *pod.Status) (bool, error) {
		last = s
		return enough(s), nil
	})
	if err != nil {
		text, _ := json.Marshal(last)
		p.t.Fatalf("pod %s: %s: %v\n%s\n%s", p.name, what, err, text, strings.Join(p.events(), "\n"))
	}
	return last
}

func (p *podTest) phase(phase string) *pod.Status {
	p.t.Helper()
	return p.await(phase, func(s *pod.Status) bool { return s.Phase == phase })
}

func (p *podTest) ready() *pod.Status {
	p.t.Helper()
	return p.await("ready", func(s *pod.Status) bool {
		for _, c := range s.Conditions {
			if c.Type == pod.Ready {
				return c.Status == pod.ConditionTrue
			}
		}
		return false
	})
}

func (p *podTest) gone() {
	p.t.Helper()
	s, err := pod.Find(p.dirs(), "default", p.name)
	if errors.Is(err, pod.ErrNotFound) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	err = pod.Wait(ctx, p.dirs(), s.Metadata.UID, func(*pod.Stored, *pod.Status) (bool, error) { return false, nil })
	if !errors.Is(err, pod.ErrNotFound) {
		p.t.Errorf("pod %s is not gone: %v\n%s", p.name, err, strings.Join(p.events(), "\n"))
	}
}

func (p *podTest) events() (list []string) {
	p.t.Helper()
	all, err := event.List(p.dirs())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range all {
		if e.Object.Name == p.name {
			list = append(list, fmt.Sprintf("%s %s %s x%d: %s", e.Type, e.Reason, e.Object.FieldPath, e.Count, e.Message))
		}
	}
	return list
}

func (p *podTest) id(container string) string {
	p.t.Helper()
	s := p.status()
	for _, list := range [][]pod.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for _, c := range list {
			if c.Name == container {
				return strings.TrimPrefix(c.ContainerID, "minipod://")
			}
		}
	}
	p.t.Fatalf("no container %s", container)
	return ""
}

// exec runs a shell's line in a container of the pod's.
func (p *podTest) exec(container, script string) string {
	p.t.Helper()
	return strings.TrimSpace(p.must("exec", p.id(container), "sh", "-c", script))
}

func shell(name, script string) pod.Container {
	return pod.Container{Name: name, Command: []string{"sh", "-c", script}}
}

// network takes the processes of the pods' network into c: they come with the first pod, and leave when they have not been needed for a while.
func (c census) network(after census) {
	for name := range after {
		if strings.Contains(name, `"minipod node `) || strings.Contains(name, `"minipod anchor `) {
			c[name] = true
		}
	}
}

const forever = "trap 'exit 0' TERM; while :; do sleep 0.1; done"

// TestPodSharesNamespaces runs a pod of two containers, and looks at whose namespaces they have.
func TestPodSharesNamespaces(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("run", "--rm", alpine(), "true")
	before := takeCensus(t, filepath.Join(m.dirs().Data, "containers"))
	p := m.pod("pair", pod.Spec{Containers: []pod.Container{shell("a", forever), shell("b", forever)}})
	s := p.ready()
	if s.Phase != pod.Running || s.QOSClass != "BestEffort" {
		t.Errorf("%+v", s)
	}
	for _, ns := range []string{"net", "ipc", "uts"} {
		if a, b := p.exec("a", "readlink /proc/self/ns/"+ns), p.exec("b", "readlink /proc/self/ns/"+ns); a != b {
			t.Errorf("%s: %s and %s", ns, a, b)
		}
	}
	for _, ns := range []string{"mnt", "pid"} {
		if a, b := p.exec("a", "readlink /proc/self/ns/"+ns), p.exec("b", "readlink /proc/self/ns/"+ns); a == b {
			t.Errorf("%s is shared: %s", ns, a)
		}
	}
	if name := p.exec("a", "hostname"); name != "pair" {
		t.Errorf("the host's name is %q", name)
	}
	p.exec("a", "echo hello >/dev/shm/x")
	if text := p.exec("b", "cat /dev/shm/x"); text != "hello" {
		t.Errorf("shared memory has %q", text)
	}
	m.podctl("delete", "pair")
	p.gone()
	for range 100 {
		if before.network(takeCensus(t)); len(before.more(takeCensus(t, filepath.Join(m.dirs().Data, "containers")))) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	before.settles(t, filepath.Join(m.dirs().Data, "containers"))
}

// kill ends the process of a container from outside.
func (p *podTest) kill(pid int) {
	p.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
}

// TestPodVolumes shares folders on disk and in memory, and files from objects.
func TestPodVolumes(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	put := func(kind, name, data string) {
		t.Helper()
		if err := store.Put(m.dirs(), kind, "default", name, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	put(store.KindConfigMap, "conf", `{"data":{"a.conf":"listen 80","b":"two"}}`)
	put(store.KindSecret, "pw", `{"data":{"password":"aHVzaA=="}}`)
	put(store.KindClaim, "claim", `{"spec":{}}`)
	group, mode := int64(2000), int32(0o400)
	hostDir := t.TempDir()
	writer := shell("writer", "echo one >/disk/x; echo two >/mem/x; echo three >/data/sub/x; echo $CONF-$PW-$NAME >/disk/env; id -G >/disk/groups; "+forever)
	writer.Env = []pod.EnvVar{
		{Name: "CONF", ValueFrom: &pod.EnvSource{ConfigMapKeyRef: &pod.KeyRef{Name: "conf", Key: "b"}}},
		{Name: "PW", ValueFrom: &pod.EnvSource{SecretKeyRef: &pod.KeyRef{Name: "pw", Key: "password"}}},
		{Name: "NAME", ValueFrom: &pod.EnvSource{FieldRef: &pod.FieldRef{FieldPath: "metadata.name"}}},
	}
	writer.VolumeMounts = []pod.VolumeMount{
		{Name: "disk", MountPath: "/disk"},
		{Name: "mem", MountPath: "/mem"},
		{Name: "claim", MountPath: "/data"},
		{Name: "claim", MountPath: "/only", SubPath: "sub"},
		{Name: "host", MountPath: "/host", ReadOnly: true},
	}
	reader := shell("reader", forever)
	reader.VolumeMounts = []pod.VolumeMount{
		{Name: "disk", MountPath: "/d"},
		{Name: "mem", MountPath: "/m"},
		{Name: "conf", MountPath: "/etc/conf"},
		{Name: "conf", MountPath: "/etc/one.conf", SubPath: "a.conf"},
		{Name: "pw", MountPath: "/secret"},
		{Name: "claim", MountPath: "/only", SubPath: "sub"},
		{Name: "info", MountPath: "/info"},
	}
	user := int64(1234)
	p := m.pod("vols", pod.Spec{
		SecurityContext: &pod.PodSecurityContext{FSGroup: &group, RunAsUser: &user},
		Containers:      []pod.Container{writer, reader},
		Volumes: []pod.Volume{
			{Name: "disk", EmptyDir: &pod.EmptyDir{}},
			{Name: "mem", EmptyDir: &pod.EmptyDir{Medium: "Memory"}},
			{Name: "conf", ConfigMap: &pod.Files{Name: "conf"}},
			{Name: "pw", Secret: &pod.Secret{SecretName: "pw", DefaultMode: &mode}},
			{Name: "claim", PersistentVolumeClaim: &pod.Claim{ClaimName: "claim"}},
			{Name: "host", HostPath: &pod.HostPath{Path: hostDir}},
			{Name: "info", DownwardAPI: &pod.Downward{Items: []pod.DownwardFile{{Path: "labels", FieldRef: &pod.FieldRef{FieldPath: "metadata.labels"}}}}},
		},
	})
	p.ready()
	for script, want := range map[string]string{
		"cat /d/x":                           "one",
		"cat /m/x":                           "two",
		"cat /d/env":                         "two-hush-vols",
		"cat /etc/conf/a.conf /etc/one.conf": "listen 80listen 80",
		"readlink /etc/conf/b":               "..data/b",
		"cat /secret/password":               "hush",
		"stat -L -c %a:%g /secret/password":  "440:2000",
		"stat -f -c %T /secret":              "tmpfs",
		"cat /only/x":                        "three",
		"cat /info/labels":                   `app="vols"`,
		"stat -c %g /d/x":                    "2000",
		"touch /etc/conf/new 2>&1 | grep -c Read-only": "1",
		"cat /d/groups": "0 2000",
	} {
		if got := p.exec("reader", "for i in 1 2 3 4 5 6 7 8 9; do test -e /d/groups && break; sleep 0.1; done; "+script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
	if got := p.exec("writer", "touch /host/x 2>&1 | grep -c Read-only"); got != "1" {
		t.Errorf("the host's folder can be written to: %s", got)
	}
	put(store.KindConfigMap, "conf", `{"data":{"a.conf":"listen 81"}}`)
	if err := pod.Poke(m.dirs(), p.stored().Metadata.UID); err != nil {
		t.Fatal(err)
	}
	if got := p.exec("reader", "for i in 1 2 3 4 5 6 7 8 9; do test -e /etc/conf/b || break; sleep 0.1; done; cat /etc/conf/a.conf; ls /etc/conf"); got != "listen 81a.conf" {
		t.Errorf("after a change: %q", got)
	}
	m.podctl("delete", "vols", "0")
	p.gone()
	if out := m.must("volume", "ls", "-q"); !strings.Contains(out, "default_claim") {
		t.Errorf("the claim's volume is gone: %s", out)
	}
}

// TestPodLives starts init containers in order, restarts what dies, and replaces the sandbox.
func TestPodLives(t *testing.T) {
	m := newMachine(t)
	m.must("pull", alpine())
	always := "Always"
	sidecar := shell("side", "echo side >>/d/log; "+forever)
	sidecar.RestartPolicy = &always
	first, second, main := shell("first", "echo first >>/d/log"), shell("second", "echo second >>/d/log"), shell("main", "echo main >>/d/log; "+forever)
	mounts := []pod.VolumeMount{{Name: "d", MountPath: "/d"}}
	for _, c := range []*pod.Container{&sidecar, &first, &second, &main} {
		c.VolumeMounts = mounts
	}
	p := m.pod("lives", pod.Spec{
		InitContainers: []pod.Container{first, sidecar, second}, Containers: []pod.Container{main},
		Volumes: []pod.Volume{{Name: "d", EmptyDir: &pod.EmptyDir{}}},
	})
	s := p.ready()
	if log := p.exec("main", "sleep 0.3; cat /d/log"); log != "first\nside\nsecond\nmain" && log != "first\nsecond\nside\nmain" {
		t.Errorf("the order is %q", log)
	}
	ip, net := s.PodIP, p.exec("main", "readlink /proc/self/ns/net")

	record, err := runtime.Find(m.dirs(), p.id("main"))
	if err != nil {
		t.Fatal(err)
	}
	p.kill(record.PID)
	p.await("restarted", func(s *pod.Status) bool {
		c := s.ContainerStatuses[0]
		return c.RestartCount == 1 && c.Ready && c.LastState.Terminated != nil && c.LastState.Terminated.ExitCode == 137
	})
	if now := p.exec("main", "readlink /proc/self/ns/net"); now != net || p.status().PodIP != ip {
		t.Errorf("its network was %s and is %s", net, now)
	}

	boxes, err := runtime.Named(m.dirs(), func(name string) bool { return strings.HasPrefix(name, "k8s_POD_lives") })
	if err != nil || len(boxes) != 1 {
		t.Fatalf("%v, %v", boxes, err)
	}
	p.kill(boxes[0].PID)
	p.await("a new sandbox", func(s *pod.Status) bool { c := s.ContainerStatuses[0]; return c.RestartCount == 2 && c.Ready })
	if now := p.status().PodIP; now == ip || now == "" { // the namespace's number may be the old one's again: the kernel gives out the lowest that is free
		t.Errorf("its address was %s and is %q", ip, now)
	}
	if events := strings.Join(p.events(), "\n"); !strings.Contains(events, "SandboxChanged") {
		t.Errorf("%s", events)
	}
	m.podctl("delete", "lives")
	p.gone()
	if err := nothingLeft(m.home); err != nil {
		t.Error(err)
	}
}

// TestPodSupervisorKilled kills a pod's supervisor: the kernel kills the pod, the status says so, and the next command starts it again.
func TestPodSupervisorKilled(t *testing.T) {
	adoptOrphans(t)
	m := newMachine(t)
	m.must("run", "--rm", alpine(), "true")
	p := m.pod("orphan", pod.Spec{Containers: []pod.Container{shell("a", forever)}})
	p.ready()
	var keeper struct{ PID int }
	if err := state.ReadJSON(filepath.Join(p.stored().Dir(), "supervisor.json"), &keeper); err != nil {
		t.Fatal(err)
	}
	record, err := runtime.Find(m.dirs(), p.id("a"))
	if err != nil {
		t.Fatal(err)
	}
	p.kill(keeper.PID)
	deadline := time.Now().Add(time.Minute)
	for linux.Alive(record.PID, record.Birth) && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if linux.Alive(record.PID, record.Birth) {
		t.Error("its container lives on")
	}
	s := p.await("nobody looks after it", func(s *pod.Status) bool { return s.Phase == pod.Unknown }) // its lock may last a moment longer
	if s.ContainerStatuses[0].State.Terminated == nil || s.ContainerStatuses[0].State.Terminated.Reason != pod.ContainerStatusUnknown {
		t.Errorf("%+v", s)
	}
	m.podctl("revive")
	p.await("revived", func(s *pod.Status) bool { c := s.ContainerStatuses[0]; return c.RestartCount == 1 && c.Ready })
	p.kill(func() int {
		_ = state.ReadJSON(filepath.Join(p.stored().Dir(), "supervisor.json"), &keeper)
		return keeper.PID
	}())
	m.podctl("delete", "orphan") // with nobody there
	p.gone()
	if err := nothingLeft(m.home); err != nil {
		t.Error(err)
	}
}

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

	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/pod"
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
	ctx, cancel := context.WithTimeout(p.t.Context(), 40*time.Second)
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
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
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
	before.settles(t, filepath.Join(m.dirs().Data, "containers"))
}

// kill ends the process of a container from outside.
func (p *podTest) kill(pid int) {
	p.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
}

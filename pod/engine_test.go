package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/state"
)

// A fake is a Runtime without processes.
type fake struct {
	mu        sync.Mutex
	did       []string
	sandboxes int
	box       *fakeBox
	running   map[string]*fakeProcess
	refuse    map[string]error
	hang      map[string]bool // starts that last until they are cancelled
	stubborn  map[string]bool // ends by SIGKILL alone
	exec      func(ctx context.Context, container string, command []string) (int, string, error)
	cleaned   int
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, fmt.Sprintf(format, args...))
}

func (f *fake) Settle() (int, error) { return f.sandboxes, nil }

type fakeBox struct {
	ip    string
	ended chan struct{}
	once  sync.Once
}

func (b *fakeBox) IP() string             { return b.ip }
func (b *fakeBox) Ended() <-chan struct{} { return b.ended }
func (b *fakeBox) Stop() error {
	b.once.Do(func() { close(b.ended) })
	return nil
}

func (f *fake) StartSandbox(_ context.Context, _ *Pod, attempt int) (Sandbox, error) {
	f.note("sandbox %d", attempt)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.box = &fakeBox{ip: fmt.Sprintf("10.0.0.%d", attempt+1), ended: make(chan struct{})}
	return f.box, nil
}

type fakeProcess struct {
	f     *fake
	name  string
	ended chan struct{}
	once  sync.Once
	code  int32
}

func (p *fakeProcess) ID() string                 { return "id-" + p.name }
func (p *fakeProcess) ImageID() string            { return "image" }
func (p *fakeProcess) Ended() <-chan struct{}     { return p.ended }
func (p *fakeProcess) Result() Terminated         { return Terminated{ExitCode: p.code, Reason: Error} }
func (p *fakeProcess) StopSignal() syscall.Signal { return syscall.SIGTERM }
func (p *fakeProcess) exit(code int32) {
	p.once.Do(func() { p.code = code; close(p.ended) })
}

func (p *fakeProcess) Signal(sig syscall.Signal) error {
	p.f.note("%s %d", p.name, sig)
	if sig == syscall.SIGKILL || !p.f.stubborn[p.name] {
		p.exit(128 + int32(sig))
	}
	return nil
}

func (p *fakeProcess) Exec(ctx context.Context, command []string) (int, string, error) {
	return p.f.exec(ctx, p.name, command)
}

func (f *fake) StartContainer(ctx context.Context, r StartRequest) (Process, error) {
	f.note("start %s %d", r.Container.Name, r.Attempt)
	if f.hang[r.Container.Name] {
		<-ctx.Done()
		return nil, &StartFailure{Reason: ErrImagePull, Message: "interrupted"}
	}
	if err := f.refuse[r.Container.Name]; err != nil {
		return nil, err
	}
	p := &fakeProcess{f: f, name: r.Container.Name, ended: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running[r.Container.Name] = p
	return p, nil
}

func (f *fake) Probe(context.Context, *Container, *Handler) (bool, string, error) {
	return false, "", errors.New("no network")
}

func (f *fake) Usage(string) int64 { return 0 }

func (f *fake) Refresh(*Pod) error { f.note("refresh"); return nil }

func (f *fake) Clean() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cleaned++
	return nil
}

func (f *fake) process(name string) *fakeProcess {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running[name]
}

// An engineTest is an engine that runs in this process.
type engineTest struct {
	t     *testing.T
	dirs  state.Dirs
	p     *Stored
	f     *fake
	mu    sync.Mutex
	told  []string
	ended chan error
}

func begin(t *testing.T, f *fake, spec Spec) *engineTest {
	t.Helper()
	dirs := testDirs(t)
	p, err := Create(dirs, &Pod{Metadata: Metadata{Name: "p", Namespace: "default"}, Spec: spec}, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	e := &engineTest{t: t, dirs: dirs, p: p, f: f}
	f.running = map[string]*fakeProcess{}
	e.run()
	return e
}

// run runs an engine as a supervisor would: born with the lock and a socket.
func (e *engineTest) run() {
	e.t.Helper()
	lock, err := state.TryLockThere(e.p.Dir() + "/" + lockFile)
	if err != nil {
		e.t.Fatal(err)
	}
	ours, theirs, err := linux.SocketPair()
	if err != nil {
		e.t.Fatal(err)
	}
	control, err := linux.AsSocket(theirs)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = ours.Close() })
	b := &Birth{Dirs: e.dirs, UID: e.p.Metadata.UID, control: control, lock: lock}
	recorder := &event.Recorder{Object: event.Object{Name: "p"}, Now: time.Now, Write: func(v event.Event) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.told = append(e.told, v.Reason+": "+v.Message)
		return nil
	}}
	e.ended = make(chan error, 1)
	go func() { e.ended <- b.Run(e.f, recorder, "192.0.2.1") }()
}

func (e *engineTest) await(what string, enough func(*Status) bool) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	var last Status
	err := Wait(ctx, e.dirs, e.p.Metadata.UID, func(_ *Stored, s *Status) (bool, error) { last = *s; return enough(s), nil })
	if err != nil {
		e.t.Fatalf("%s: %v: %+v; %q", what, err, last, e.f.did)
	}
}

func (e *engineTest) ready(n int32) {
	e.t.Helper()
	e.await("ready", func(s *Status) bool {
		return len(s.ContainerStatuses) > 0 && s.ContainerStatuses[0].Ready && s.ContainerStatuses[0].RestartCount == n
	})
}

func (e *engineTest) delete(grace int64) {
	e.t.Helper()
	if err := Delete(e.dirs, e.p.Metadata.UID, &grace); err != nil {
		e.t.Fatal(err)
	}
	select {
	case err := <-e.ended:
		if err != nil {
			e.t.Error(err)
		}
	case <-time.After(time.Minute):
		e.t.Fatalf("it never ends: %q", e.f.did)
	}
	if _, err := os.Stat(e.p.Dir()); err == nil {
		e.t.Error("its folder is there")
	}
	if _, err := Find(e.dirs, "default", "p"); !errors.Is(err, ErrNotFound) {
		e.t.Errorf("it is found: %v", err)
	}
}

func (e *engineTest) did(what string) bool {
	e.f.mu.Lock()
	defer e.f.mu.Unlock()
	return slices.Contains(e.f.did, what)
}

func TestEngine(t *testing.T) {
	grace := int64(1)
	e := begin(t, &fake{stubborn: map[string]bool{"b": true}}, Spec{Containers: named("a", "b"), RestartPolicy: "Always", TerminationGracePeriodSeconds: &grace})
	e.ready(0)
	e.f.process("a").exit(3)
	e.ready(1)
	_ = e.f.box.Stop() // somebody killed it
	e.await("a new address", func(s *Status) bool { return s.PodIP == "10.0.0.2" && s.ContainerStatuses[1].Ready })
	e.delete(1)
	if !e.did("b 15") || !e.did("b 9") || e.f.cleaned == 0 {
		t.Errorf("%q", e.f.did)
	}
}

// What is being started when the pod is deleted does not keep it.
func TestDeleteWhilePulling(t *testing.T) {
	e := begin(t, &fake{hang: map[string]bool{"a": true}}, Spec{Containers: named("a"), RestartPolicy: "Always"})
	for !e.did("start a 0") {
		time.Sleep(time.Millisecond)
	}
	e.delete(30)
}

// Who lost patience gets what they want.
func TestDeleteFaster(t *testing.T) {
	e := begin(t, &fake{stubborn: map[string]bool{"a": true}}, Spec{Containers: named("a"), RestartPolicy: "Always"})
	e.ready(0)
	long := int64(1000)
	if err := Delete(e.dirs, e.p.Metadata.UID, &long); err != nil {
		t.Fatal(err)
	}
	for !e.did("a 15") {
		time.Sleep(time.Millisecond)
	}
	e.delete(0)
}

// A pod that came to its end stays, without anybody who looks after it, until it is deleted.
func TestFinishAndDelete(t *testing.T) {
	e := begin(t, &fake{}, Spec{Containers: named("a"), RestartPolicy: "Never"})
	e.ready(0)
	e.f.process("a").exit(0)
	if err := <-e.ended; err != nil {
		t.Fatal(err)
	}
	if s, err := ReadStatus(e.dirs, e.p.Metadata.UID); err != nil || s.Phase != Succeeded {
		t.Errorf("%+v, %v", s, err)
	}
	now := time.Now()
	err := change(e.dirs, e.p.Metadata.UID, nil, func(p *Pod) error { p.Metadata.Deleted = &now; return nil })
	if err != nil {
		t.Fatal(err)
	}
	e.run()
	if err := <-e.ended; err != nil {
		t.Error(err)
	}
	if _, err := Get(e.dirs, e.p.Metadata.UID); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is there: %v", err)
	}
}

func TestHooksAndProbes(t *testing.T) {
	var mu sync.Mutex
	sick := false
	f := &fake{exec: func(ctx context.Context, _ string, command []string) (int, string, error) {
		mu.Lock()
		defer mu.Unlock()
		switch command[0] {
		case "post", "pre":
			return 0, "", nil
		case "live":
			if sick {
				sick = false
				return 1, "sick", nil
			}
		}
		return 0, "", nil
	}}
	do := func(word string) *Handler { return &Handler{Exec: &ExecAction{Command: []string{word}}} }
	e := begin(t, f, Spec{RestartPolicy: "Always", Containers: []Container{{
		Name: "a", Lifecycle: &Lifecycle{PostStart: do("post"), PreStop: do("pre")},
		LivenessProbe:  &Probe{Handler: *do("live"), PeriodSeconds: 1, FailureThreshold: 1},
		ReadinessProbe: &Probe{Handler: *do("ready"), PeriodSeconds: 1},
		StartupProbe:   &Probe{Handler: *do("up"), PeriodSeconds: 1},
	}}})
	e.ready(0)
	mu.Lock()
	sick = true
	mu.Unlock()
	e.ready(1)
	e.mu.Lock()
	told := strings.Join(e.told, "\n")
	e.mu.Unlock()
	for _, want := range []string{"Unhealthy: Liveness probe failed: sick", "Killing: Container a failed liveness probe, will be restarted"} {
		if !strings.Contains(told, want) {
			t.Errorf("nobody told %q:\n%s", want, told)
		}
	}
	e.delete(5)
}

func TestStartFailures(t *testing.T) {
	f := &fake{refuse: map[string]error{
		"a": &StartFailure{Reason: ErrImagePull, Message: "gone"}, "b": &StartFailure{Reason: RunContainerError, Message: "no such file"}, "c": errors.New("odd"),
	}}
	e := begin(t, f, Spec{Containers: named("a", "b", "c"), RestartPolicy: "Never"})
	e.await("reasons", func(s *Status) bool {
		if len(s.ContainerStatuses) == 0 {
			return false
		}
		a, b, c := s.ContainerStatuses[0].State, s.ContainerStatuses[1].State, s.ContainerStatuses[2].State
		return a.Waiting != nil && a.Waiting.Reason == ImagePullBackOff && b.Terminated != nil && b.Terminated.Reason == "StartError" &&
			c.Waiting != nil && c.Waiting.Reason == CreateContainerError
	})
	e.delete(5)
}

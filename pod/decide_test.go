package pod

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var dawn = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A sim is a world in which everything that is decided is done at once, and containers end when the test says so.
type sim struct {
	t      *testing.T
	p      *Pod
	w      *World
	d      Decision
	did    []string // since it was last looked at
	events []string
	slow   map[string]bool // containers that take until they are ended
}

func simulate(t *testing.T, spec Spec) *sim {
	t.Helper()
	p := &Pod{Metadata: Metadata{Name: "p", Namespace: "default", UID: "u"}, Spec: spec}
	for c := range p.all() {
		if c.Image == "" {
			c.Image = "img"
		}
	}
	return &sim{t: t, p: p, w: &World{Now: dawn, Lives: map[string]*Life{}}, slow: map[string]bool{}}
}

// settle decides until there is nothing to do.
func (s *sim) settle() {
	s.t.Helper()
	for range 50 {
		s.d = Decide(s.p, s.w)
		s.w.Status = s.d.Status
		for _, n := range s.d.Notices {
			s.notice(n)
		}
		if len(s.d.Actions) == 0 {
			return
		}
		for _, a := range s.d.Actions {
			s.did = append(s.did, a.String())
			s.do(a)
		}
	}
	s.t.Fatalf("it never settles: %v", s.d.Actions)
}

func (s *sim) notice(n Notice) {
	if n.Once != "" {
		told := &s.w.Sandbox.Told
		if n.Container != "" {
			l := s.w.Lives[n.Container]
			if l.Told[n.Reason] == n.Once {
				return
			}
			l.Told = map[string]string{n.Reason: n.Once}
		} else if *told {
			return
		} else {
			*told = true
		}
	}
	s.events = append(s.events, n.Reason)
}

func (s *sim) do(a Action) {
	l := s.w.Lives[a.Container]
	switch a.Verb {
	case StartSandbox:
		s.w.Sandbox = SandboxLife{Stage: Live, Attempt: a.Attempt, IP: fmt.Sprintf("10.88.0.%d", a.Attempt+2)}
	case StopSandbox:
		s.w.Sandbox.Stage = Ended
		s.w.Sandbox.Told = true
	case StartContainer:
		c := s.p.find(a.Container)
		if l == nil {
			l = &Life{}
			s.w.Lives[a.Container] = l
		}
		*l = Life{
			Stage: Live, Attempt: a.Attempt, Epoch: s.w.Sandbox.Attempt, Image: c.Image, ID: a.Container, Started: s.w.Now,
			Last: l.Ended, Crash: a.Crash, Pull: l.Pull, Ready: c.ReadinessProbe == nil, StartedUp: c.StartupProbe == nil,
		}
		if c.Image == "missing" {
			*l = Life{Stage: None, Image: c.Image, Pull: l.Pull.next(s.w.Now, s.w.Now), Failure: &StartFailure{Reason: ErrImagePull, Message: "gone", At: s.w.Now}}
			l.Failure.Retry = s.w.Now.Add(l.Pull.Pause)
		}
	case KillContainer:
		l.StopBy, l.Again, l.Stage = s.w.Now.Add(a.Grace), a.Again, Stopping
		if !s.slow[a.Container] {
			s.exit(a.Container, 137)
		}
	}
}

// exit ends a container by itself.
func (s *sim) exit(name string, code int32) {
	l := s.w.Lives[name]
	l.Stage, l.Ready = Ended, false
	l.Ended = &Terminated{ExitCode: code, FinishedAt: s.w.Now, StartedAt: l.Started}
}

func (s *sim) pass(d time.Duration) { s.w.Now = s.w.Now.Add(d) }

// want compares what was done with a list like "start sandbox #0; start a#0".
func (s *sim) want(did, phase string) {
	s.t.Helper()
	s.settle()
	if got := strings.Join(s.did, "; "); got != did {
		s.t.Errorf("did  %q\nwant %q", got, did)
	}
	if got := s.d.Status.Phase; got != phase {
		s.t.Errorf("phase %s, want %s", got, phase)
	}
	s.did = nil
}

func (s *sim) state(name string) string {
	for _, c := range slices.Concat(s.d.Status.InitContainerStatuses, s.d.Status.ContainerStatuses) {
		if c.Name != name {
			continue
		}
		switch {
		case c.State.Running != nil && c.Ready:
			return "ready"
		case c.State.Running != nil:
			return "running"
		case c.State.Waiting != nil:
			return c.State.Waiting.Reason
		case c.State.Terminated != nil:
			return fmt.Sprintf("ended %d", c.State.Terminated.ExitCode)
		}
	}
	return "none"
}

func (s *sim) wantState(name, want string) {
	s.t.Helper()
	if got := s.state(name); got != want {
		s.t.Errorf("%s is %s, want %s", name, got, want)
	}
}

func (s *sim) condition(kind string) string {
	for _, c := range s.d.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return "none"
}

func named(names ...string) (list []Container) {
	for _, n := range names {
		list = append(list, Container{Name: n})
	}
	return list
}

func sidecar(name string) Container {
	always := "Always"
	return Container{Name: name, RestartPolicy: &always}
}

func TestTwoContainers(t *testing.T) {
	s := simulate(t, Spec{Containers: named("a", "b"), RestartPolicy: "Always"})
	first := Decide(s.p, s.w)
	if first.Status.Phase != Pending || first.Status.ContainerStatuses[0].State.Waiting.Reason != ContainerCreating {
		t.Errorf("at first %+v", first.Status)
	}
	s.want("start sandbox #0; start a#0; start b#0", Running)
	s.wantState("a", "ready")
	if s.condition(Ready) != ConditionTrue || s.condition(Initialized) != ConditionTrue || s.d.Status.PodIP != "10.88.0.2" {
		t.Errorf("%+v", s.d.Status)
	}
	s.exit("a", 1)
	s.want("start a#1", Running) // the first time at once
	if c := s.d.Status.ContainerStatuses[0]; c.RestartCount != 1 || c.LastState.Terminated.ExitCode != 1 {
		t.Errorf("%+v", c)
	}
}

func TestCrashLoop(t *testing.T) {
	s := simulate(t, Spec{Containers: named("a"), RestartPolicy: "Always"})
	s.want("start sandbox #0; start a#0", Running)
	s.exit("a", 1)
	s.want("start a#1", Running)
	for i, pause := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		pause *= time.Second
		s.pass(time.Second)
		s.exit("a", 1)
		s.want("", Running)
		s.wantState("a", CrashLoopBackOff)
		message := s.d.Status.ContainerStatuses[0].State.Waiting.Message
		if want := fmt.Sprintf("back-off %s restarting failed container=a pod=p_default(u)", pause); message != want {
			t.Errorf("%q, want %q", message, want)
		}
		if !s.d.Wake.Equal(s.w.Now.Add(pause)) {
			t.Errorf("it wakes after %s, want %s", s.d.Wake.Sub(s.w.Now), pause)
		}
		s.pass(pause - time.Millisecond)
		s.want("", Running)
		s.pass(time.Millisecond)
		s.want(fmt.Sprintf("start a#%d", i+2), Running)
	}
	if n := strings.Count(strings.Join(s.events, " "), "BackOff"); n != 7 {
		t.Errorf("%d BackOff events in %v", n, s.events)
	}
	s.pass(11 * time.Minute) // well for so long that it begins anew
	s.exit("a", 1)
	s.want("start a#9", Running)
	s.exit("a", 0)
	s.want("", Running)
	if !s.d.Wake.Equal(s.w.Now.Add(firstPause)) {
		t.Errorf("after a reset it wakes after %s", s.d.Wake.Sub(s.w.Now))
	}
}

func TestRestartPolicies(t *testing.T) {
	for _, tt := range []struct {
		policy, phase, did string
		code               int32
	}{
		{"Always", Running, "start a#1", 0},
		{"Always", Running, "start a#1", 1},
		{"OnFailure", Succeeded, "stop sandbox", 0},
		{"OnFailure", Running, "start a#1", 3},
		{"Never", Succeeded, "stop sandbox", 0},
		{"Never", Failed, "stop sandbox", 3},
	} {
		s := simulate(t, Spec{Containers: named("a"), RestartPolicy: tt.policy})
		s.want("start sandbox #0; start a#0", Running)
		s.exit("a", tt.code)
		s.want(tt.did, tt.phase)
		if over := tt.did == "stop sandbox"; s.d.Over != over {
			t.Errorf("%s after %d: over is %v", tt.policy, tt.code, s.d.Over)
		}
	}
	s := simulate(t, Spec{Containers: named("a", "b"), RestartPolicy: "Never"})
	s.want("start sandbox #0; start a#0; start b#0", Running)
	s.exit("a", 0)
	s.want("", Running)
	s.wantState("a", "ended 0")
	s.exit("b", 9)
	s.want("stop sandbox", Failed)
}

// TestContainerRestartPolicies has containers that differ from their pod, in an init container's place, too.
func TestContainerRestartPolicies(t *testing.T) {
	const initial, again, stop = "start i#0; start i#1", "start a#1", "stop sandbox"
	in := func(operator string, values ...int32) []RestartRule {
		return []RestartRule{{"Restart", &ExitCodes{operator, values}}}
	}
	for _, tt := range []struct {
		pod, own   string
		rules      []RestartRule
		code       int32
		did, phase string
	}{
		{"Always", "Never", nil, 0, stop, Succeeded},
		{"Always", "Never", nil, 3, stop, Failed},
		{"Never", "Always", nil, 0, again, Running},
		{"Never", "OnFailure", nil, 0, stop, Succeeded},
		{"Never", "OnFailure", nil, 3, again, Running},
		{"OnFailure", "Never", in("In", 42, 43), 43, again, Running},
		{"OnFailure", "Never", in("In", 42, 43), 44, stop, Failed},
		{"OnFailure", "Never", in("In", 0), 0, again, Running},
		{"Always", "Never", in("NotIn", 42), 43, again, Running},
		{"Always", "Never", in("NotIn", 42), 42, stop, Failed},
		{"Always", "OnFailure", in("In", 42), 7, again, Running}, // no rule of its own, so its policy
		{"Always", "Never", append(in("In", 1), in("In", 2)...), 2, again, Running},
	} {
		c := named("a")
		c[0].RestartPolicy, c[0].RestartPolicyRules = &tt.own, tt.rules
		s := simulate(t, Spec{Containers: c, RestartPolicy: tt.pod})
		s.want("start sandbox #0; start a#0", Running)
		s.exit("a", tt.code)
		s.want(tt.did, tt.phase)
		if over := tt.did == stop; s.d.Over != over {
			t.Errorf("%s, %s after %d: over is %v", tt.pod, tt.own, tt.code, s.d.Over)
		}

		if tt.own == "Always" || tt.code == 0 {
			continue
		}
		i := named("i")
		i[0].RestartPolicy, i[0].RestartPolicyRules = &tt.own, tt.rules
		s = simulate(t, Spec{InitContainers: i, Containers: named("a"), RestartPolicy: tt.pod})
		s.want("start sandbox #0; start i#0", Pending)
		s.exit("i", tt.code)
		if tt.did == stop {
			s.want(stop, Failed)
			continue
		}
		s.want("start i#1", Pending)
		s.exit("i", 0)
		s.want("start a#0", Running)
	}

	never, always := "Never", "Always"
	c := named("a", "b")
	c[0].RestartPolicy, c[1].RestartPolicy = &never, &always
	c[0].LivenessProbe = &Probe{}
	s := simulate(t, Spec{Containers: c, RestartPolicy: "OnFailure"})
	s.want("start sandbox #0; start a#0; start b#0", Running)
	s.exit("a", 1)
	s.exit("b", 0)
	s.want("start b#1", Running)
	s.wantState("a", "ended 1")
	now := s.w.Now
	s.p.Metadata.Deleted = &now // what always restarts is ended as all others are
	s.want("kill b in 2s; stop sandbox", Running)
}

func TestInitContainers(t *testing.T) {
	s := simulate(t, Spec{InitContainers: named("i", "j"), Containers: named("a"), RestartPolicy: "Always"})
	s.want("start sandbox #0; start i#0", Pending)
	s.wantState("a", PodInitializing)
	s.exit("i", 0)
	s.want("start j#0", Pending)
	s.exit("j", 1)
	s.want("start j#1", Pending)
	s.exit("j", 1)
	s.want("", Pending)
	s.wantState("j", CrashLoopBackOff)
	if s.condition(Initialized) != ConditionFalse {
		t.Error("it is initialized")
	}
	s.pass(firstPause)
	s.want("start j#2", Pending)
	s.exit("j", 0)
	s.want("start a#0", Running)
	s.wantState("j", "ended 0")

	s = simulate(t, Spec{InitContainers: named("i"), Containers: named("a"), RestartPolicy: "Never"})
	s.want("start sandbox #0; start i#0", Pending)
	s.exit("i", 1)
	s.want("stop sandbox", Failed)
	s.wantState("a", PodInitializing)
}

func TestSidecars(t *testing.T) {
	probed := sidecar("s")
	probed.StartupProbe = &Probe{}
	s := simulate(t, Spec{InitContainers: []Container{probed, sidecar("t")}, Containers: named("a"), RestartPolicy: "Never"})
	s.want("start sandbox #0; start s#0", Pending)
	s.w.Lives["s"].StartedUp = true
	s.want("start t#0; start a#0", Running)
	s.exit("s", 1) // it starts again, whatever the pod's policy, and holds nobody up
	s.want("start s#1", Running)
	s.slow["t"] = true
	s.exit("a", 0)
	s.want("kill t in 30s", Running)
	s.exit("t", 0)
	s.want("kill s in 30s; stop sandbox", Succeeded)
	if !s.d.Over {
		t.Error("it is not over")
	}
}

func TestDeletion(t *testing.T) {
	s := simulate(t, Spec{InitContainers: []Container{sidecar("s"), sidecar("t")}, Containers: named("a", "b"), RestartPolicy: "Always"})
	s.want("start sandbox #0; start s#0; start t#0; start a#0; start b#0", Running)
	s.slow["a"] = true
	grace, at := int64(30), s.w.Now.Add(30*time.Second)
	s.p.Metadata.Deleted, s.p.Metadata.Grace = &at, &grace
	s.want("kill a in 30s; kill b in 30s", Running)
	s.want("", Running)
	s.pass(5 * time.Second)
	sooner, less := s.w.Now.Add(time.Second), int64(1)
	s.p.Metadata.Deleted, s.p.Metadata.Grace = &sooner, &less
	s.want("kill a in 2s", Running) // somebody has lost patience
	s.pass(2 * time.Second)
	s.exit("a", 137)
	s.want("kill t in 2s; kill s in 2s; stop sandbox", Running)
	if !s.d.Over || s.d.Status.PodIP != "" {
		t.Errorf("%+v", s.d)
	}

	s = simulate(t, Spec{Containers: named("a"), RestartPolicy: "Always"})
	s.p.Metadata.Deleted = &at
	s.want("", Pending)
	if !s.d.Over {
		t.Error("one that never ran is not over")
	}
}

func TestSandboxDies(t *testing.T) {
	s := simulate(t, Spec{InitContainers: named("i"), Containers: named("a"), RestartPolicy: "Always"})
	s.want("start sandbox #0; start i#0", Pending)
	s.exit("i", 0)
	s.want("start a#0", Running)
	s.w.Sandbox.Stage = Ended
	s.want("kill a in 30s; start sandbox #1; start i#1", Running)
	s.exit("i", 0)
	s.want("start a#1", Running)
	if s.d.Status.PodIP != "10.88.0.3" || !slices.Contains(s.events, "SandboxChanged") {
		t.Errorf("%s, %v", s.d.Status.PodIP, s.events)
	}
	for policy, want := range map[string]string{"Never": Failed, "OnFailure": Running} {
		s := simulate(t, Spec{Containers: named("a"), RestartPolicy: policy})
		s.want("start sandbox #0; start a#0", Running)
		s.w.Sandbox.Stage = Ended
		did := "kill a in 30s"
		if policy == "OnFailure" {
			did += "; start sandbox #1; start a#1"
		}
		s.want(did, want)
	}
}

func TestDeadline(t *testing.T) {
	limit := int64(60)
	s := simulate(t, Spec{Containers: named("a"), RestartPolicy: "Always", ActiveDeadlineSeconds: &limit})
	s.want("start sandbox #0; start a#0", Running)
	if !s.d.Wake.Equal(dawn.Add(time.Minute)) {
		t.Errorf("it wakes at %s", s.d.Wake)
	}
	s.pass(time.Minute)
	s.want("kill a in 30s; stop sandbox", Failed)
	if s.d.Status.Reason != DeadlineExceeded || !s.d.Over || strings.Count(strings.Join(s.events, " "), DeadlineExceeded) != 1 {
		t.Errorf("%+v, %v", s.d.Status, s.events)
	}
}

func TestEviction(t *testing.T) {
	s := simulate(t, Spec{Containers: named("a"), RestartPolicy: "Always"})
	s.want("start sandbox #0; start a#0", Running)
	s.w.Evicted = "too much"
	s.want("kill a in 30s; stop sandbox", Failed)
	if s.d.Status.Reason != Evicted || s.d.Status.Message != "too much" || !s.d.Over || !slices.Contains(s.events, Evicted) {
		t.Errorf("%+v, %v", s.d.Status, s.events)
	}
}

func TestProbesAndImage(t *testing.T) {
	s := simulate(t, Spec{Containers: named("a", "b"), RestartPolicy: "Always"})
	s.want("start sandbox #0; start a#0; start b#0", Running)
	s.w.Lives["a"].Unwell = Liveness
	s.want("kill a in 30s; start a#1", Running)
	s.w.Lives["a"].Unwell = Liveness // the second time at once: it waits, as after any other crash
	s.want("kill a in 30s", Running)
	s.wantState("a", "CrashLoopBackOff")
	s.pass(firstPause)
	s.want("start a#2", Running)
	s.p.Spec.Containers[1].Image = "other"
	s.want("kill b in 30s; start b#1", Running)
	s.w.Lives["a"].Ready = false
	s.want("", Running)
	s.wantState("a", "running")
	if s.condition(Ready) != ConditionFalse {
		t.Error("it is ready")
	}
	short := int64(3)
	s = simulate(t, Spec{Containers: named("a"), RestartPolicy: "Never"})
	s.p.Spec.Containers[0].LivenessProbe = &Probe{TerminationGracePeriodSeconds: &short}
	s.want("start sandbox #0; start a#0", Running)
	s.w.Lives["a"].Unwell = Liveness
	s.want("kill a in 3s; stop sandbox", Failed)
}

func TestPullBackOff(t *testing.T) {
	s := simulate(t, Spec{Containers: named("a", "b"), RestartPolicy: "Never"})
	s.p.Spec.Containers[0].Image = "missing"
	s.want("start sandbox #0; start a#0; start b#0", Pending)
	s.wantState("a", ErrImagePull)
	s.pass(shown)
	s.want("", Pending)
	s.wantState("a", ImagePullBackOff)
	s.pass(firstPause - shown)
	s.want("start a#0", Pending)
	s.wantState("a", ErrImagePull)
	if !s.d.Wake.Equal(s.w.Now.Add(shown)) {
		t.Errorf("it wakes in %s", s.d.Wake.Sub(s.w.Now))
	}
	s.pass(shown)
	s.settle()
	if !s.d.Wake.Equal(s.w.Now.Add(2*firstPause - shown)) {
		t.Errorf("it wakes in %s", s.d.Wake.Sub(s.w.Now))
	}
	s.p.Spec.Containers[0].Image = "img" // set image: at once
	s.want("start a#0", Running)
}

func TestStartError(t *testing.T) {
	s := simulate(t, Spec{Containers: named("a"), RestartPolicy: "Always"})
	s.want("start sandbox #0; start a#0", Running)
	fail := func() {
		s.exit("a", 128)
		l := s.w.Lives["a"]
		l.Ended.Reason = "StartError"
		l.Failure = &StartFailure{Reason: RunContainerError, Message: "no such file", At: s.w.Now, Retry: s.w.Now.Add(shown)}
	}
	fail()
	s.want("", Running)
	s.wantState("a", RunContainerError)
	s.pass(shown)
	s.want("start a#1", Running)
	fail()
	s.pass(shown)
	s.want("", Running)
	s.wantState("a", CrashLoopBackOff)
}

func TestQOSClass(t *testing.T) {
	both := map[string]Quantity{"cpu": "1", "memory": "1Mi"}
	for want, c := range map[string]Container{
		"BestEffort": {}, "Guaranteed": {Resources: Resources{Limits: both, Requests: both}}, "Burstable": {Resources: Resources{Requests: map[string]Quantity{"cpu": "1m"}}},
	} {
		p := &Pod{Spec: Spec{Containers: []Container{c}}}
		if got := p.QOSClass(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	p := &Pod{Spec: Spec{Containers: []Container{{Resources: Resources{Limits: both}}, {}}}}
	if got := p.QOSClass(); got != "Burstable" {
		t.Errorf("one of two has limits: %s", got)
	}
	for want, whole := range map[string]Resources{
		"Guaranteed": {Limits: both}, "Burstable": {Limits: both, Requests: map[string]Quantity{"cpu": "500m"}}, "BestEffort": {Limits: map[string]Quantity{"cpu": "0"}},
	} {
		p.Spec.Resources = &whole
		if got := p.QOSClass(); got != want {
			t.Errorf("as a whole: %s, want %s", got, want)
		}
	}
	p.Spec.Resources = &Resources{} // says nothing
	if got := p.QOSClass(); got != "Burstable" {
		t.Errorf("as a whole nothing: %s", got)
	}
	p.Spec.Containers = []Container{{Resources: Resources{Limits: map[string]Quantity{"memory": "1Mi"}}}, {Resources: Resources{Limits: map[string]Quantity{"cpu": "1"}}}}
	if got := p.QOSClass(); got != "Burstable" {
		t.Errorf("each has one of both: %s", got)
	}
}

func TestProber(t *testing.T) {
	probe := &Probe{InitialDelaySeconds: 5, PeriodSeconds: 10, FailureThreshold: 3, SuccessThreshold: 2}
	for _, tt := range []struct {
		kind, answers, verdicts string // + and -; the verdict after each
		first                   bool
	}{
		{Readiness, "++--+-++", "-+++++++", false},
		{Readiness, "++---+--++", "-+++-----+", false},
		{Liveness, "--+---", "+++++-", true},
		{Startup, "---", "---", false},
	} {
		b := NewProber(tt.kind, probe, dawn)
		if !b.Next().Equal(dawn.Add(5*time.Second)) || b.Verdict != tt.first {
			t.Errorf("%s begins with %v at %s", tt.kind, b.Verdict, b.Next())
		}
		now, got := b.Next(), ""
		changes := 0
		for _, a := range tt.answers {
			if b.Answer(a == '+', now) {
				changes++
			}
			if !b.Next().Equal(now.Add(10 * time.Second)) {
				t.Errorf("next at %s", b.Next())
			}
			now = b.Next()
			got += map[bool]string{true: "+", false: "-"}[b.Verdict]
		}
		if got != tt.verdicts {
			t.Errorf("%s %s: %s, want %s", tt.kind, tt.answers, got, tt.verdicts)
		}
		if tt.kind == Startup && changes != 1 {
			t.Errorf("its failure is told %d times", changes)
		}
	}
}

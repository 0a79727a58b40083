package pod

import (
	"testing"
	"time"
)

// TestDecideWithoutContainers has a pod that waits for its first container: its sandbox stays, and so does the pod.
func TestDecideWithoutContainers(t *testing.T) {
	p := &Pod{Metadata: Metadata{Name: "web", Namespace: "default"}, Spec: Spec{RestartPolicy: "Never"}}
	w := &World{Now: time.Now(), Lives: map[string]*Life{}}
	if d := Decide(p, w); d.Over || len(d.Actions) != 1 || d.Actions[0].Verb != StartSandbox {
		t.Errorf("at first %+v", d)
	}
	w.Sandbox = SandboxLife{Stage: Live}
	if d := Decide(p, w); d.Over || len(d.Actions) != 0 || d.Status.finished() {
		t.Errorf("with a sandbox %+v", d)
	}
	p.Spec.Containers = []Container{{Name: "c", Image: "busybox"}}
	if d := Decide(p, w); len(d.Actions) != 1 || d.Actions[0].Verb != StartContainer || d.Actions[0].Container != "c" {
		t.Errorf("with its first container %+v", d)
	}
	now := w.Now
	p.Spec.Containers, p.Metadata.Deleted = nil, &now
	if d := Decide(p, w); len(d.Actions) != 1 || d.Actions[0].Verb != StopSandbox {
		t.Errorf("when it is deleted %+v", d)
	}
}

// TestDecideStopped has a pod stopped that restarts always: its containers get what the stop said, and then nothing more is to be done.
func TestDecideStopped(t *testing.T) {
	p := &Pod{Metadata: Metadata{Name: "web", Namespace: "default", Annotations: map[string]string{stoppedBy: "5"}}}
	p.Spec = Spec{RestartPolicy: "Always", Containers: []Container{{Name: "c", Image: "busybox"}}}
	now := time.Now()
	w := &World{Now: now, Sandbox: SandboxLife{Stage: Live}, Lives: map[string]*Life{"c": {Stage: Live, Image: "busybox", Started: now, Ready: true, StartedUp: true}}}
	if d := Decide(p, w); d.Over || len(d.Actions) != 1 || d.Actions[0].Verb != KillContainer || d.Actions[0].Grace != 5*time.Second {
		t.Errorf("while it runs %+v", d)
	}
	w.Lives["c"].Stage, w.Lives["c"].Ended = Ended, &Terminated{ExitCode: 137, FinishedAt: now}
	if d := Decide(p, w); d.Over || len(d.Actions) != 1 || d.Actions[0].Verb != StopSandbox {
		t.Errorf("after its container %+v", d)
	}
	w.Sandbox.Stage = Ended
	d := Decide(p, w)
	if !d.Over || len(d.Actions) != 0 || !d.Status.AllStopped() || d.Status.Phase != Pending {
		t.Errorf("at the end %+v", d)
	}
	if got := Wanted(p.Metadata.Annotations); len(got) != 0 {
		t.Errorf("our annotation is %v", got)
	}
	p.Metadata.Annotations = nil
	w.Status = d.Status
	w.Lives["c"].Again = true // as an engine has it that begins with such a pod
	if d := Decide(p, w); d.Over || len(d.Actions) != 1 || d.Actions[0].Verb != StartSandbox {
		t.Errorf("when it is resumed %+v", d)
	}
}

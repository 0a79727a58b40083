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

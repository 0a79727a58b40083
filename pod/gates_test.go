package pod

import (
	"testing"
	"time"
)

// TestGates keeps a pod off the machine while it has gates.
func TestGates(t *testing.T) {
	p := &Pod{Spec: Spec{Containers: []Container{{Name: "a", Image: "a"}}, SchedulingGates: []SchedulingGate{{"example.com/foo"}}}}
	w := &World{Now: time.Unix(1000, 0), Lives: map[string]*Life{}}
	d := Decide(p, w)
	if len(d.Actions) != 0 || d.Status.Phase != Pending || !d.Status.StartTime.IsZero() || len(d.Status.ContainerStatuses) != 0 {
		t.Errorf("with a gate: %+v", d)
	}
	if c := d.Status.Conditions; len(c) != 1 || c[0].Type != PodScheduled || c[0].Status != ConditionFalse || c[0].Reason != SchedulingGated {
		t.Errorf("conditions: %+v", c)
	}
	w.Status = d.Status
	p.Spec.SchedulingGates = nil
	if d = Decide(p, w); len(d.Actions) != 1 || d.Actions[0].Verb != StartSandbox || d.Status.StartTime.IsZero() {
		t.Errorf("without: %+v", d)
	}
	p.Spec.SchedulingGates = []SchedulingGate{{"example.com/foo"}}
	now := w.Now
	p.Metadata.Deleted = &now
	if d = Decide(p, w); !d.Over {
		t.Errorf("deleted: %+v", d)
	}
}

package pod

import "codeberg.org/minipod/minipod/kube/event"

// A SchedulingGate keeps a pod from starting until it is taken away.
type SchedulingGate struct {
	Name string `json:"name"`
}

// gated tells whether the pod waits for its scheduling gates to be taken away.
func (d *decider) gated() bool {
	return len(d.p.Spec.SchedulingGates) > 0 && d.w.Status.StartTime.IsZero()
}

// gate is all that is to be said of such a pod.
func (d *decider) gate() Condition {
	return Condition{Type: PodScheduled, Status: ConditionFalse, Reason: SchedulingGated, Message: "Scheduling is blocked due to non-empty scheduling gates"}
}

// scheduled says that the pod is to run here, when it is: at its beginning, or once its last gate was taken away.
func (e *Engine) scheduled() {
	if len(e.pod.Spec.SchedulingGates) == 0 && e.w.Status.StartTime.IsZero() {
		e.Events.Tell(event.Normal, "Scheduled", "", "Successfully assigned %s/%s to %s", e.pod.Metadata.Namespace, e.pod.Metadata.Name, e.Events.Source.Host)
	}
}

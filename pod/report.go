package pod

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// status is what is to be said of the pod.
func (d *decider) status() Status {
	s := Status{
		HostIP: d.w.HostIP, StartTime: d.w.Status.StartTime, QOSClass: d.p.QOSClass(), ObservedGeneration: d.p.Metadata.Generation,
	}
	if d.gated() {
		return Status{Phase: Pending, QOSClass: s.QOSClass, ObservedGeneration: s.ObservedGeneration, Conditions: d.since([]Condition{d.gate()})}
	}
	if s.StartTime.IsZero() {
		s.StartTime = d.w.Now
	}
	if s.HostIP != "" {
		s.HostIPs = []IP{{s.HostIP}}
	}
	if box := &d.w.Sandbox; (box.Stage == Live || box.Stage == Stopping) && box.IP != "" {
		s.PodIP, s.PodIPs = box.IP, []IP{{box.IP}}
	}
	for i := range d.p.Spec.InitContainers {
		s.InitContainerStatuses = append(s.InitContainerStatuses, d.container(&d.p.Spec.InitContainers[i], true))
	}
	for i := range d.p.Spec.Containers {
		s.ContainerStatuses = append(s.ContainerStatuses, d.container(&d.p.Spec.Containers[i], false))
	}
	s.Phase = d.phase(&s)
	if d.failure[0] != "" {
		s.Phase, s.Reason, s.Message = Failed, d.failure[0], d.failure[1]
	}
	if old := &d.w.Status; old.finished() {
		s.Phase, s.Reason, s.Message = old.Phase, old.Reason, old.Message
	}
	if d.p.Stopped() && d.Over && !s.finished() {
		s.Phase, s.Reason, s.Message = Pending, ReasonStopped, "it was stopped, and waits to be started again"
	}
	s.Conditions = d.conditions(&s)
	return s
}

// container is what is to be said of one container.
func (d *decider) container(c *Container, init bool) ContainerStatus {
	l := d.life(c)
	s := ContainerStatus{Name: c.Name, Image: cmp.Or(l.Image, c.Image), ImageID: l.ImageID, RestartCount: int32(l.Attempt)}
	if l.ID != "" {
		s.ContainerID = idPrefix + l.ID
	}
	started := false
	s.Started = &started
	last := l.Last
	switch {
	case (l.Stage == Live || l.Stage == Stopping) && !l.Hooking && !l.Started.IsZero():
		s.State.Running = &RunningSince{l.Started}
		started = l.StartedUp
		s.Ready = l.Stage == Live && l.Ready && (!init || c.Sidecar())
	case l.Stage == Ended && (!d.next[c.Name] || d.starts(c.Name) && l.Failure == nil):
		s.State.Terminated = l.Ended
		s.Ready = init && !c.Sidecar() && l.Ended.ExitCode == 0
	default:
		if l.Ended != nil { // the one that is to be started has not taken its place yet
			last = l.Ended
		}
		s.State.Waiting = d.waiting(c, l)
	}
	s.LastState.Terminated = last
	return s
}

const idPrefix = "minipod://"

// starts tells whether it was decided to start the container now.
func (d *decider) starts(name string) bool {
	return slices.ContainsFunc(d.Actions, func(a Action) bool { return a.Verb == StartContainer && a.Container == name })
}

// waiting says why a container does not run.
func (d *decider) waiting(c *Container, l *Life) *Waiting {
	if f := l.Failure; f != nil && l.Stage != Starting && (f.Reason != RunContainerError || d.w.Now.Before(f.Retry)) {
		if f.Reason == ErrImagePull && !d.w.Now.Before(f.At.Add(shown)) {
			return &Waiting{ImagePullBackOff, fmt.Sprintf("Back-off pulling image %q: %s: %s", c.Image, ErrImagePull, f.Message)}
		}
		return &Waiting{f.Reason, f.Message}
	}
	if l.Stage == Ended && l.Ended != nil && d.next[c.Name] {
		pause := l.Crash.until(l.Ended.FinishedAt).Sub(l.Ended.FinishedAt)
		return &Waiting{CrashLoopBackOff, fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", pause, c.Name, d.p.fullName())}
	}
	if len(d.p.Spec.InitContainers) > 0 {
		return &Waiting{Reason: PodInitializing}
	}
	return &Waiting{Reason: ContainerCreating}
}

// phase is getPhase of kubelet_pods.go.
func (d *decider) phase(s *Status) string {
	pendingInit, failedInit := 0, 0
	for i := range s.InitContainerStatuses {
		c, l := &d.p.Spec.InitContainers[i], d.life(&d.p.Spec.InitContainers[i])
		switch {
		case c.Sidecar():
			if !(l.StartedUp && l.Stage == Live) && !d.begun(c) && l.Stage != Stopping && l.Stage != Ended {
				pendingInit++
			}
		case l.Stage == Ended && l.Ended.ExitCode == 0:
		case l.Stage == Ended && !d.restarts(c, l):
			failedInit++
		default:
			pendingInit++
		}
	}
	running, waiting, stopped, succeeded, restarting := 0, 0, 0, 0, 0
	for i := range s.ContainerStatuses {
		c := &s.ContainerStatuses[i]
		switch {
		case c.State.Running != nil:
			running++
		case c.State.Terminated != nil:
			stopped++
			if c.State.Terminated.ExitCode == 0 {
				succeeded++
			}
		case c.LastState.Terminated != nil:
			stopped++
		default:
			waiting++
		}
		if l := d.life(&d.p.Spec.Containers[i]); l.Stage != Ended || d.restarts(&d.p.Spec.Containers[i], l) {
			restarting++ // or not ended at all
		}
	}
	switch {
	case len(s.ContainerStatuses) == 0: // the first is still to come
		return Pending
	case failedInit > 0:
		return Failed
	case pendingInit > 0 && stopped+running == 0, waiting > 0 && running+stopped == 0:
		return Pending
	case waiting > 0:
		return Pending
	case running > 0:
		return Running
	case d.sidecarsAlive():
		return Running
	case restarting > 0:
		return Running
	case stopped == succeeded:
		return Succeeded
	}
	return Failed
}

// sidecarsAlive tells whether a sidecar is still to end.
func (d *decider) sidecarsAlive() bool {
	return slices.ContainsFunc(d.p.Spec.InitContainers, func(c Container) bool { return c.Sidecar() && d.life(&c).Stage.alive() })
}

func (d *decider) conditions(s *Status) []Condition {
	completed := s.Phase == Succeeded
	var incomplete, unready []string
	for i := range s.InitContainerStatuses {
		c, l := &d.p.Spec.InitContainers[i], d.life(&d.p.Spec.InitContainers[i])
		done := l.Stage == Ended && l.Ended.ExitCode == 0
		if c.Sidecar() {
			done = l.StartedUp && l.Stage.alive() || d.begun(c)
			if !s.InitContainerStatuses[i].Ready {
				unready = append(unready, c.Name)
			}
		}
		if !done {
			incomplete = append(incomplete, c.Name)
		}
	}
	for i := range s.ContainerStatuses {
		if !s.ContainerStatuses[i].Ready {
			unready = append(unready, s.ContainerStatuses[i].Name)
		}
	}
	ready := Condition{Type: Ready, Status: ConditionTrue}
	switch {
	case completed:
		ready = Condition{Type: Ready, Status: ConditionFalse, Reason: "PodCompleted"}
	case s.Phase == Failed:
		ready = Condition{Type: Ready, Status: ConditionFalse, Reason: "PodFailed"}
	case len(unready) > 0:
		ready = Condition{Type: Ready, Status: ConditionFalse, Reason: ReasonContainersUnready, Message: "containers with unready status: [" + strings.Join(unready, " ") + "]"}
	}
	containers := ready
	containers.Type = ContainersReady
	initialized := Condition{Type: Initialized, Status: ConditionTrue}
	if completed {
		initialized.Reason = "PodCompleted"
	} else if len(incomplete) > 0 {
		initialized = Condition{Type: Initialized, Status: ConditionFalse, Reason: "ContainersNotInitialized", Message: "containers with incomplete status: [" + strings.Join(incomplete, " ") + "]"}
	}
	sandbox := Condition{Type: ReadyToStartContainers, Status: ConditionFalse}
	if d.w.Sandbox.Stage == Live {
		sandbox.Status = ConditionTrue
	}
	list := []Condition{sandbox, initialized, ready, containers, {Type: PodScheduled, Status: ConditionTrue}}
	return d.since(list)
}

// since dates the conditions: those that are as they were keep their time.
func (d *decider) since(list []Condition) []Condition {
	for i := range list {
		list[i].Transition = d.w.Now
		for _, old := range d.w.Status.Conditions {
			if old.Type == list[i].Type && old.Status == list[i].Status {
				list[i].Transition = old.Transition
			}
		}
	}
	return list
}

// QOSClass is the pod's quality of service: by what it asks for and may use as a whole where it says that, else by what each of its containers does
// (ComputePodQOS of pkg/apis/core/v1/helper/qos).
func (p *Pod) QOSClass() string {
	if whole := p.Spec.Resources; whole != nil && (whole.mentions("cpu") || whole.mentions("memory")) {
		return whole.qosClass()
	}
	class := ""
	for c := range p.all() {
		switch one := c.Resources.qosClass(); class {
		case "", one:
			class = one
		default:
			return Burstable
		}
	}
	return cmp.Or(class, BestEffort)
}

func (r *Resources) mentions(name string) bool {
	_, limited := r.Limits[name]
	_, requested := r.Requests[name]
	return limited || requested
}

// qosClass is Guaranteed for who may use what it asks for and no more, of both resources, and BestEffort for who says nothing of either.
func (r *Resources) qosClass() string {
	class := ""
	for _, name := range []string{"cpu", "memory"} {
		limit := valueIn(r.Limits, name)
		request := limit // where there is none, as the API server has it
		if _, ok := r.Requests[name]; ok {
			request = valueIn(r.Requests, name)
		}
		one := Burstable
		switch {
		case request == limit && limit == 0:
			one = BestEffort
		case request == limit:
			one = Guaranteed
		}
		if class != "" && class != one {
			return Burstable
		}
		class = one
	}
	return class
}

// valueIn is in thousandths.
func valueIn(list map[string]Quantity, name string) int64 {
	q, ok := list[name]
	if !ok {
		return 0
	}
	return q.MilliValue()
}

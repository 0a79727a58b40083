package pod

import (
	"fmt"
	"slices"
	"time"
)

// Decide says what is to be done next, and what is to be said, of a pod of which there is w. It is pure: the same pod and the same world make
// the same decision. The rules are the kubelet's (kuberuntime_manager.go: computePodActions; kubelet_pods.go: getPhase).
//
//   - The sandbox comes first. When it ends by itself every container is ended, and it is made again, if anything is to run in it.
//   - Init containers run one after the other; a sidecar (restartPolicy Always) stays, and the next one waits for its startup probe.
//   - Then all containers start. One that ends starts again by the restart policy, after a pause that doubles.
//   - At the end the containers are asked to end, then the sidecars, the last one first, and then the sandbox.
func Decide(p *Pod, w *World) Decision {
	d := &decider{p: p, w: w, next: map[string]bool{}}
	switch {
	case p.Metadata.Deleted != nil:
		d.end(d.untilDeleted(), false)
	case p.Stopped() && !w.Status.finished():
		d.end(p.stopGrace(), false)
	case w.Leaving:
		d.end(d.grace(), false)
	case w.Evicted != "" || w.Status.Reason == Evicted:
		d.failure = [2]string{Evicted, w.Evicted}
		d.end(d.grace(), true)
	case d.gated(): // it is on no machine yet
	case d.late():
		d.failure = [2]string{DeadlineExceeded, deadlineMessage}
		d.end(d.grace(), true)
	case w.Status.finished(), d.failed(), d.completed():
		d.end(d.grace(), false)
	case w.Sandbox.Stage == Live:
		d.run()
	default:
		d.prepare()
	}
	d.Status = d.status()
	return d.Decision
}

// A decider makes one decision.
type decider struct {
	Decision

	p    *Pod
	w    *World
	next map[string]bool // containers that start, or will after a pause

	failure [2]string // reason and message of a pod that has failed as a whole
}

func (d *decider) life(c *Container) *Life {
	if l := d.w.Lives[c.Name]; l != nil {
		return l
	}
	return &Life{}
}

func (d *decider) do(a Action) { d.Actions = append(d.Actions, a) }

func (d *decider) wake(at time.Time) {
	if d.Wake.IsZero() || at.Before(d.Wake) {
		d.Wake = at
	}
}

func (d *decider) grace() time.Duration { return time.Duration(d.p.grace()) * time.Second }

// atLeast is what a container gets in any case that is asked to end, unless nothing at all is what was asked for: the kubelet's
// minimumGracePeriodInSeconds.
const atLeast = 2 * time.Second

func (d *decider) untilDeleted() time.Duration {
	m := &d.p.Metadata
	if m.Grace != nil && *m.Grace == 0 {
		return 0
	}
	return max(m.Deleted.Sub(d.w.Now), atLeast)
}

// late tells whether the pod's activeDeadlineSeconds are over, and sees to it that we look again when they will be.
func (d *decider) late() bool {
	if d.w.Status.Reason == DeadlineExceeded {
		return true
	}
	s := d.p.Spec.ActiveDeadlineSeconds
	if s == nil || d.w.Status.StartTime.IsZero() || d.w.Status.finished() {
		return false
	}
	end := d.w.Status.StartTime.Add(time.Duration(*s) * time.Second)
	if d.w.Now.Before(end) {
		d.wake(end)
		return false
	}
	return true
}

// failed tells whether an init container has failed for good.
func (d *decider) failed() bool {
	if d.p.Spec.RestartPolicy != "Never" {
		return false
	}
	for i := range d.p.Spec.InitContainers {
		c := &d.p.Spec.InitContainers[i]
		if l := d.life(c); !c.Sidecar() && l.Stage == Ended && !l.Again && l.Ended.ExitCode != 0 {
			return true
		}
	}
	return false
}

// completed tells whether all containers have ended, none to start again. A pod that is still without any waits for its first.
func (d *decider) completed() bool {
	if len(d.p.Spec.Containers) == 0 {
		return false
	}
	for i := range d.p.Spec.Containers {
		l := d.life(&d.p.Spec.Containers[i])
		if l.Stage != Ended || d.restarts(l) {
			return false
		}
	}
	return true
}

// restarts tells whether a container that has ended starts again.
func (d *decider) restarts(l *Life) bool {
	switch {
	case l.Again, d.p.Spec.RestartPolicy == "Always", d.p.Spec.RestartPolicy == "":
		return true
	case d.p.Spec.RestartPolicy == "OnFailure":
		return l.Ended.ExitCode != 0
	}
	return false
}

// prepare sees to the sandbox, without which nothing runs.
func (d *decider) prepare() {
	box := &d.w.Sandbox
	switch {
	case box.Stage == Starting || box.Stage == Stopping:
		return
	case d.killAll(d.grace(), ""): // who lived in the one that has ended
		if !box.Told {
			d.Notices = append(d.Notices, Notice{Type: "Normal", Reason: "SandboxChanged", Message: "Pod sandbox changed, it will be killed and re-created.", Once: "sandbox"})
		}
		return
	case d.w.Now.Before(box.Retry):
		d.wake(box.Retry)
		return
	}
	if box.Stage == Ended && !box.Told {
		d.Notices = append(d.Notices, Notice{Type: "Normal", Reason: "SandboxChanged", Message: "Pod sandbox changed, it will be killed and re-created.", Once: "sandbox"})
	}
	attempt := box.Attempt
	if box.Stage == Ended {
		attempt++
	}
	d.do(Action{Verb: StartSandbox, Attempt: attempt})
}

// killAll ends what lives, and tells whether anything does.
func (d *decider) killAll(grace time.Duration, message string) (alive bool) {
	for c := range d.p.all() {
		if d.life(c).Stage.alive() {
			alive = true
			d.kill(c, grace, message, false)
		}
	}
	return alive
}

// run sees to the containers.
func (d *decider) run() {
	for i := range d.p.Spec.InitContainers {
		c := &d.p.Spec.InitContainers[i]
		if !d.initialize(c) { // LAB: init-containers
			d.tend(d.p.Spec.InitContainers[i+1:])
			return
		}
	}
	for i := range d.p.Spec.Containers {
		d.keep(&d.p.Spec.Containers[i])
	}
}

// initialize sees to an init container, and tells whether the next may start.
func (d *decider) initialize(c *Container) bool {
	l := d.life(c)
	if c.Sidecar() {
		d.keep(c)
		// Once the ones after it have begun, its restarts hold nobody up.
		return l.Stage == Live && l.StartedUp || d.begun(c)
	}
	current := l.Epoch == d.w.Sandbox.Attempt
	switch {
	case l.Stage == Ended && current && !l.Again && l.Ended.ExitCode == 0:
		return true
	case l.Stage == Ended && !current: // its work was for a sandbox that is gone
		d.start(c, l, false)
	case l.Stage == None:
		d.start(c, l, false)
	case l.Stage == Ended:
		d.start(c, l, !l.Again || l.Unwell != "")
	case l.Stage == Live:
		d.check(c, l)
	}
	return false
}

// begun tells whether a container that comes after the sidecar c has been started in this sandbox.
func (d *decider) begun(c *Container) bool {
	after := false
	for other := range d.p.all() {
		if l := d.life(other); after && l.Stage != None && l.Epoch == d.w.Sandbox.Attempt && l.Stage != Starting {
			return true
		}
		after = after || other == c
	}
	return false
}

// tend sees to sidecars that come after an init container which is to be done: those that live are to be well.
func (d *decider) tend(list []Container) {
	for i := range list {
		if c := &list[i]; c.Sidecar() && d.life(c).Stage == Live {
			d.check(c, d.life(c))
		}
	}
}

// keep sees to a container that is to run.
func (d *decider) keep(c *Container) {
	l := d.life(c)
	switch l.Stage {
	case None:
		d.start(c, l, false)
	case Live:
		d.check(c, l)
	case Ended:
		switch {
		case l.Again:
			d.start(c, l, l.Unwell != "")
		case c.Sidecar() || d.restarts(l):
			d.start(c, l, true)
		}
	}
}

// check ends a container that is not what it should be, to start it again.
func (d *decider) check(c *Container, l *Life) {
	restarts := c.Sidecar() || d.p.Spec.RestartPolicy != "Never"
	switch {
	case l.Image != c.Image:
		d.kill(c, d.grace(), fmt.Sprintf("Container %s definition changed, will be restarted", c.Name), true) // LAB: definition-changed
	case l.Unwell == Liveness:
		d.kill(c, d.probeGrace(c.LivenessProbe), fmt.Sprintf("Container %s failed liveness probe, will be restarted", c.Name), restarts)
	case l.Unwell == PostStart: // whether it starts again is the policy's, as after any other end
		d.kill(c, d.grace(), "FailedPostStartHook", false)
	case l.Unwell == Startup:
		d.kill(c, d.probeGrace(c.StartupProbe), fmt.Sprintf("Container %s failed startup probe, will be restarted", c.Name), restarts)
	}
}

func (d *decider) probeGrace(probe *Probe) time.Duration {
	if probe != nil && probe.TerminationGracePeriodSeconds != nil {
		return time.Duration(*probe.TerminationGracePeriodSeconds) * time.Second
	}
	return d.grace()
}

// start starts a container, now or after its pause.
func (d *decider) start(c *Container, l *Life, crashed bool) {
	d.next[c.Name] = true
	if f := l.Failure; f != nil && d.w.Now.Before(f.Retry) && l.Image == c.Image {
		d.wake(f.Retry)
		if f.Reason == ErrImagePull {
			if shownUntil := f.At.Add(shown); d.w.Now.Before(shownUntil) {
				d.wake(shownUntil)
				return
			}
			d.Notices = append(d.Notices,
				Notice{Type: "Normal", Reason: "BackOff", Container: c.Name, Message: fmt.Sprintf("Back-off pulling image %q", c.Image), Once: "pull " + f.At.String()},
				Notice{Type: "Warning", Reason: "Failed", Container: c.Name, Message: "Error: " + ImagePullBackOff, Once: "pull " + f.At.String()})
		}
		return
	}
	attempt, pause := 0, l.Crash
	if l.Stage == Ended {
		attempt = l.Attempt + 1
	}
	if crashed && l.Image != c.Image { // what crashed was another
		crashed, pause = false, Backoff{}
	}
	if !crashed {
		if l.Again {
			pause = Backoff{}
		}
		d.do(Action{Verb: StartContainer, Container: c.Name, Attempt: attempt, Crash: pause})
		return
	}
	ended := l.Ended.FinishedAt
	if until := l.Crash.until(ended); d.w.Now.Before(until) {
		d.wake(until)
		d.Notices = append(d.Notices, Notice{
			Type: "Warning", Reason: "BackOff", Container: c.Name, Once: "crash " + ended.String(),
			Message: fmt.Sprintf("Back-off restarting failed container %s in pod %s", c.Name, d.p.fullName()),
		})
		return
	}
	d.do(Action{Verb: StartContainer, Container: c.Name, Attempt: attempt, Crash: l.Crash.next(ended, d.w.Now)})
}

// kill ends a container, or has one that is being ended end sooner.
func (d *decider) kill(c *Container, grace time.Duration, message string, again bool) {
	l := d.life(c)
	if l.Stage == Stopping && !d.w.Now.Add(grace).Add(time.Second).Before(l.StopBy) {
		return
	}
	if message == "" {
		message = "Stopping container " + c.Name
	}
	if l.Stage == Stopping {
		message = "" // it was told
	}
	d.do(Action{Verb: KillContainer, Container: c.Name, Grace: grace, Message: message, Again: again})
}

// end ends the pod: the containers at once, then the sidecars, the last one first, then the sandbox.
func (d *decider) end(grace time.Duration, failed bool) {
	if failed && d.w.Status.Reason != d.failure[0] {
		kind := "Normal"
		if d.failure[0] == Evicted {
			kind = "Warning"
		}
		d.Notices = append(d.Notices, Notice{Type: kind, Reason: d.failure[0], Message: d.failure[1]})
	}
	alive := false
	for c := range d.p.all() {
		if !c.Sidecar() && d.life(c).Stage.alive() {
			alive = true
			d.kill(c, grace, "", false)
		}
	}
	for _, c := range slices.Backward(d.p.Spec.InitContainers) {
		if alive {
			return
		}
		if c.Sidecar() && d.life(&c).Stage.alive() {
			alive = true
			d.kill(&c, grace, "", false)
		}
	}
	if alive {
		return
	}
	switch d.w.Sandbox.Stage {
	case Live:
		d.do(Action{Verb: StopSandbox})
	case None, Ended:
		d.Over = true
	}
}

const deadlineMessage = "Pod was active on the node longer than the specified deadline"

// all are the init containers and the containers, in order.
func (p *Pod) all() func(yield func(*Container) bool) {
	return func(yield func(*Container) bool) {
		for _, list := range [][]Container{p.Spec.InitContainers, p.Spec.Containers} {
			for i := range list {
				if !yield(&list[i]) {
					return
				}
			}
		}
	}
}

// find returns the container of that name.
func (p *Pod) find(name string) *Container {
	for c := range p.all() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// fullName is how the kubelet writes a pod in messages.
func (p *Pod) fullName() string {
	return p.Metadata.Name + "_" + p.Metadata.Namespace + "(" + p.Metadata.UID + ")"
}

package print

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"codeberg.org/minipod/minipod/pod"
)

// A Pod is what somebody wants and what there is.
type Pod struct {
	pod.Pod

	Status pod.Status `json:"status"`
}

// On is the machine that the pod runs on: this one, which is called node, unless gates keep the pod from all.
func (p *Pod) On(node string) string {
	if len(p.Spec.SchedulingGates) > 0 && p.Status.StartTime.IsZero() {
		return ""
	}
	return node
}

// Pods is the table of `get pods`. The node is the one that they run on: this machine.
func Pods(pods []Pod, node string, now time.Time) Table {
	t := Table{Columns: append(columns("NAME", "READY", "STATUS", "RESTARTS", "AGE"), wide("IP", "NODE", "NOMINATED NODE", "READINESS GATES")...)}
	for i := range pods {
		p := &pods[i]
		s := summarize(p)
		restarts := strconv.Itoa(s.restarts)
		if s.restarts != 0 && !s.restarted.IsZero() {
			restarts = fmt.Sprintf("%d (%s ago)", s.restarts, Age(now, s.restarted))
		}
		t.Rows = append(t.Rows, []string{
			p.Metadata.Name, fmt.Sprintf("%d/%d", s.ready, s.containers), s.reason, restarts, Age(now, p.Metadata.Created),
			cmp.Or(podIP(p.Status), "<none>"), cmp.Or(p.On(node), "<none>"), "<none>", "<none>",
		})
	}
	return t
}

func podIP(s pod.Status) string {
	if len(s.PodIPs) > 0 {
		return s.PodIPs[0].IP
	}
	return s.PodIP
}

// Reason is the word in a pod's STATUS column: Running, Init:0/1, CrashLoopBackOff, Terminating.
func Reason(p *Pod) string { return summarize(p).reason }

// A summary is what a row tells of a pod.
type summary struct {
	ready, containers int
	restarts          int
	restarted         time.Time // when the last of them was
	reason            string
}

// summarize follows printPod of the API server, case by case.
func summarize(p *Pod) summary {
	s := summary{containers: len(p.Spec.Containers), reason: cmp.Or(p.Status.Reason, p.Status.Phase, pod.Pending)}
	for _, c := range p.Status.Conditions {
		if c.Type == pod.PodScheduled && c.Reason == pod.SchedulingGated {
			s.reason = pod.SchedulingGated
		}
	}
	sidecars := map[string]bool{}
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; c.Sidecar() {
			sidecars[c.Name] = true
			s.containers++
		}
	}
	sidecarsOnly, initializing := s.initContainers(p, sidecars)
	if !initializing || isTrue(p.Status, pod.Initialized) {
		s.restarts, s.restarted = sidecarsOnly.restarts, sidecarsOnly.restarted // those of the others are over and forgotten
		s.mainContainers(p)
	}
	if p.Metadata.Deleted != nil && p.Status.Phase != pod.Succeeded && p.Status.Phase != pod.Failed {
		s.reason = "Terminating"
	}
	return s
}

// initContainers counts those up to the one that the others wait for, and tells whether there is one. The sidecars' restarts come
// back on their own.
func (s *summary) initContainers(p *Pod, sidecars map[string]bool) (sidecarsOnly summary, initializing bool) {
	for i, c := range p.Status.InitContainerStatuses {
		s.count(c)
		if sidecars[c.Name] {
			sidecarsOnly.count(c)
		}
		switch ended, waiting := c.State.Terminated, c.State.Waiting; {
		case ended != nil && ended.ExitCode == 0:
			continue
		case sidecars[c.Name] && c.Started != nil && *c.Started:
			if c.Ready {
				s.ready++
			}
			continue
		case ended != nil:
			s.reason = "Init:" + terminated(ended)
		case waiting != nil && waiting.Reason != "" && waiting.Reason != pod.PodInitializing:
			s.reason = "Init:" + waiting.Reason
		default:
			s.reason = fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
		}
		return sidecarsOnly, true
	}
	return sidecarsOnly, false
}

func (s *summary) mainContainers(p *Pod) {
	running := false
	for i := len(p.Status.ContainerStatuses) - 1; i >= 0; i-- { // the first that has something to say has the last word
		c := p.Status.ContainerStatuses[i]
		s.count(c)
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			s.reason = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			s.reason = terminated(c.State.Terminated)
		case c.Ready && c.State.Running != nil:
			running = true
			s.ready++
		}
	}
	if s.reason == pod.Completed && running {
		s.reason = "NotReady"
		if isTrue(p.Status, pod.Ready) {
			s.reason = pod.Running
		}
	}
}

func (s *summary) count(c pod.ContainerStatus) {
	s.restarts += int(c.RestartCount)
	if ended := c.LastState.Terminated; ended != nil && ended.FinishedAt.After(s.restarted) {
		s.restarted = ended.FinishedAt
	}
}

func terminated(t *pod.Terminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

func isTrue(s pod.Status, condition string) bool {
	for _, c := range s.Conditions {
		if c.Type == condition {
			return c.Status == pod.ConditionTrue
		}
	}
	return false
}

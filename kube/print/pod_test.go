package print_test

import (
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/pod"
)

var now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func waits(reason string) pod.ContainerState {
	return pod.ContainerState{Waiting: &pod.Waiting{Reason: reason}}
}

func runs() pod.ContainerState {
	return pod.ContainerState{Running: &pod.RunningSince{StartedAt: ago(time.Minute)}}
}

func ended(code int32, reason string) pod.ContainerState {
	return pod.ContainerState{Terminated: &pod.Terminated{ExitCode: code, Reason: reason, FinishedAt: ago(time.Minute)}}
}

func killed(signal int32) pod.ContainerState {
	return pod.ContainerState{Terminated: &pod.Terminated{ExitCode: 128 + signal, Signal: signal}}
}

// A story is a pod in a few words.
type story struct {
	init, main []pod.ContainerStatus
	phase      string
	sidecars   int // so many of init are, the first ones
	initial    int // init containers in all, where more than init
	conditions []pod.Condition
	deleted    bool
	reason     string
}

func (s story) pod() print.Pod {
	always := "Always"
	p := print.Pod{Status: pod.Status{Phase: s.phase, Reason: s.reason, Conditions: s.conditions}}
	p.Metadata = pod.Metadata{Name: "web", Namespace: "default", Created: ago(90 * time.Second)}
	for i := range max(len(s.init), s.initial) {
		c := pod.Container{Name: string(rune('i' + i))}
		if i < s.sidecars {
			c.RestartPolicy = &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	for i := range s.init {
		s.init[i].Name = string(rune('i' + i))
	}
	p.Status.InitContainerStatuses, p.Status.ContainerStatuses = s.init, s.main
	for i := range s.main {
		s.main[i].Name = string(rune('a' + i))
		p.Spec.Containers = append(p.Spec.Containers, pod.Container{Name: s.main[i].Name})
	}
	if s.deleted {
		at := ago(time.Second)
		p.Metadata.Deleted = &at
	}
	return p
}

// TestPods walks the cases of the API server's printPod.
func TestPods(t *testing.T) {
	yes := true
	ready := []pod.Condition{{Type: pod.Initialized, Status: "True"}, {Type: pod.Ready, Status: "True"}}
	for name, c := range map[string]struct {
		story
		want string // READY STATUS RESTARTS
	}{
		"running":            {story{phase: "Running", main: []pod.ContainerStatus{{State: runs(), Ready: true}, {State: runs(), Ready: true}}}, "2/2|Running|0"},
		"one is not ready":   {story{phase: "Running", main: []pod.ContainerStatus{{State: runs(), Ready: true}, {State: runs()}}}, "1/2|Running|0"},
		"no status yet":      {story{main: nil}, "0/0|Pending|0"},
		"creating":           {story{phase: "Pending", main: []pod.ContainerStatus{{State: waits("ContainerCreating")}}}, "0/1|ContainerCreating|0"},
		"no image":           {story{phase: "Pending", main: []pod.ContainerStatus{{State: waits("ImagePullBackOff")}, {State: runs(), Ready: true}}}, "1/2|ImagePullBackOff|0"},
		"the first speaks":   {story{phase: "Pending", main: []pod.ContainerStatus{{State: waits("ErrImagePull")}, {State: waits("CrashLoopBackOff")}}}, "0/2|ErrImagePull|0"},
		"crash loop":         {story{phase: "Running", main: []pod.ContainerStatus{{State: waits("CrashLoopBackOff"), LastState: ended(1, "Error"), RestartCount: 3}}}, "0/1|CrashLoopBackOff|3 (60s ago)"},
		"restarts, no time":  {story{phase: "Running", main: []pod.ContainerStatus{{State: runs(), Ready: true, RestartCount: 2}}}, "1/1|Running|2"},
		"completed":          {story{phase: "Succeeded", main: []pod.ContainerStatus{{State: ended(0, "Completed")}}}, "0/1|Completed|0"},
		"failed":             {story{phase: "Failed", main: []pod.ContainerStatus{{State: ended(3, "Error")}}}, "0/1|Error|0"},
		"oom":                {story{phase: "Failed", main: []pod.ContainerStatus{{State: ended(137, "OOMKilled")}}}, "0/1|OOMKilled|0"},
		"exit code":          {story{phase: "Failed", main: []pod.ContainerStatus{{State: ended(3, "")}}}, "0/1|ExitCode:3|0"},
		"signal":             {story{phase: "Failed", main: []pod.ContainerStatus{{State: killed(9)}}}, "0/1|Signal:9|0"},
		"completed, ready":   {story{phase: "Running", conditions: ready, main: []pod.ContainerStatus{{State: ended(0, "Completed")}, {State: runs(), Ready: true}}}, "1/2|Running|0"},
		"completed, unready": {story{phase: "Running", main: []pod.ContainerStatus{{State: ended(0, "Completed")}, {State: runs(), Ready: true}}}, "1/2|NotReady|0"},
		"init runs":          {story{phase: "Pending", initial: 2, init: []pod.ContainerStatus{{State: runs()}, {State: waits("PodInitializing")}}, main: []pod.ContainerStatus{{State: waits("PodInitializing")}}}, "0/1|Init:0/2|0"},
		"second init":        {story{phase: "Pending", init: []pod.ContainerStatus{{State: ended(0, "Completed")}, {State: runs()}}, main: []pod.ContainerStatus{{State: waits("PodInitializing")}}}, "0/1|Init:1/2|0"},
		"init crashes":       {story{phase: "Pending", init: []pod.ContainerStatus{{State: waits("CrashLoopBackOff"), RestartCount: 4, LastState: ended(1, "Error")}}, main: []pod.ContainerStatus{{State: waits("PodInitializing")}}}, "0/1|Init:CrashLoopBackOff|4 (60s ago)"},
		"init failed":        {story{phase: "Failed", init: []pod.ContainerStatus{{State: ended(1, "Error")}}, main: []pod.ContainerStatus{{State: waits("PodInitializing")}}}, "0/1|Init:Error|0"},
		"init exit code":     {story{phase: "Pending", init: []pod.ContainerStatus{{State: ended(7, "")}}, main: []pod.ContainerStatus{{}}}, "0/1|Init:ExitCode:7|0"},
		"init signal":        {story{phase: "Pending", init: []pod.ContainerStatus{{State: killed(9)}}, main: []pod.ContainerStatus{{}}}, "0/1|Init:Signal:9|0"},
		"init done":          {story{phase: "Pending", init: []pod.ContainerStatus{{State: ended(0, "Completed"), RestartCount: 5}}, main: []pod.ContainerStatus{{State: waits("PodInitializing")}}}, "0/1|PodInitializing|0"},
		"sidecar":            {story{phase: "Running", sidecars: 1, init: []pod.ContainerStatus{{State: runs(), Started: &yes, Ready: true, RestartCount: 1, LastState: ended(1, "")}}, main: []pod.ContainerStatus{{State: runs(), Ready: true}}}, "2/2|Running|1 (60s ago)"},
		"sidecar starts":     {story{phase: "Pending", sidecars: 1, init: []pod.ContainerStatus{{State: runs()}}, main: []pod.ContainerStatus{{State: waits("PodInitializing")}}}, "0/2|Init:0/1|0"},
		"sidecar again":      {story{phase: "Running", conditions: ready, sidecars: 1, init: []pod.ContainerStatus{{State: waits("CrashLoopBackOff")}}, main: []pod.ContainerStatus{{State: runs(), Ready: true}}}, "1/2|Init:CrashLoopBackOff|0"},
		"terminating":        {story{phase: "Running", deleted: true, main: []pod.ContainerStatus{{State: runs(), Ready: true}}}, "1/1|Terminating|0"},
		"deleted, completed": {story{phase: "Succeeded", deleted: true, main: []pod.ContainerStatus{{State: ended(0, "Completed")}}}, "0/1|Completed|0"},
		"evicted":            {story{phase: "Failed", reason: "DeadlineExceeded", main: []pod.ContainerStatus{{}}}, "0/1|DeadlineExceeded|0"},
	} {
		t.Run(name, func(t *testing.T) {
			row := print.Pods([]print.Pod{c.pod()}, "box", now).Rows[0]
			if got := strings.Join(row[1:4], "|"); got != c.want || row[0] != "web" || row[4] != "90s" || row[5] != "<none>" || row[6] != "box" {
				t.Errorf("%v, want %s", row, c.want)
			}
		})
	}
}

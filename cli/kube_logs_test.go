package cli

import (
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/pod"
)

// Whose log is meant, and what the kubelet says where there is none.
func TestLogOf(t *testing.T) {
	waits := func(reason string) pod.ContainerState {
		return pod.ContainerState{Waiting: &pod.Waiting{Reason: reason}}
	}
	ended := func(id, message string) pod.ContainerState {
		return pod.ContainerState{Terminated: &pod.Terminated{ContainerID: id, Message: message}}
	}
	runs := pod.ContainerState{Running: &pod.RunningSince{}}
	for name, tt := range map[string]struct {
		status          pod.ContainerStatus
		current, before string // the id, or the end of the error
	}{
		"runs":                    {pod.ContainerStatus{ContainerID: "a", State: runs}, "a", "not found"},
		"runs again":              {pod.ContainerStatus{ContainerID: "a", State: runs, LastState: ended("b", "")}, "a", "b"},
		"has ended":               {pod.ContainerStatus{ContainerID: "a", State: ended("a", "")}, "a", "not found"},
		"its postStart hook runs": {pod.ContainerStatus{ContainerID: "b", State: waits(pod.ContainerCreating), LastState: ended("a", "")}, "b", "a"},
		"could not twice":         {pod.ContainerStatus{ContainerID: "a", State: waits(pod.CrashLoopBackOff), LastState: ended("", "no such file")}, "is terminated: no such file", "not found"},
		"waits to run again":      {pod.ContainerStatus{ContainerID: "a", State: waits(pod.CrashLoopBackOff), LastState: ended("a", "")}, "a", "a"},
		"could not be started":    {pod.ContainerStatus{State: ended("", "no such file")}, `container "c" in pod "p" is terminated: no such file`, "not found"},
		"could not, and waits":    {pod.ContainerStatus{State: waits(pod.CrashLoopBackOff), LastState: ended("", "no such file")}, "is terminated: no such file", "not found"},
		"could not be this time":  {pod.ContainerStatus{State: ended("", "no such file"), LastState: ended("b", "")}, "b", "b"},
		"has no image":            {pod.ContainerStatus{State: waits(pod.ErrImagePull)}, "is waiting to start: image can't be pulled", "not found"},
		"has none, and waits":     {pod.ContainerStatus{State: waits(pod.ImagePullBackOff)}, "is waiting to start: trying and failing to pull image", "not found"},
		"is being made":           {pod.ContainerStatus{State: waits(pod.PodInitializing)}, "is waiting to start: PodInitializing", "not found"},
		"nothing is known of it":  {pod.ContainerStatus{}, "is waiting to start: ContainerCreating", "not found"},
		"can not be made":         {pod.ContainerStatus{State: waits(pod.CreateContainerError)}, "is waiting to start: CreateContainerError", "not found"},
	} {
		tt.status.Name = "c"
		p := &print.Pod{}
		p.Metadata.Name, p.Status.ContainerStatuses = "p", []pod.ContainerStatus{tt.status}
		for previous, want := range map[bool]string{false: tt.current, true: tt.before} {
			id, err := logOf(p, "c", previous)
			if err != nil && (len(want) < 2 || !strings.HasSuffix(err.Error(), want)) || err == nil && id != want {
				t.Errorf("%s, previous %v: %q, %v; want %q", name, previous, id, err, want)
			}
		}
	}
}

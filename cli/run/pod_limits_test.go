package run

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/runtime/cgroup"
)

// TestPodLimits: what the kubelet writes for these pods, of the pod and of each of its containers.
func TestPodLimits(t *testing.T) {
	for spec, want := range map[string]string{
		// Nothing asked for is the least of the processors.
		`{"containers":[{"name":"a"}]}`: "cpu.weight=1 | cpu.weight=1",
		// A limit is a request, too, where there is no other.
		`{"containers":[{"name":"a","resources":{"limits":{"cpu":"500m","memory":"64Mi"}}},{"name":"b","resources":{"requests":{"cpu":"250m"},"limits":{"cpu":"1","memory":"32Mi"}}}]}`: "memory.swap.max=0 memory.max=100663296 cpu.weight=80 cpu.max=150000 100000 | " +
			"memory.swap.max=0 memory.max=67108864 cpu.weight=59 cpu.max=50000 100000 memory.oom.group=1 | " +
			"memory.swap.max=0 memory.max=33554432 cpu.weight=35 cpu.max=100000 100000 memory.oom.group=1",
		// One without a limit: the pod has none.
		`{"containers":[{"name":"a","resources":{"limits":{"cpu":"1m","memory":"64Mi"},"requests":{"cpu":"0"}}},{"name":"b"}]}`: "cpu.weight=1 | " +
			"memory.swap.max=0 memory.max=67108864 cpu.weight=1 cpu.max=1000 100000 memory.oom.group=1 | cpu.weight=1",
		// Init containers run before, sidecars beside.
		`{"initContainers":[{"name":"s","restartPolicy":"Always","resources":{"limits":{"memory":"10Mi"}}},{"name":"i","resources":{"limits":{"memory":"50Mi"}}}],
		  "containers":[{"name":"a","resources":{"limits":{"memory":"20Mi"}}}]}`: "memory.swap.max=0 memory.max=62914560 cpu.weight=1 | " +
			"memory.swap.max=0 memory.max=10485760 cpu.weight=1 memory.oom.group=1 | memory.swap.max=0 memory.max=52428800 cpu.weight=1 memory.oom.group=1 | " +
			"memory.swap.max=0 memory.max=20971520 cpu.weight=1 memory.oom.group=1",
		// The pod's own, of one resource; of the other the sum. Who has no limit has the pod's.
		`{"resources":{"limits":{"memory":"100Mi"}},"containers":[{"name":"a","resources":{"limits":{"cpu":"1"}}},{"name":"b","resources":{"limits":{"cpu":"1","memory":"20Mi"}}}]}`: "memory.swap.max=0 memory.max=104857600 cpu.weight=174 cpu.max=200000 100000 | " +
			"memory.swap.max=0 memory.max=104857600 cpu.weight=100 cpu.max=100000 100000 memory.oom.group=1 | " +
			"memory.swap.max=0 memory.max=20971520 cpu.weight=100 cpu.max=100000 100000 memory.oom.group=1",
	} {
		var p pod.Pod
		if err := json.Unmarshal([]byte(spec), &p.Spec); err != nil {
			t.Fatal(err)
		}
		limits := []string{words(t, podLimits(&p))}
		for _, list := range [][]pod.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for i := range list {
				limits = append(limits, words(t, containerLimits(&p, &list[i])))
			}
		}
		if got := strings.Join(limits, " | "); got != want {
			t.Errorf("%s\n got %s\nwant %s", spec, got, want)
		}
	}
}

// TestOOMScores: what the kubelet writes, on a machine of 1000 MiB.
func TestOOMScores(t *testing.T) {
	for spec, want := range map[string]string{
		`{"containers":[{"name":"a"}]}`: "1000",
		`{"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"64Mi"}}}]}`: "as ours",
		// By its share of the memory; nobody is as bad as BestEffort, nor as good as Guaranteed.
		`{"containers":[{"name":"a","resources":{"requests":{"memory":"100Mi"}}},{"name":"b","resources":{"requests":{"cpu":"1"}}},{"name":"c","resources":{"requests":{"memory":"1Gi"}}}]}`: "900 999 3",
		// A limit is a request, too.
		`{"containers":[{"name":"a","resources":{"limits":{"memory":"200Mi"}}}]}`: "800",
		// A sidecar is no worse than the smallest container; another init container is as it is.
		`{"initContainers":[{"name":"s","restartPolicy":"Always"},{"name":"t","restartPolicy":"Always","resources":{"requests":{"memory":"500Mi"}}},{"name":"i"}],
		  "containers":[{"name":"a","resources":{"requests":{"memory":"100Mi"}}},{"name":"b","resources":{"requests":{"memory":"300Mi"}}}]}`: "900 500 999 900 700",
		// What the pod has left is parted among all.
		`{"resources":{"requests":{"memory":"500Mi"}},"containers":[{"name":"a","resources":{"requests":{"memory":"100Mi"}}},{"name":"b"}]}`:              "700 800",
		`{"resources":{"requests":{"memory":"50Mi"},"limits":{"memory":"500Mi"}},"containers":[{"name":"a"},{"name":"b"}]}`:                               "975 975",
		`{"resources":{"limits":{"cpu":"1","memory":"500Mi"}},"containers":[{"name":"a"}]}`:                                                               "as ours",
		`{"resources":{"requests":{"memory":"300Mi"}},"initContainers":[{"name":"s","restartPolicy":"Always"}],"containers":[{"name":"a"},{"name":"b"}]}`: "900 900 900",
	} {
		var p pod.Pod
		if err := json.Unmarshal([]byte(spec), &p.Spec); err != nil {
			t.Fatal(err)
		}
		var scores []string
		for _, list := range [][]pod.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for i := range list {
				score := "as ours"
				if s := oomScoreOf(&p, &list[i], 1000<<20); s != nil {
					score = fmt.Sprint(*s)
				}
				scores = append(scores, score)
			}
		}
		if got := strings.Join(scores, " "); got != want {
			t.Errorf("%s\n got %s\nwant %s", spec, got, want)
		}
	}
}

func words(t *testing.T, r *specs.LinuxResources) string {
	t.Helper()
	writes, err := cgroup.Writes(r)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, w := range writes {
		list = append(list, fmt.Sprintf("%s=%s", w.File, w.Value))
	}
	return strings.Join(list, " ")
}

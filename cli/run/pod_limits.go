package run

import (
	"cmp"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/pod"
)

// The kubelet's numbers (pkg/kubelet/cm/helpers_linux.go).
const (
	leastShares = 2
	mostShares  = 262144
	cpuPeriod   = 100_000 // microseconds
	leastQuota  = 1000
)

// A demand is what a container, or a pod, asks for. 0 is nothing.
type demand struct {
	cpuRequest, cpuLimit int64 // thousandths of a processor
	memoryLimit          int64 // bytes
	memoryRequest        int64 // bytes: whom the kernel ends first, see oomScoreOf
}

// demandOf reads a container's resources, or a pod's. A limit is also a request where there is no other, as the API server has it.
func demandOf(r pod.Resources) demand {
	d := demand{milliOf(r.Requests, "cpu"), milliOf(r.Limits, "cpu"), valueOf(r.Limits, "memory"), valueOf(r.Requests, "memory")}
	if _, ok := r.Requests["cpu"]; !ok {
		d.cpuRequest = d.cpuLimit
	}
	if _, ok := r.Requests["memory"]; !ok {
		d.memoryRequest = d.memoryLimit
	}
	return d
}

// and is what two ask for that run side by side.
func (d demand) and(e demand) demand {
	return demand{d.cpuRequest + e.cpuRequest, d.cpuLimit + e.cpuLimit, d.memoryLimit + e.memoryLimit, d.memoryRequest + e.memoryRequest}
}

// or is what two ask for that run one after the other.
func (d demand) or(e demand) demand {
	return demand{
		max(d.cpuRequest, e.cpuRequest), max(d.cpuLimit, e.cpuLimit), max(d.memoryLimit, e.memoryLimit), max(d.memoryRequest, e.memoryRequest),
	}
}

// limits translates it as the kubelet does: no swap beside the memory, and a share of the processors for what is requested, the least one for
// nothing.
func (d demand) limits() *specs.LinuxResources {
	shares := uint64(min(max(d.cpuRequest*1024/1000, leastShares), mostShares))
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &shares}}
	if d.cpuLimit > 0 {
		quota, period := max(d.cpuLimit*cpuPeriod/1000, leastQuota), uint64(cpuPeriod)
		r.CPU.Quota, r.CPU.Period = &quota, &period
	}
	if d.memoryLimit > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &d.memoryLimit, Swap: &d.memoryLimit}
	}
	return r
}

// asks tells whether limits say more than that nothing was asked for.
func asks(r *specs.LinuxResources) bool {
	return r != nil && (r.Memory != nil || r.CPU != nil && (r.CPU.Quota != nil || *r.CPU.Shares > leastShares))
}

// containerLimits are a container's. One without a limit has the whole pod's.
func containerLimits(p *pod.Pod, c *pod.Container) *specs.LinuxResources {
	d := demandOf(c.Resources)
	if p.Spec.Resources != nil {
		whole := demandOf(*p.Spec.Resources)
		d.cpuLimit, d.memoryLimit = cmp.Or(d.cpuLimit, whole.cpuLimit), cmp.Or(d.memoryLimit, whole.memoryLimit)
	}
	r := d.limits()
	if r.Memory != nil {
		// Where memory ends, all of the container's processes end with the one that the kernel chooses: half a container helps nobody.
		r.Unified = map[string]string{"memory.oom.group": "1"}
	}
	return r
}

// together is what a pod's containers ask for (AggregateContainerRequests and AggregateContainerLimits of component-helpers).
func together(p *pod.Pod) demand {
	var beside, all demand
	for i := range p.Spec.InitContainers { // one after the other, beside the sidecars that were started before
		one := beside.and(demandOf(p.Spec.InitContainers[i].Resources))
		if p.Spec.InitContainers[i].Sidecar() {
			beside = one
		}
		all = all.or(one)
	}
	for i := range p.Spec.Containers {
		beside = beside.and(demandOf(p.Spec.Containers[i].Resources))
	}
	return all.or(beside)
}

// podLimits are those of the pod as a whole: of each resource its own, or what its containers need together (the API server's PodRequests and
// PodLimits).
func podLimits(p *pod.Pod) *specs.LinuxResources {
	all := together(p)
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		one := demandOf(c.Resources)
		if one.cpuLimit == 0 { // and so they have none together
			all.cpuLimit = 0
		}
		if one.memoryLimit == 0 {
			all.memoryLimit = 0
		}
	}
	if p.Spec.Resources != nil {
		whole := demandOf(*p.Spec.Resources)
		all.cpuRequest, all.cpuLimit = cmp.Or(whole.cpuRequest, all.cpuRequest), cmp.Or(whole.cpuLimit, all.cpuLimit)
		all.memoryLimit = cmp.Or(whole.memoryLimit, all.memoryLimit)
	}
	return all.limits()
}

// oomScoreOf is whom the kernel ends first when the machine has no memory left, by the pod's quality of service and by how much of the memory was asked
// for (GetContainerOOMScoreAdjust of pkg/kubelet/qos). It is nil for Guaranteed: such a one keeps our own score, less than which only root could make it.
func oomScoreOf(p *pod.Pod, c *pod.Container, machine int64) *int {
	const least, most = 3, 1000 // a Burstable one comes after all Guaranteed and before all BestEffort ones
	score := most
	switch p.QOSClass() {
	case pod.Guaranteed:
		return nil
	case pod.Burstable:
		if machine > 0 {
			score -= int(1000 * memoryClaim(p, c) / machine)
		}
		score = min(max(score, least), most-1)
	}
	return &score
}

// memoryClaim is how much memory a container counts as having asked for: its own, and its part of what the pod asked for and gave to none. A sidecar
// counts at least as much as the smallest container, which should not outlive it.
func memoryClaim(p *pod.Pod, c *pod.Container) int64 {
	claim := demandOf(c.Resources).memoryRequest
	if c.Sidecar() && len(p.Spec.Containers) > 0 {
		smallest := slices.MinFunc(p.Spec.Containers, func(a, b pod.Container) int {
			return cmp.Compare(demandOf(a.Resources).memoryRequest, demandOf(b.Resources).memoryRequest)
		})
		claim = max(claim, demandOf(smallest.Resources).memoryRequest)
	}
	if p.Spec.Resources != nil {
		rest := max(demandOf(*p.Spec.Resources).memoryRequest-together(p).memoryRequest, 0)
		claim += rest / int64(len(p.Spec.Containers)+len(p.Spec.InitContainers))
	}
	return claim
}

func valueOf(list map[string]pod.Quantity, name string) int64 {
	q, ok := list[name]
	if !ok {
		return 0
	}
	return q.Value()
}

func milliOf(list map[string]pod.Quantity, name string) int64 {
	q, ok := list[name]
	if !ok {
		return 0
	}
	return q.MilliValue()
}

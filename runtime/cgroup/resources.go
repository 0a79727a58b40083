package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Write is one value for one file of a group.
type Write struct {
	File, Value string

	// Or is what to write where the kernel has no such File; nil for nothing.
	Or *Write
}

// Controller returns the name of the controller that the file belongs to. The files of "cgroup" itself are always there.
func (w Write) Controller() string {
	name, _, _ := strings.Cut(w.File, ".")
	return name
}

// Writes translates limits to what cgroup v2 calls them. The runtime specification speaks of cgroup v1; where the two differ
// we convert as runc and crun do. Limits that v2 does not have are errors. Device rules are left out: v2 has them as BPF programs
// that an ordinary user can't load, and a user namespace has no device nodes to guard.
func Writes(r *specs.LinuxResources) ([]Write, error) {
	if r == nil {
		return nil, nil
	}
	if r.Network != nil && (r.Network.ClassID != nil || len(r.Network.Priorities) > 0) {
		return nil, errors.New("cgroup v2 does not mark network packets (net_cls, net_prio)")
	}
	var list []Write
	for _, part := range []func(*specs.LinuxResources) ([]Write, error){memoryWrites, cpuWrites, pidsWrites, ioWrites, otherWrites} {
		writes, err := part(r)
		if err != nil {
			return nil, err
		}
		list = append(list, writes...)
	}
	return list, nil
}

// Controllers returns the controllers that keep these limits, each once.
func Controllers(r *specs.LinuxResources) ([]string, error) {
	writes, err := Writes(r)
	return controllers(writes), err
}

func controllers(writes []Write) (names []string) {
	for _, w := range writes {
		if c := w.Controller(); c != "cgroup" && !slices.Contains(names, c) {
			names = append(names, c)
		}
	}
	return names
}

func memoryWrites(r *specs.LinuxResources) (list []Write, err error) {
	m := r.Memory
	switch {
	case m == nil:
		return nil, nil
	case m.Swappiness != nil:
		return nil, errors.New("cgroup v2 has no swappiness for a group")
	case m.DisableOOMKiller != nil && *m.DisableOOMKiller:
		return nil, errors.New("cgroup v2 can't switch the OOM killer off")
	}
	limit, swap := value(m.Limit), value(m.Swap)
	if limit < -1 || swap < -1 || value(m.Reservation) < -1 {
		return nil, errors.New("a memory limit is negative")
	}
	// v1 limits memory and swap together; v2 limits each. Unlimited memory without a word on swap is both, as it was in v1.
	switch {
	case limit == -1 && swap == 0:
		swap = -1
	case swap > 0 && limit == 0:
		return nil, errors.New("a limit of memory and swap together needs one of memory")
	case swap > 0 && limit > 0 && swap < limit:
		return nil, fmt.Errorf("the limit of memory and swap together, %d, is below that of memory, %d", swap, limit)
	case swap > 0 && limit > 0:
		list = append(list, Write{File: "memory.swap.max", Value: strconv.FormatInt(swap-limit, 10)})
		swap = 0
	}
	if swap != 0 {
		list = append(list, Write{File: "memory.swap.max", Value: orMax(swap)})
	}
	if limit != 0 {
		list = append(list, Write{File: "memory.max", Value: orMax(limit)}) // LAB: memory-max
	}
	if low := value(m.Reservation); low != 0 {
		list = append(list, Write{File: "memory.low", Value: strconv.FormatInt(max(low, 0), 10)}) // -1 is no reservation
	}
	return list, nil
}

func cpuWrites(r *specs.LinuxResources) (list []Write, err error) {
	c := r.CPU
	if c == nil {
		return nil, nil
	}
	if value(c.RealtimeRuntime) != 0 || value(c.RealtimePeriod) != 0 {
		return nil, errors.New("cgroup v2 has no real-time scheduling for a group")
	}
	if c.Idle != nil {
		list = append(list, Write{File: "cpu.idle", Value: strconv.FormatInt(*c.Idle, 10)})
	}
	if weight := CPUWeight(value(c.Shares)); weight != 0 {
		list = append(list, Write{File: "cpu.weight", Value: strconv.FormatUint(weight, 10)})
	}
	if quota, period := value(c.Quota), value(c.Period); quota != 0 || period != 0 {
		if period == 0 {
			period = 100_000 // the kernel's default, in microseconds
		}
		text := "max"
		if quota > 0 {
			text = strconv.FormatInt(quota, 10)
		}
		list = append(list, Write{File: "cpu.max", Value: text + " " + strconv.FormatUint(period, 10)})
	}
	if c.Burst != nil {
		list = append(list, Write{File: "cpu.max.burst", Value: strconv.FormatUint(*c.Burst, 10)})
	}
	if c.Cpus != "" {
		list = append(list, Write{File: "cpuset.cpus", Value: c.Cpus})
	}
	if c.Mems != "" {
		list = append(list, Write{File: "cpuset.mems", Value: c.Mems})
	}
	return list, nil
}

// CPUWeight converts cpu.shares of v1 (2 to 262144, 1024 where nobody says) to cpu.weight of v2 (1 to 10000, 100 where nobody
// says) by the quadratic function through these three points, as runc and crun do by now. The straight line
// that they had before made 39 of the default, so that a container with v1's default had less than one without. 0 stays 0: not set.
func CPUWeight(shares uint64) uint64 {
	switch {
	case shares == 0:
		return 0
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

func pidsWrites(r *specs.LinuxResources) ([]Write, error) {
	if r.Pids == nil || r.Pids.Limit == nil {
		return nil, nil
	}
	limit := *r.Pids.Limit
	if limit < 0 {
		limit = -1
	}
	return []Write{{File: "pids.max", Value: orMax(limit)}}, nil
}

func ioWrites(r *specs.LinuxResources) (list []Write, err error) {
	b := r.BlockIO
	if b == nil {
		return nil, nil
	}
	if value(b.LeafWeight) != 0 {
		return nil, errors.New("cgroup v2 has no leaf weight")
	}
	weight := func(prefix string, w uint16) error {
		if w < 10 || w > 1000 {
			return fmt.Errorf("the block I/O weight %d is not from 10 to 1000", w)
		}
		list = append(list, Write{
			File: "io.bfq.weight", Value: prefix + strconv.FormatUint(uint64(w), 10),
			Or: &Write{File: "io.weight", Value: prefix + strconv.FormatUint(IOWeight(w), 10)},
		})
		return nil
	}
	if w := value(b.Weight); w != 0 {
		if err := weight("", w); err != nil {
			return nil, err
		}
	}
	for _, device := range b.WeightDevice {
		if value(device.LeafWeight) != 0 || device.Weight == nil {
			return nil, errors.New("cgroup v2 has no leaf weight")
		}
		if err := weight(fmt.Sprintf("%d:%d ", device.Major, device.Minor), *device.Weight); err != nil {
			return nil, err
		}
	}
	return append(list, ioMax(b)...), nil
}

// IOWeight converts blkio.weight of v1 (10 to 1000) to io.weight of v2 (1 to 10000), along a straight line.
func IOWeight(weight uint16) uint64 { return 1 + (uint64(max(weight, 10))-10)*9999/990 }

// ioMax has one line a device, in the order in which they are first named. A rate of 0 is none.
func ioMax(b *specs.LinuxBlockIO) (list []Write) {
	for _, limits := range []struct {
		key     string
		devices []specs.LinuxThrottleDevice
	}{
		{"rbps", b.ThrottleReadBpsDevice},
		{"wbps", b.ThrottleWriteBpsDevice},
		{"riops", b.ThrottleReadIOPSDevice},
		{"wiops", b.ThrottleWriteIOPSDevice},
	} {
		for _, d := range limits.devices {
			device := fmt.Sprintf("%d:%d ", d.Major, d.Minor)
			i := slices.IndexFunc(list, func(w Write) bool { return strings.HasPrefix(w.Value, device) })
			if i < 0 {
				i = len(list)
				list = append(list, Write{File: "io.max", Value: strings.TrimSpace(device)})
			}
			rate := "max"
			if d.Rate != 0 {
				rate = strconv.FormatUint(d.Rate, 10)
			}
			list[i].Value += " " + limits.key + "=" + rate
		}
	}
	return list
}

func otherWrites(r *specs.LinuxResources) (list []Write, err error) {
	for _, h := range r.HugepageLimits {
		list = append(list, Write{File: "hugetlb." + h.Pagesize + ".max", Value: strconv.FormatUint(h.Limit, 10)})
	}
	for _, device := range slices.Sorted(maps.Keys(r.Rdma)) {
		limits := device
		if n := r.Rdma[device].HcaHandles; n != nil {
			limits += fmt.Sprintf(" hca_handle=%d", *n)
		}
		if n := r.Rdma[device].HcaObjects; n != nil {
			limits += fmt.Sprintf(" hca_object=%d", *n)
		}
		list = append(list, Write{File: "rdma.max", Value: limits})
	}
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		list = append(list, Write{File: file, Value: r.Unified[file]})
	}
	for _, w := range list { // these names are the specification's author's; they must stay in the group, and not move us
		if strings.Contains(w.File, "/") || !strings.Contains(w.File, ".") || strings.HasPrefix(w.File, ".") || w.Controller() == "cgroup" {
			return nil, fmt.Errorf("%q is no file of a limit", w.File)
		}
	}
	return list, nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func orMax(n int64) string {
	if n == -1 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

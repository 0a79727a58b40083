package cgroup

import (
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func p[T any](v T) *T { return &v }

func memory(limit, swap, reservation int64) *specs.LinuxResources {
	m := &specs.LinuxMemory{}
	for _, v := range []struct {
		to *(*int64)
		n  int64
	}{{&m.Limit, limit}, {&m.Swap, swap}, {&m.Reservation, reservation}} {
		if v.n != 0 {
			*v.to = p(v.n)
		}
	}
	return &specs.LinuxResources{Memory: m}
}

func cpu(c specs.LinuxCPU) *specs.LinuxResources { return &specs.LinuxResources{CPU: &c} }

func cpuset(cpus string) *specs.LinuxCPU { return &specs.LinuxCPU{Cpus: cpus} }

func ioWeight(w uint16) *specs.LinuxBlockIO { return &specs.LinuxBlockIO{Weight: &w} }

func throttle(major, minor int64, rate uint64) []specs.LinuxThrottleDevice {
	d := specs.LinuxThrottleDevice{Rate: rate}
	d.Major, d.Minor = major, minor
	return []specs.LinuxThrottleDevice{d}
}

func TestWrites(t *testing.T) {
	weighted := specs.LinuxWeightDevice{Weight: p(uint16(1000))}
	weighted.Major, weighted.Minor = 8, 16
	for name, tt := range map[string]struct {
		r    *specs.LinuxResources
		want string // file=value, and |file=value where there is an Or
	}{
		"nothing":                    {nil, ""},
		"nothing in it":              {&specs.LinuxResources{Memory: &specs.LinuxMemory{}, CPU: &specs.LinuxCPU{}, Pids: &specs.LinuxPids{}, BlockIO: &specs.LinuxBlockIO{}}, ""},
		"memory":                     {memory(1<<20, 0, 0), "memory.max=1048576"},
		"memory and as much swap":    {memory(100, 200, 0), "memory.swap.max=100 memory.max=100"},
		"memory without swap":        {memory(100, 100, 0), "memory.swap.max=0 memory.max=100"},
		"memory, unlimited swap":     {memory(100, -1, 0), "memory.swap.max=max memory.max=100"},
		"unlimited memory":           {memory(-1, 0, 0), "memory.swap.max=max memory.max=max"},
		"unlimited memory, not swap": {memory(-1, 100, 0), "memory.swap.max=100 memory.max=max"},
		"unlimited swap alone":       {memory(0, -1, 0), "memory.swap.max=max"},
		"reservation":                {memory(0, 0, 50), "memory.low=50"},
		"no reservation":             {memory(0, 0, -1), "memory.low=0"},
		"half a processor":           {cpu(specs.LinuxCPU{Quota: p(int64(50000)), Period: p(uint64(100000))}), "cpu.max=50000_100000"},
		"a quota":                    {cpu(specs.LinuxCPU{Quota: p(int64(50000))}), "cpu.max=50000_100000"},
		"a period":                   {cpu(specs.LinuxCPU{Period: p(uint64(50000))}), "cpu.max=max_50000"},
		"no quota":                   {cpu(specs.LinuxCPU{Quota: p(int64(-1))}), "cpu.max=max_100000"},
		"shares":                     {cpu(specs.LinuxCPU{Shares: p(uint64(1024))}), "cpu.weight=100"},
		"no shares":                  {cpu(specs.LinuxCPU{Shares: p(uint64(0))}), ""},
		"burst, idle":                {cpu(specs.LinuxCPU{Burst: p(uint64(7)), Idle: p(int64(1))}), "cpu.idle=1 cpu.max.burst=7"},
		"cpuset":                     {cpu(specs.LinuxCPU{Cpus: "0-1,3", Mems: "0"}), "cpuset.cpus=0-1,3 cpuset.mems=0"},
		"pids":                       {&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: p(int64(20))}}, "pids.max=20"},
		"no limit of pids":           {&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: p(int64(-1))}}, "pids.max=max"},
		"block I/O weight": {
			&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: p(uint16(10)), WeightDevice: []specs.LinuxWeightDevice{weighted}}},
			"io.bfq.weight=10|io.weight=1 io.bfq.weight=8:16_1000|io.weight=8:16_10000",
		},
		"block I/O rates": {
			&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{
				ThrottleReadBpsDevice: throttle(8, 1, 1), ThrottleWriteBpsDevice: throttle(8, 16, 2),
				ThrottleReadIOPSDevice: throttle(8, 1, 3), ThrottleWriteIOPSDevice: throttle(8, 16, 0),
			}},
			"io.max=8:1_rbps=1_riops=3 io.max=8:16_wbps=2_wiops=max",
		},
		"others": {&specs.LinuxResources{
			HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4}},
			Rdma:           map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: p(uint32(2)), HcaObjects: p(uint32(3))}},
			Unified:        map[string]string{"memory.high": "9", "cpu.uclamp.max": "50"},
		}, "hugetlb.2MB.max=4 rdma.max=mlx5_1_hca_handle=2_hca_object=3 cpu.uclamp.max=50 memory.high=9"},
	} {
		t.Run(name, func(t *testing.T) {
			writes, err := Writes(tt.r)
			if err != nil {
				t.Fatal(err)
			}
			var list []string
			for _, w := range writes {
				text := w.File + "=" + w.Value
				if w.Or != nil {
					text += "|" + w.Or.File + "=" + w.Or.Value
				}
				list = append(list, strings.ReplaceAll(text, " ", "_"))
			}
			if got := strings.Join(list, " "); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestWritesRefuses(t *testing.T) {
	for want, r := range map[string]*specs.LinuxResources{
		"needs one of memory":  memory(0, 100, 0),
		"is below":             memory(100, 99, 0),
		"negative":             memory(-2, 0, 0),
		"swappiness":           {Memory: &specs.LinuxMemory{Swappiness: p(uint64(1))}},
		"OOM killer":           {Memory: &specs.LinuxMemory{DisableOOMKiller: p(true)}},
		"real-time":            cpu(specs.LinuxCPU{RealtimeRuntime: p(int64(1))}),
		"leaf weight":          {BlockIO: &specs.LinuxBlockIO{LeafWeight: p(uint16(10))}},
		"10 to 1000":           {BlockIO: &specs.LinuxBlockIO{Weight: p(uint16(9))}},
		"network":              {Network: &specs.LinuxNetwork{ClassID: p(uint32(1))}},
		`"../memory.max"`:      {Unified: map[string]string{"../memory.max": "1"}},
		`"cgroup.procs"`:       {Unified: map[string]string{"cgroup.procs": "1"}},
		`"tasks"`:              {Unified: map[string]string{"tasks": "1"}},
		`"hugetlb.../x/y.max"`: {HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "../x/y"}}},
		`".hidden"`:            {Unified: map[string]string{".hidden": "1"}},
	} {
		if writes, err := Writes(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want %s", writes, err, want)
		}
	}
}

func TestControllers(t *testing.T) {
	r := cpu(specs.LinuxCPU{Shares: p(uint64(2)), Quota: p(int64(1000)), Cpus: "0"})
	r.BlockIO = &specs.LinuxBlockIO{Weight: p(uint16(10))}
	if got, err := Controllers(r); err != nil || !reflect.DeepEqual(got, []string{"cpu", "cpuset", "io"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestCPUWeight has the values of runc's own test beside the three points that the function must meet.
func TestCPUWeight(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 0, 1: 1, 2: 1, 1024: 100, 262144: 10000, 1 << 40: 10000, 3: 2, 262143: 10000, 512: 59, 2048: 174} {
		if got := CPUWeight(shares); got != want {
			t.Errorf("%d shares weigh %d, want %d", shares, got, want)
		}
	}
	for shares := uint64(1); shares < 262144; shares++ {
		if w, next := CPUWeight(shares), CPUWeight(shares+1); w > next || w < 1 || next > 10000 {
			t.Fatalf("%d shares weigh %d, %d weigh %d", shares, w, shares+1, next)
		}
	}
}

func TestIOWeight(t *testing.T) {
	for weight, want := range map[uint16]uint64{10: 1, 500: 4950, 1000: 10000, 0: 1} {
		if got := IOWeight(weight); got != want {
			t.Errorf("%d weighs %d, want %d", weight, got, want)
		}
	}
}

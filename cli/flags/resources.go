package flags

import (
	"errors"
	"fmt"
	stdruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
)

// Resources are the limits of a container, as docker's flags name them. 0 and "" stand for what was not asked for.
type Resources struct {
	Memory, MemorySwap, MemoryReservation int64 // bytes; MemorySwap counts memory, too, and is -1 for no limit

	NanoCPUs               int64 // billionths of a processor
	CPUShares              int64
	CPUPeriod, CPUQuota    int64 // microseconds
	CpusetCPUs, CpusetMems string

	PidsLimit   int64 // -1 for no limit
	BlkioWeight uint16
	Devices     []DeviceLimit // each device once

	CgroupParent string
}

// A DeviceLimit is how much of a block device a container may use; 0 is no limit.
type DeviceLimit struct {
	Path                                   string
	ReadBps, WriteBps, ReadIOPS, WriteIOPS uint64 // bytes and operations a second
}

const (
	minMemory    = 6 << 20 // docker's: a runtime can't start a process with less
	minShares    = 2       // the kernel's, of cgroup v1, which docker's flags are named after
	maxShares    = 262144
	minPeriod    = 1000 // microseconds
	maxPeriod    = 1000000
	nanosPerCPU  = 1_000_000_000
	minNanoCPUs  = nanosPerCPU / 100
	minCPUQuota  = 1000
	defaultShare = 1024
)

// resourceFlag is a flag and what takes its value.
type resourceFlag struct {
	Flag
	set func(*Resources, string) error
}

var resourceFlags = []resourceFlag{
	{Flag{Name: "blkio-weight", Kind: String, Value: "WEIGHT", Usage: "share of block I/O, 10 to 1000"}, (*Resources).setBlkioWeight},
	{Flag{Name: "cgroup-parent", Kind: String, Value: "GROUP", Usage: "the cgroup or slice to make the container's in"}, (*Resources).setCgroupParent},
	{Flag{Name: "cpu-period", Kind: Int, Value: "MICROSECONDS", Usage: "the period that --cpu-quota counts for"}, (*Resources).setCPUPeriod},
	{Flag{Name: "cpu-quota", Kind: Int, Value: "MICROSECONDS", Usage: "processor time in each period (-1: no limit)"}, (*Resources).setCPUQuota},
	{Flag{Name: "cpu-shares", Short: "c", Kind: Int, Value: "SHARES", Usage: "share of processor time when all is used, 1024 is usual"}, (*Resources).setCPUShares},
	{Flag{Name: "cpus", Kind: String, Value: "NUMBER", Usage: "how many processors to use at most, 0.5 for half of one"}, (*Resources).setCPUs},
	{Flag{Name: "cpuset-cpus", Kind: String, Value: "LIST", Usage: "which processors to use, 0-2,5"}, (*Resources).setCpusetCPUs},
	{Flag{Name: "cpuset-mems", Kind: String, Value: "LIST", Usage: "which memory nodes to use, 0-2,5"}, (*Resources).setCpusetMems},
	{Flag{Name: "device-read-bps", Kind: Strings, Value: "DEVICE:BYTES", Usage: "read at most so much a second"}, (*Resources).addReadBps},
	{Flag{Name: "device-read-iops", Kind: Strings, Value: "DEVICE:NUMBER", Usage: "read at most so often a second"}, (*Resources).addReadIOPS},
	{Flag{Name: "device-write-bps", Kind: Strings, Value: "DEVICE:BYTES", Usage: "write at most so much a second"}, (*Resources).addWriteBps},
	{Flag{Name: "device-write-iops", Kind: Strings, Value: "DEVICE:NUMBER", Usage: "write at most so often a second"}, (*Resources).addWriteIOPS},
	{Flag{Name: "io-max", Kind: Strings, Value: "DEVICE KEY=N…", Usage: "limit a device's rbps, wbps, riops and wiops at once"}, (*Resources).addIOMax},
	{Flag{Name: "memory", Short: "m", Kind: String, Value: "BYTES", Usage: "how much memory to use at most, 512m"}, (*Resources).setMemory},
	{Flag{Name: "memory-reservation", Kind: String, Value: "BYTES", Usage: "how much memory to keep when the machine is short of it"}, (*Resources).setMemoryReservation},
	{Flag{Name: "memory-swap", Kind: String, Value: "BYTES", Usage: "memory and swap together (-1: no limit of swap)"}, (*Resources).setMemorySwap},
	{Flag{Name: "pids-limit", Kind: Int, Value: "NUMBER", Usage: "how many processes and threads at most (-1: no limit)"}, (*Resources).setPidsLimit},
}

// ResourceFlags is the table of the flags that Resources understands, sorted by name, for run and update.
func ResourceFlags() []Flag {
	table := make([]Flag, len(resourceFlags))
	for i, f := range resourceFlags {
		table[i] = f.Flag
	}
	return table
}

// Set takes the value of the flag with this name.
func (r *Resources) Set(name, value string) error {
	i := slices.IndexFunc(resourceFlags, func(f resourceFlag) bool { return f.Name == name })
	if i < 0 {
		return fmt.Errorf("--%s is no limit", name)
	}
	return resourceFlags[i].set(r, value)
}

// Check finds limits that contradict each other, when all are set. What is strange and harmless it answers as warnings.
func (r *Resources) Check() (warnings []string, err error) { return r.check(stdruntime.NumCPU()) }

func (r *Resources) check(processors int) (warnings []string, err error) {
	switch {
	case r.MemorySwap != 0 && r.Memory == 0:
		return nil, hint.Wrap(errors.New("--memory-swap limits memory and swap together, and there is no --memory"), "give --memory, too")
	case r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return nil, hint.Wrap(fmt.Errorf("--memory-swap (%d bytes) is below --memory (%d bytes)", r.MemorySwap, r.Memory),
			"give --memory-swap the sum of memory and swap, the same as --memory for no swap, or -1")
	case r.Memory > 0 && r.MemoryReservation > r.Memory:
		return nil, hint.Wrap(fmt.Errorf("--memory-reservation (%d bytes) is above --memory (%d bytes)", r.MemoryReservation, r.Memory), "reserve less")
	case r.NanoCPUs != 0 && (r.CPUPeriod != 0 || r.CPUQuota != 0):
		return nil, hint.Wrap(errors.New("--cpus says the same as --cpu-period and --cpu-quota"), "use --cpus alone")
	}
	if r.NanoCPUs > int64(processors)*nanosPerCPU {
		warnings = append(warnings, fmt.Sprintf("--cpus: this machine has %d processors, so there is no limit", processors))
	}
	return warnings, nil
}

// Spec turns the limits into the runtime specification's; nil where there are none. Devices must be there.
func (r *Resources) Spec() (*specs.LinuxResources, error) {
	s := &specs.LinuxResources{}
	some := false
	if r.Memory != 0 || r.MemoryReservation != 0 {
		some = true
		swap := r.MemorySwap
		if swap == 0 {
			swap = 2 * r.Memory // docker's default: as much swap as memory
		}
		s.Memory = &specs.LinuxMemory{Limit: nonzero(r.Memory), Swap: nonzero(swap), Reservation: nonzero(r.MemoryReservation)}
	}
	quota, period := r.CPUQuota, r.CPUPeriod
	if r.NanoCPUs != 0 {
		period = 100_000
		quota = r.NanoCPUs / (nanosPerCPU / period)
	}
	if c := (&specs.LinuxCPU{
		Shares: nonzero(uint64(r.CPUShares)), Quota: nonzero(quota), Period: nonzero(uint64(period)), Cpus: r.CpusetCPUs, Mems: r.CpusetMems,
	}); *c != (specs.LinuxCPU{}) {
		some, s.CPU = true, c
	}
	if r.PidsLimit != 0 {
		some, s.Pids = true, &specs.LinuxPids{Limit: nonzero(r.PidsLimit)}
	}
	if r.BlkioWeight != 0 || len(r.Devices) > 0 {
		b := &specs.LinuxBlockIO{Weight: nonzero(r.BlkioWeight)}
		for _, d := range r.Devices {
			if err := d.throttle(b); err != nil {
				return nil, err
			}
		}
		some, s.BlockIO = true, b
	}
	if !some {
		return nil, nil
	}
	return s, nil
}

func (d DeviceLimit) throttle(b *specs.LinuxBlockIO) error {
	major, minor, err := linux.BlockDevice(d.Path)
	if err != nil {
		return hint.Wrap(fmt.Errorf("limit a block device: %w", err), "name a whole disk (lsblk lists them)")
	}
	for _, limit := range []struct {
		rate uint64
		list *[]specs.LinuxThrottleDevice
	}{
		{d.ReadBps, &b.ThrottleReadBpsDevice},
		{d.WriteBps, &b.ThrottleWriteBpsDevice},
		{d.ReadIOPS, &b.ThrottleReadIOPSDevice},
		{d.WriteIOPS, &b.ThrottleWriteIOPSDevice},
	} {
		if limit.rate != 0 {
			t := specs.LinuxThrottleDevice{Rate: limit.rate}
			t.Major, t.Minor = int64(major), int64(minor)
			*limit.list = append(*limit.list, t)
		}
	}
	return nil
}

func nonzero[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

func (r *Resources) setMemory(value string) (err error) {
	r.Memory, err = memorySize(value)
	return err
}

func (r *Resources) setMemoryReservation(value string) (err error) {
	r.MemoryReservation, err = memorySize(value)
	return err
}

func (r *Resources) setMemorySwap(value string) (err error) {
	if value == "-1" {
		r.MemorySwap = -1
		return nil
	}
	r.MemorySwap, err = parseAmount(value)
	return err
}

func memorySize(value string) (int64, error) {
	n, err := parseAmount(value)
	if err == nil && n != 0 && n < minMemory {
		return 0, hint.Wrap(fmt.Errorf("%s is too little: minimum memory limit allowed is 6MB", value), "give 6m or more")
	}
	return n, err
}

func (r *Resources) setCPUs(value string) error {
	n, ok := parseNano(value)
	if !ok || n != 0 && n < minNanoCPUs {
		return hint.Wrap(fmt.Errorf("invalid number of processors %q", value), fmt.Sprintf("use a number from 0.01 to %d.00", stdruntime.NumCPU()))
	}
	r.NanoCPUs = n
	return nil
}

// parseNano reads a decimal number in billionths.
func parseNano(text string) (int64, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	if whole == "" {
		whole = "0"
	}
	if len(fraction) > 9 || text == "" || text == "." {
		return 0, false
	}
	w, err := strconv.ParseUint(whole, 10, 32)
	f, err2 := strconv.ParseUint(fraction+strings.Repeat("0", 9-len(fraction)), 10, 32)
	return int64(w)*nanosPerCPU + int64(f), errors.Join(err, err2) == nil && w < 1<<32
}

func (r *Resources) setCPUShares(value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n == 1 || n > maxShares {
		return hint.Wrap(fmt.Errorf("invalid shares %s", value), fmt.Sprintf("use a number from %d to %d; others have %d", minShares, maxShares, defaultShare))
	}
	r.CPUShares = n
	return nil
}

func (r *Resources) setCPUPeriod(value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n != 0 && (n < minPeriod || n > maxPeriod) {
		return hint.Wrap(fmt.Errorf("invalid period %s", value), "use microseconds from 1000 (1ms) to 1000000 (1s)")
	}
	r.CPUPeriod = n
	return nil
}

func (r *Resources) setCPUQuota(value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n > 0 && n < minCPUQuota || n < -1 {
		return hint.Wrap(fmt.Errorf("invalid quota %s", value), "use microseconds from 1000 (1ms), or -1 for no limit")
	}
	r.CPUQuota = n
	return nil
}

func (r *Resources) setCpusetCPUs(value string) (err error) {
	r.CpusetCPUs, err = cpuList(value)
	return err
}

func (r *Resources) setCpusetMems(value string) (err error) {
	r.CpusetMems, err = cpuList(value)
	return err
}

// cpuList checks the list format of cpuset(7): numbers and ranges of them, with commas in between.
func cpuList(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	for part := range strings.SplitSeq(value, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.ParseUint(from, 10, 16)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil || last < first {
			return "", hint.Wrap(fmt.Errorf("invalid list %q", value), "write numbers and ranges, like 0-2,5")
		}
	}
	return value, nil
}

func (r *Resources) setPidsLimit(value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return hint.Wrap(fmt.Errorf("invalid number %s", value), "use a number of processes, or -1 for no limit")
	}
	if n <= 0 { // docker's: 0 lifts a limit, too
		n = -1
	}
	r.PidsLimit = n
	return nil
}

func (r *Resources) setBlkioWeight(value string) error {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n != 0 && (n < 10 || n > 1000) {
		return hint.Wrap(fmt.Errorf("invalid weight %q", value), "use a number from 10 to 1000")
	}
	r.BlkioWeight = uint16(n)
	return nil
}

func (r *Resources) setCgroupParent(value string) error {
	if strings.ContainsAny(value, "\x00\n") || slices.Contains(strings.Split(value, "/"), "..") {
		return hint.Wrap(fmt.Errorf("invalid cgroup %q", value), "name a slice (my.slice), or a group's path below /sys/fs/cgroup")
	}
	r.CgroupParent = value
	if below, ok := strings.CutPrefix(value, "/sys/fs/cgroup"); ok && (below == "" || below[0] == '/') {
		r.CgroupParent = "/" + strings.TrimPrefix(below, "/") // as people copy it
	}
	return nil
}

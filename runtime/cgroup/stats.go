package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

// NoLimit stands for "max".
const NoLimit = math.MaxUint64

// Stats are a container's counts at one moment. What belongs to a controller that the group lacks is 0; Controllers tells.
type Stats struct {
	Controllers []string

	Memory struct {
		Current, Peak, Limit   uint64 // bytes; Peak is 0 before Linux 5.19
		Swap, SwapLimit        uint64
		InactiveFile           uint64 // page cache that could go at once: docker stats leaves it out of the usage
		OOMs, OOMKills, Capped uint64 // how often the limit was reached for good, processes killed for it, the limit hit at all
	}
	CPU struct {
		Usage, User, System time.Duration
		Periods, Throttled  uint64 // of cpu.max: how many there were, and in how many the quota was used up
		ThrottledTime       time.Duration
	}
	Pids struct{ Current, Limit, Refused uint64 } // threads count, too
	IO   []DeviceStats
}

// DeviceStats are the counts of one block device since the group's making.
type DeviceStats struct {
	Major, Minor           uint64
	ReadBytes, WriteBytes  uint64
	ReadCount, WriteCount  uint64
	DiscardBytes, Discards uint64
}

// Stats reads the container's counts. It answers fs.ErrNotExist when the group is gone.
func (g *Group) Stats() (*Stats, error) {
	s := &Stats{Controllers: g.Controllers()}
	r := statReader{dir: g.Path}
	if slices.Contains(s.Controllers, "memory") {
		m := &s.Memory
		m.Current, m.Peak, m.Limit = r.number("memory.current"), r.number("memory.peak"), r.number("memory.max")
		m.Swap, m.SwapLimit = r.number("memory.swap.current"), r.number("memory.swap.max")
		r.keys("memory.stat", map[string]*uint64{"inactive_file": &m.InactiveFile})
		r.keys("memory.events", map[string]*uint64{"oom": &m.OOMs, "oom_kill": &m.OOMKills, "max": &m.Capped})
	}
	c := &s.CPU // cpu.stat is there without the controller, with fewer lines
	var usage, user, system, throttled uint64
	r.keys("cpu.stat", map[string]*uint64{
		"usage_usec": &usage, "user_usec": &user, "system_usec": &system,
		"nr_periods": &c.Periods, "nr_throttled": &c.Throttled, "throttled_usec": &throttled,
	})
	c.Usage, c.User, c.System, c.ThrottledTime = microseconds(usage), microseconds(user), microseconds(system), microseconds(throttled)
	if slices.Contains(s.Controllers, "pids") {
		p := &s.Pids
		p.Current, p.Limit = r.number("pids.current"), r.number("pids.max")
		r.keys("pids.events", map[string]*uint64{"max": &p.Refused})
	}
	if slices.Contains(s.Controllers, "io") {
		s.IO = ioStats(r.text("io.stat"))
	}
	if r.err == nil {
		_, r.err = os.Stat(g.Path)
	}
	if r.err != nil {
		return nil, fmt.Errorf("read the container's counts: %w", r.err)
	}
	return s, nil
}

// OOMKills returns how many of the container's processes were killed because its memory was at its limit. It must be asked
// before Remove; without the memory controller it is 0.
func (g *Group) OOMKills() (n uint64, err error) {
	r := statReader{dir: g.Path}
	r.keys("memory.events", map[string]*uint64{"oom_kill": &n})
	return n, r.err
}

func microseconds(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }

// A statReader reads files of numbers and keeps the first error. A file that isn't there is no error: older kernels have fewer.
type statReader struct {
	dir string
	err error
}

func (r *statReader) text(file string) string {
	text, err := os.ReadFile(filepath.Join(r.dir, file))
	switch {
	case errors.Is(err, linux.ENODEV):
		err = &fs.PathError{Op: "read", Path: r.dir, Err: fs.ErrNotExist} // the group went while we read
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if r.err == nil {
		r.err = err
	}
	return string(text)
}

func (r *statReader) number(file string) uint64 { return number(strings.TrimSpace(r.text(file))) }

func (r *statReader) keys(file string, into map[string]*uint64) {
	for line := range strings.Lines(r.text(file)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if target := into[key]; target != nil {
			*target = number(value)
		}
	}
}

func number(text string) uint64 {
	if text == "max" {
		return NoLimit
	}
	n, _ := strconv.ParseUint(text, 10, 64) // the kernel's own text
	return n
}

// ioStats reads lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6".
func ioStats(text string) (list []DeviceStats) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		major, minor, _ := strings.Cut(fields[0], ":")
		d := DeviceStats{Major: number(major), Minor: number(minor)}
		targets := map[string]*uint64{
			"rbytes": &d.ReadBytes, "wbytes": &d.WriteBytes, "rios": &d.ReadCount, "wios": &d.WriteCount,
			"dbytes": &d.DiscardBytes, "dios": &d.Discards,
		}
		for _, field := range fields[1:] {
			key, value, _ := strings.Cut(field, "=")
			if target := targets[key]; target != nil {
				*target = number(value)
			}
		}
		list = append(list, d)
	}
	return list
}

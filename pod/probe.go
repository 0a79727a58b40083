package pod

import "time"

// The kinds of probe, as events name them.
const (
	Liveness  = "Liveness"
	Readiness = "Readiness"
	Startup   = "Startup"
	PostStart = "PostStart" // no probe, but as deadly: the hook
)

// A Prober keeps the books of one probe of a container: when it is asked next, and what its answers mean together. It is pure.
type Prober struct {
	Kind  string
	Probe *Probe

	began   time.Time
	next    time.Time
	streak  int32 // of answers that are the same
	good    bool  // those
	Verdict bool  // what the probe says, by its thresholds
}

// NewProber begins a probe of a container that was started at the given time. Until it has said anything a container is not ready, and
// well.
func NewProber(kind string, probe *Probe, started time.Time) *Prober {
	return &Prober{Kind: kind, Probe: probe, began: started, next: started.Add(seconds(probe.InitialDelaySeconds)), Verdict: kind == Liveness}
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

// Next is when the probe is to be asked.
func (p *Prober) Next() time.Time { return p.next }

// Timeout is how long an answer may take.
func (p *Prober) Timeout() time.Duration { return max(seconds(p.Probe.TimeoutSeconds), time.Second) }

// Answer takes an answer that came at the given time, and tells whether the verdict changed.
func (p *Prober) Answer(good bool, now time.Time) (changed bool) {
	p.next = now.Add(max(seconds(p.Probe.PeriodSeconds), time.Second)) // LAB: probe
	if p.streak == 0 || good != p.good {
		p.good, p.streak = good, 0
	}
	p.streak++
	threshold := max(p.Probe.SuccessThreshold, 1)
	if !good {
		threshold = p.Probe.FailureThreshold
		if threshold <= 0 {
			threshold = 3
		}
	}
	if p.streak < threshold {
		return false
	}
	// The startup probe's failure is a verdict of its own, though it never was good.
	changed = p.Verdict != good || !good && p.Kind == Startup
	p.Verdict = good
	return changed
}

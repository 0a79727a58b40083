package pod

import (
	"fmt"
	"time"
)

// A World is all that is known of a pod's processes at one moment.
type World struct {
	Now     time.Time
	HostIP  string
	Sandbox SandboxLife
	Lives   map[string]*Life // by the containers' names; nil: nothing was done for it yet
	Status  Status           // as it was decided last
	Evicted string           // why the pod is to be ended, for what it has used; "": it is not
	Leaving bool             // we are to end, and the pod with us, until somebody starts it again
}

// A Stage is how far a sandbox or a container has got.
type Stage int

// The stages, in their order.
const (
	None     Stage = iota // there is none
	Starting              // somebody is at it
	Live                  // it runs
	Stopping              // somebody ends it
	Ended                 // it has ended
)

// alive tells whether there is, or may be, a process.
func (s Stage) alive() bool { return s == Starting || s == Live || s == Stopping }

// A SandboxLife is what is known of the sandbox.
type SandboxLife struct {
	Stage   Stage
	Attempt int       // how many there were before this one
	IP      string    // while it lives
	Retry   time.Time // after a start that failed: not before
	Told    bool      // that it ended by itself
}

// A Life is what is known of a container: of its present or last attempt, and a little of the one before.
type Life struct {
	Stage   Stage
	Attempt int    // how often it was started again
	Epoch   int    // the attempt of the sandbox in which it was started
	Image   string // as the pod said when it was started
	ID      string
	ImageID string
	Started time.Time
	StopBy  time.Time // while it is Stopping: when it is killed

	Ended *Terminated // how this attempt ended
	Last  *Terminated // how the one before did
	Again bool        // it was ended to be started again, whatever the policy

	Failure *StartFailure // why the last try to start it came to nothing
	Crash   Backoff
	Pull    Backoff

	Hooking   bool              // its postStart hook runs, and until then it does not count as running
	StartedUp bool              // its startup probe has succeeded, or it has none
	Ready     bool              // so has its readiness probe, by now
	Unwell    string            // who found that it is to be ended, or was, until it starts again: Liveness, Startup or PostStart
	Told      map[string]string // by reason: what the last event was about that is told once
}

// A StartFailure is why a container could not be started.
type StartFailure struct {
	Reason  string // ErrImagePull, CreateContainerConfigError, …
	Message string
	At      time.Time
	Retry   time.Time // not before
}

// The kubelet's pauses (kubelet.go: MaxCrashLoopBackOff, and the image manager's): 10 s at first, doubling up to 5 min; what was well for
// twice that long begins anew.
const (
	firstPause   = 10 * time.Second
	longestPause = 5 * time.Minute
	forgotten    = 2 * longestPause
	shown        = 2 * time.Second // for how long the error itself is the reason, before the pause is
	retryConfig  = 5 * time.Second // when a missing ConfigMap is looked for again
	retrySandbox = 5 * time.Second
)

// A Backoff is a pause that doubles.
type Backoff struct {
	Pause time.Duration // 0: none yet
	Since time.Time     // when it was last made longer
}

// until returns the end of the pause after something failed at the given time; now or before: there is none.
func (b Backoff) until(failed time.Time) time.Time {
	if b.Pause == 0 || failed.Sub(b.Since) > forgotten {
		return failed
	}
	return failed.Add(b.Pause)
}

// next is the pause after another try at now, which came after something failed at the given time.
func (b Backoff) next(failed, now time.Time) Backoff {
	if b.Pause == 0 || failed.Sub(b.Since) > forgotten {
		return Backoff{firstPause, now}
	}
	return Backoff{min(2*b.Pause, longestPause), now}
}

// A Verb is what is to be done.
type Verb int

// What there is to do.
const (
	StartSandbox Verb = iota
	StopSandbox
	StartContainer
	KillContainer
)

func (v Verb) String() string {
	return [...]string{"start sandbox", "stop sandbox", "start", "kill"}[v]
}

// An Action is one thing to do.
type Action struct {
	Verb      Verb
	Container string // of StartContainer and KillContainer
	Attempt   int    // of StartSandbox and StartContainer
	Crash     Backoff
	Grace     time.Duration // of KillContainer: until SIGKILL
	Again     bool          // of KillContainer: it is started again
	Message   string        // of KillContainer: the event
}

func (a Action) String() string {
	switch a.Verb {
	case StartSandbox, StartContainer:
		return fmt.Sprintf("%s %s#%d", a.Verb, a.Container, a.Attempt)
	case KillContainer:
		return fmt.Sprintf("%s %s in %s", a.Verb, a.Container, a.Grace)
	}
	return a.Verb.String()
}

// A Notice is an event to be told.
type Notice struct {
	Type, Reason, Container, Message string
	Once                             string // told once of a container for each value; "": whenever it is decided
}

// A Decision is what to do now, and what to say of the pod.
type Decision struct {
	Actions []Action
	Notices []Notice
	Status  Status
	Wake    time.Time // when to decide again, whatever happens; zero: when something does
	Over    bool      // nothing runs, and nothing will
}

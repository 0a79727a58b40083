package supervisor

import (
	"time"

	"codeberg.org/minipod/minipod/runtime"
)

// The kubelet's pauses between the starts of a container that keeps ending: none before the first, then 10 s, doubling up to 5 min; a
// container that was well for 10 min has its slate wiped clean.
const (
	firstPause = 10 * time.Second
	longest    = 5 * time.Minute
	wellAfter  = 10 * time.Minute
)

// An ending is what is known when a container's command has ended.
type ending struct {
	status   int           // exit status
	asked    bool          // somebody stopped it
	ran      time.Duration // for how long
	restarts int           // how often the policy has started it again since it was started by somebody
	pause    time.Duration // before the last start of those
}

// again decides whether a container that ended starts again, and after which pause.
func again(p runtime.RestartPolicy, e ending) (pause time.Duration, yes bool) {
	switch {
	case e.asked:
		return 0, false
	case p.Name == "always", p.Name == "unless-stopped":
	case p.Name == "on-failure" && e.status != 0 && (p.Maximum == 0 || e.restarts < p.Maximum):
	default:
		return 0, false
	}
	switch {
	case e.restarts == 0 || e.ran >= wellAfter:
		return 0, true
	case e.pause == 0:
		return firstPause, true
	}
	return min(2*e.pause, longest), true
}

package print

import (
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// Age is how long before now t was, as kubectl's columns have it: 42s, 5m30s, 3h, 2d4h.
func Age(now, t time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t))
}

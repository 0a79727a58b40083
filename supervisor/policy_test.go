package supervisor

import (
	"testing"
	"time"

	"codeberg.org/minipod/minipod/runtime"
)

func TestAgain(t *testing.T) {
	always, never := runtime.RestartPolicy{Name: "always"}, runtime.RestartPolicy{Name: "no"}
	thrice := runtime.RestartPolicy{Name: "on-failure", Maximum: 3}
	for _, tt := range []struct {
		name   string
		policy runtime.RestartPolicy
		ending ending
		pause  time.Duration
		yes    bool
	}{
		{"no policy", runtime.RestartPolicy{}, ending{status: 1}, 0, false},
		{"no", never, ending{status: 1}, 0, false},
		{"at once the first time", always, ending{}, 0, true},
		{"then after ten seconds", always, ending{restarts: 1}, 10 * time.Second, true},
		{"doubled", always, ending{restarts: 2, pause: 10 * time.Second}, 20 * time.Second, true},
		{"up to five minutes", always, ending{restarts: 9, pause: 4 * time.Minute}, 5 * time.Minute, true},
		{"and no more", always, ending{restarts: 10, pause: 5 * time.Minute}, 5 * time.Minute, true},
		{"well for ten minutes", always, ending{restarts: 10, pause: 5 * time.Minute, ran: 10 * time.Minute}, 0, true},
		{"stopped", always, ending{asked: true, status: 143}, 0, false},
		{"unless-stopped", runtime.RestartPolicy{Name: "unless-stopped"}, ending{}, 0, true},
		{"success is no failure", thrice, ending{status: 0}, 0, false},
		{"failed", thrice, ending{status: 1}, 0, true},
		{"failed for the third time", thrice, ending{status: 1, restarts: 2}, 10 * time.Second, true},
		{"failed too often", thrice, ending{status: 1, restarts: 3, pause: 20 * time.Second}, 0, false},
		{"without a bound", runtime.RestartPolicy{Name: "on-failure"}, ending{status: 1, restarts: 99, pause: time.Minute}, 2 * time.Minute, true},
	} {
		if pause, yes := again(tt.policy, tt.ending); pause != tt.pause || yes != tt.yes {
			t.Errorf("%s: %v after %v, want %v after %v", tt.name, yes, pause, tt.yes, tt.pause)
		}
	}
}

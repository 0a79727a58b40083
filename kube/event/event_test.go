package event

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/state"
)

func dirs(t *testing.T) state.Dirs {
	t.Helper()
	return state.Dirs{Data: t.TempDir()}
}

func TestListCollapsesCounts(t *testing.T) {
	d := dirs(t)
	if list, err := List(d); err != nil || len(list) != 0 {
		t.Fatalf("none: %v, %v", list, err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := NewRecorder(d, Object{Kind: "Pod", Namespace: "default", Name: "web", UID: "u"}, Source{Component: "kubelet"})
	r.Now = func() time.Time { now = now.Add(time.Second); return now }
	r.Tell(Normal, "Pulled", "spec.containers{c}", "pulled %s", "x")
	r.Tell(Warning, "BackOff", "spec.containers{c}", "again")
	r.Tell(Warning, "BackOff", "spec.containers{c}", "again")
	r.Tell(Normal, "Pulled", "spec.containers{c}", "pulled %s", "x")
	list, err := List(d)
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	if e := list[0]; e.Reason != "BackOff" || e.Count != 2 || e.Last.Sub(e.First) != time.Second || e.Object.FieldPath != "spec.containers{c}" || e.Metadata.Namespace != "default" {
		t.Errorf("%+v", e)
	}
	if e := list[1]; e.Reason != "Pulled" || e.Count != 2 || e.Message != "pulled x" || !strings.HasPrefix(e.Metadata.Name, "web.") {
		t.Errorf("%+v", e)
	}
}

func TestFlood(t *testing.T) {
	var written []Event
	now := time.Now()
	r := &Recorder{Now: func() time.Time { return now }, Write: func(e Event) error { written = append(written, e); return nil }}
	for i := range 1000 {
		r.Tell(Warning, "Unhealthy", "", "message %d", i)
	}
	if len(written) != burst {
		t.Errorf("%d of 1000 were written, want %d", len(written), burst)
	}
	if last := written[len(written)-1]; !strings.HasPrefix(last.Message, combined) || last.Count != burst-similarLimit {
		t.Errorf("the last is %q, count %d", last.Message, last.Count)
	}
	now = now.Add(refill)
	r.Tell(Normal, "Killing", "", "x")
	r.Tell(Normal, "Killing", "", "y")
	if len(written) != burst+1 {
		t.Errorf("after a refill %d", len(written)-burst)
	}
}

func TestClip(t *testing.T) {
	for _, text := range []string{strings.Repeat("a", 5000), strings.Repeat("ä", 5000), "x" + strings.Repeat("語", 5000)} {
		if got := clip(text); len(got) > longest || len(got) < longest-6 || strings.ToValidUTF8(got, "?") != got {
			t.Errorf("%d bytes: %q…", len(got), got[:8])
		}
	}
	if clip("ä") != "ä" {
		t.Error("a short one changed")
	}
}

func TestFollow(t *testing.T) {
	d := dirs(t)
	if err := Append(d, Event{Reason: "Before", Object: Object{Name: "p"}}); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	got := make(chan string, 100)
	ended := make(chan error)
	go func() {
		ended <- Follow(t.Context(), d, func(e Event) error {
			if e.Reason != "Early" || len(got) == 0 {
				got <- e.Reason
			}
			if e.Reason == "After9" {
				return enough
			}
			return nil
		})
	}()
	for len(got) == 0 { // until it follows
		if err := Append(d, Event{Reason: "Early", Object: Object{Name: "p"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if reason := <-got; reason != "Early" {
		t.Errorf("the first is %s", reason)
	}
	for i := range 10 {
		if err := Append(d, Event{Reason: fmt.Sprintf("After%d", i), Object: Object{Name: "p"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	for i := range 10 {
		if reason := <-got; reason != fmt.Sprintf("After%d", i) {
			t.Errorf("%d is %s", i, reason)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Follow(ctx, d, func(Event) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

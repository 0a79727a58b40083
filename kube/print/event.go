package print

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/kube/event"
)

// Event is what the tables show of what happened.
type Event = event.Event

// Events is the table of `get events`.
func Events(events []Event, now time.Time) Table {
	t := eventTable()
	t.Columns = append(t.Columns, wide("FIRST SEEN", "COUNT", "NAME")...)
	for _, e := range events {
		t.Rows = append(t.Rows, append(eventRow(e, lastSeen(e, now)), Age(now, e.First), strconv.Itoa(int(max(e.Count, 1))), e.Metadata.Name))
	}
	return t
}

// Happenings is the table of `events`, which tells how often something happened, and since when.
func Happenings(events []Event, now time.Time) Table {
	t := eventTable()
	for _, e := range events {
		t.Rows = append(t.Rows, eventRow(e, interval(e, now)))
	}
	return t
}

func eventTable() Table {
	t := Table{Columns: append(columns("LAST SEEN", "TYPE", "REASON", "OBJECT"), wide("SUBOBJECT", "SOURCE")...)}
	t.Columns = append(t.Columns, columns("MESSAGE")...)
	return t
}

func eventRow(e Event, seen string) []string {
	return []string{
		seen, e.Type, e.Reason, strings.ToLower(e.Object.Kind) + "/" + e.Object.Name, e.Object.FieldPath,
		strings.Trim(cmp.Or(e.Source.Component, e.Controller)+", "+e.Source.Host, ", "), strings.TrimSpace(e.Message),
	}
}

func lastSeen(e Event, now time.Time) string {
	if e.Last.IsZero() {
		return Age(now, e.First)
	}
	return Age(now, e.Last)
}

func interval(e Event, now time.Time) string {
	if e.Count > 1 {
		return fmt.Sprintf("%s (x%d over %s)", Age(now, e.Last), e.Count, Age(now, e.First))
	}
	return Age(now, e.First)
}

func (d *description) events(events []Event, now time.Time) {
	if len(events) == 0 {
		d.line(0, "Events:\t<none>")
		return
	}
	d.tabs.Flush() // the columns of what came before are none of these
	d.line(0, "Events:\n  Type\tReason\tAge\tFrom\tMessage")
	d.line(1, "----\t------\t----\t----\t-------")
	for _, e := range slices.SortedStableFunc(slices.Values(events), func(a, b Event) int { return a.Last.Compare(b.Last) }) {
		d.line(1, "%s\t%s\t%s\t%s\t%s", e.Type, e.Reason, interval(e, now), cmp.Or(e.Source.Component, e.Controller), strings.TrimSpace(e.Message))
	}
}

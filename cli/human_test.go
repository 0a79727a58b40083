package cli

import (
	"testing"
	"time"
)

func TestHumanSize(t *testing.T) {
	for _, c := range []struct {
		bytes  int64
		digits int
		want   string
	}{
		{0, 3, "0B"},
		{999, 3, "999B"},
		{1000, 3, "1kB"},
		{7792915, 3, "7.79MB"},
		{7800000, 3, "7.8MB"},
		{123456789, 3, "123MB"},
		{999_999, 3, "1MB"},
		{999_950_000, 4, "1GB"},
		{17_960_000, 4, "17.96MB"},
		{1 << 62, 3, "4.61EB"},
	} {
		if got := humanSize(c.bytes, c.digits); got != c.want {
			t.Errorf("humanSize(%d, %d) = %s, want %s", c.bytes, c.digits, got, c.want)
		}
	}
}

func TestHumanSince(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]string{
		-time.Hour: "Less than a second ago", 0: "Less than a second ago", time.Second: "1 second ago", 59 * time.Second: "59 seconds ago",
		time.Minute: "About a minute ago", 2 * time.Minute: "2 minutes ago", time.Hour: "About an hour ago", 89 * time.Minute: "About an hour ago",
		90 * time.Minute: "2 hours ago", 47 * time.Hour: "47 hours ago", 48 * time.Hour: "2 days ago", 13 * day: "13 days ago",
		14 * day: "2 weeks ago", 21 * day: "3 weeks ago", 60 * day: "2 months ago", 729 * day: "24 months ago", 800 * day: "2 years ago",
	} {
		if got := humanSince(now, now.Add(-ago)); got != want {
			t.Errorf("%v: %q, want %q", ago, got, want)
		}
	}
	if got := humanSince(now, time.Time{}); got != "N/A" {
		t.Errorf("no time: %q", got)
	}
}

func TestShortID(t *testing.T) {
	for id, want := range map[string]string{"sha256:0123456789abcdef": "0123456789ab", "0123456789abcdef": "0123456789ab", "abc": "abc", "": ""} {
		if got := shortID(id); got != want {
			t.Errorf("shortID(%q) = %q, want %q", id, got, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"24h": now.Add(-24 * time.Hour), "1000.5": time.Unix(1000, 5e8), "2026-01-02T03:04:05Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02": time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local),
	} {
		if got, err := parseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("parseTime(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	if _, err := parseTime("yesterday", now); err == nil {
		t.Error("parseTime took yesterday")
	}
}

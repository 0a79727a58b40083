package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// humanSize prints bytes as docker does: decimal units, and digits significant digits (docker's listings have 3, its
// sums 4).
func humanSize(bytes int64, digits int) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	size, unit := float64(bytes), 0
	for size >= 1000 && unit < len(units)-1 {
		size, unit = size/1000, unit+1
	}
	text := strconv.FormatFloat(size, 'g', digits, 64)
	if rounded, err := strconv.ParseFloat(text, 64); err == nil && rounded >= 1000 && unit < len(units)-1 { // 999.9 of 3 digits
		text, unit = "1", unit+1
	}
	return text + units[unit]
}

// humanSince prints how long before now t was, as docker does: "3 weeks ago".
func humanSince(now, t time.Time) string {
	if t.IsZero() {
		return "N/A"
	}
	return humanDuration(now.Sub(t)) + " ago"
}

func humanDuration(d time.Duration) string {
	const day = 24 * time.Hour
	count := func(unit time.Duration, name string) string { return fmt.Sprintf("%d %s", d/unit, name) }
	switch {
	case d < time.Second:
		return "Less than a second"
	case d < 2*time.Second:
		return "1 second"
	case d < time.Minute:
		return count(time.Second, "seconds")
	case d < 2*time.Minute:
		return "About a minute"
	case d < time.Hour:
		return count(time.Minute, "minutes")
	case (d+30*time.Minute)/time.Hour == 1: // docker rounds hours, and only hours
		return "About an hour"
	case (d+30*time.Minute)/time.Hour < 48:
		return fmt.Sprintf("%d hours", (d+30*time.Minute)/time.Hour)
	case d < 14*day:
		return count(day, "days")
	case d < 60*day:
		return count(7*day, "weeks")
	case d < 730*day:
		return count(30*day, "months")
	}
	return fmt.Sprintf("%d years", int(d.Hours())/24/365)
}

// shortID is the 12 hexadecimal digits by which people name an image or a container.
func shortID(id string) string {
	_, hex, found := strings.Cut(id, ":")
	if !found {
		hex = id
	}
	return hex[:min(12, len(hex))]
}

package logs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
)

// ParseTime reads a moment as docker's --since and --until have it: a duration before now ("42m", "1h30m"), RFC 3339, whole or cut
// short ("2026-11-27T11:22", "2026-11-27"), where one without a zone is in local's, or seconds since 1970, with a fraction or
// without.
func ParseTime(text string, now time.Time, local *time.Location) (time.Time, error) {
	if t, err := unixTime(text); err == nil { // before durations, of which "0" is one
		return t, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02"} {
		for _, zone := range []string{"", "Z07:00"} { // a fraction of the seconds is read even where the layout has none
			if t, err := time.ParseInLocation(layout+zone, text, local); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, hint.Wrap(fmt.Errorf("invalid time %q", text), "write 42m, 2006-01-02, 2006-01-02T15:04:05Z or seconds since 1970")
}

var errNotUnix = errors.New("not seconds since 1970")

func unixTime(text string) (time.Time, error) {
	whole, fraction, dotted := strings.Cut(text, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || dotted && (fraction == "" || len(fraction) > 9) {
		return time.Time{}, errNotUnix
	}
	nanos, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 32)
	if err != nil {
		return time.Time{}, errNotUnix
	}
	if strings.HasPrefix(whole, "-") {
		return time.Unix(seconds, -int64(nanos)), nil
	}
	return time.Unix(seconds, int64(nanos)), nil
}

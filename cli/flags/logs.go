package flags

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/nearest"
)

// Log is --log-driver and --log-opt: the zero value is a log that grows without limit.
type Log struct {
	None    bool  // no log is kept
	MaxSize int64 // of a file, in bytes; 0: no limit
	MaxFile int   // how many files are kept; 0: one
}

func (r *Run) setLogDriver(value string) error {
	if err := oneOf(new(string), "json-file", "none")(value); err != nil {
		return err
	}
	r.Log.None = value == "none"
	return nil
}

// addLogOpt reads the options of docker's json-file driver that say how long a log grows.
func (r *Run) addLogOpt(option string) (err error) {
	key, value, ok := strings.Cut(option, "=")
	switch {
	case !ok:
		return hint.Wrap(fmt.Errorf("invalid option %q", option), "write max-size=10m or max-file=3")
	case key == "max-size" && value == "-1":
		r.Log.MaxSize = 0
	case key == "max-size":
		if r.Log.MaxSize, err = parseDecimalSize(value); err != nil {
			return hint.Wrap(fmt.Errorf("max-size: %w", err), "write a number of bytes, or one with k, m or g, or -1 for no limit")
		}
	case key == "max-file":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > 1000 { // each is renamed at a rotation
			return hint.Wrap(fmt.Errorf("max-file: invalid number %q", value), "write how many files are kept, 1 to 1000")
		}
		r.Log.MaxFile = n
	default:
		advice := "use max-size or max-file"
		if near := nearest.Name(key, []string{"max-size", "max-file"}); near != "" {
			advice = "did you mean " + near + "?"
		}
		return hint.Wrap(fmt.Errorf("unknown option %q", key), advice)
	}
	return nil
}

// parseDecimalSize reads a number of bytes with docker's other units, which it has for logs: 10k is 10,000.
func parseDecimalSize(text string) (int64, error) {
	unitStart := strings.IndexFunc(text, func(c rune) bool { return (c < '0' || c > '9') && c != '.' })
	if unitStart < 0 {
		unitStart = len(text)
	}
	factor := map[string]float64{
		"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
	}[strings.ToLower(strings.TrimPrefix(text[unitStart:], " "))]
	n, err := strconv.ParseFloat(text[:unitStart], 64)
	if n *= factor; err != nil || n < 1 || n > 1e18 {
		return 0, errors.New("invalid size " + strconv.Quote(text))
	}
	return int64(n), nil
}

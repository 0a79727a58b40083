package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

func filterFlag(usage string) urfave.Flag {
	return &urfave.StringSliceFlag{Name: "filter", Usage: "keep what matches a `CONDITION`: " + usage}
}

// filters are the --filter flags: different names must all match; of one name's values any may, but of labels all.
type filters map[string][]string

// parseFilters reads the --filter flags; known are the names that the verb has.
func parseFilters(c *urfave.Context, known ...string) (filters, error) {
	f := filters{}
	for _, given := range c.StringSlice("filter") {
		name, value, ok := strings.Cut(given, "=")
		if !ok {
			return nil, usageError(c, fmt.Sprintf("invalid filter %q: it must be NAME=VALUE", given))
		}
		if !slices.Contains(known, name) {
			return nil, usageError(c, fmt.Sprintf("invalid filter %q: use one of %s", name, strings.Join(known, ", ")))
		}
		f[name] = append(f[name], value)
	}
	return f, nil
}

// anyOf tells whether match accepts one of the name's values, or there are none.
func (f filters) anyOf(name string, match func(value string) bool) bool {
	return len(f[name]) == 0 || slices.ContainsFunc(f[name], match)
}

// labels applies label=KEY[=VALUE] and label!=KEY[=VALUE].
func (f filters) labels(have map[string]string) bool {
	has := func(want string) bool {
		key, value, given := strings.Cut(want, "=")
		v, ok := have[key]
		return ok && (!given || v == value)
	}
	for _, want := range f["label"] {
		if !has(want) {
			return false
		}
	}
	return !slices.ContainsFunc(f["label!"], has)
}

// boolean returns the last value of a yes-or-no filter, nil where there is none.
func (f filters) boolean(c *urfave.Context, name string) (*bool, error) {
	if len(f[name]) == 0 {
		return nil, nil // not given is an answer
	}
	value, err := strconv.ParseBool(f[name][len(f[name])-1])
	if err != nil {
		return nil, usageError(c, fmt.Sprintf("invalid filter %s=%s: it must be true or false", name, f[name][len(f[name])-1]))
	}
	return &value, nil
}

// keyValues makes a map of KEY=VALUE flags; a key alone has the value "".
func keyValues(pairs []string) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	m := map[string]string{}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		m[key] = value
	}
	return m
}

func joinLabels(labels map[string]string) string {
	var pairs []string
	for key, value := range labels {
		pairs = append(pairs, key+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

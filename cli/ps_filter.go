package cli

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/runtime"
)

// statuses are docker's words for status=, some of which no container of ours ever is in.
var statuses = []string{"created", "restarting", "running", "removing", "paused", "exited", "dead"}

// chosen are the containers that the flags of `ps` ask for; all is sorted, the newest first.
func (a *app) chosen(c *urfave.Context, all []runtime.Record) ([]runtime.Record, error) {
	match, err := a.containerFilter(c, all)
	if err != nil {
		return nil, err
	}
	last := c.Int("last")
	if c.Bool("latest") {
		last = 1
	}
	ended := c.Bool("all") || last > 0 || slices.ContainsFunc(c.StringSlice("filter"), func(f string) bool { return strings.HasPrefix(f, "status=") })
	chosen := []runtime.Record{}
	for _, r := range all {
		if (ended || r.PID != 0) && match(r) {
			chosen = append(chosen, r)
		}
		if last > 0 && len(chosen) == last {
			break
		}
	}
	return chosen, nil
}

// containerFilter makes one function out of the --filter flags of `ps`.
func (a *app) containerFilter(c *urfave.Context, all []runtime.Record) (func(runtime.Record) bool, error) {
	f, err := parseFilters(c, "id", "name", "label", "label!", "status", "exited", "ancestor", "volume", "before", "since")
	if err != nil {
		return nil, err
	}
	if err := f.checkContainers(c); err != nil {
		return nil, err
	}
	patterns := map[string]*regexp.Regexp{} // docker's id and name are regular expressions, found anywhere
	for _, text := range slices.Concat(f["id"], f["name"]) {
		if patterns[text], err = regexp.Compile(text); err != nil {
			return nil, usageError(c, fmt.Sprintf("invalid filter: %v", err))
		}
	}
	for _, name := range []string{"before", "since"} {
		for _, other := range f[name] {
			if _, err := among(all, other); err != nil {
				return nil, err
			}
		}
	}
	descends, err := a.ancestry(f["ancestor"])
	if err != nil {
		return nil, err
	}
	return func(r runtime.Record) bool {
		return f.labels(r.Labels) &&
			f.anyOf("id", patternIn(patterns, r.ID)) &&
			(f.anyOf("name", patternIn(patterns, r.Name)) || f.anyOf("name", patternIn(patterns, "/"+r.Name))) && // docker's names begin with /
			f.anyOf("status", func(value string) bool { return value == r.Status }) &&
			f.anyOf("exited", func(value string) bool {
				return r.Status == runtime.StatusExited && strconv.Itoa(r.ExitCode) == value
			}) &&
			f.anyOf("ancestor", func(value string) bool { return descends(r, value) }) &&
			f.anyOf("volume", func(value string) bool { return slices.Contains(r.Volumes, value) }) &&
			f.anyOf("before", func(value string) bool { other, _ := among(all, value); return r.Created.Before(other.Created) }) &&
			f.anyOf("since", func(value string) bool { other, _ := among(all, value); return r.Created.After(other.Created) })
	}, nil
}

func patternIn(patterns map[string]*regexp.Regexp, text string) func(string) bool {
	return func(value string) bool { return patterns[value].MatchString(text) }
}

// checkContainers refuses values that no container can match.
func (f filters) checkContainers(c *urfave.Context) error {
	for _, value := range f["status"] {
		if !slices.Contains(statuses, value) {
			return usageError(c, fmt.Sprintf("invalid filter status=%s: use one of %s", value, strings.Join(statuses, ", ")))
		}
	}
	for _, value := range f["exited"] {
		if _, err := strconv.Atoi(value); err != nil {
			return usageError(c, fmt.Sprintf("invalid filter exited=%s: it must be an exit status", value))
		}
	}
	return nil
}

// among finds a container by its name, its id or the beginning of that.
func among(all []runtime.Record, nameOrID string) (runtime.Record, error) {
	found := -1
	for i, r := range all {
		if r.Name == nameOrID || r.ID == nameOrID {
			return r, nil
		}
		if nameOrID != "" && strings.HasPrefix(r.ID, nameOrID) {
			if found >= 0 {
				return r, hint.Wrap(fmt.Errorf("more than one container has an id that begins with %s", nameOrID), "write more of the id")
			}
			found = i
		}
	}
	if found < 0 {
		return runtime.Record{}, hint.Wrap(fmt.Errorf("%w: %s", runtime.ErrNotFound, nameOrID), "list them: minipod ps -a")
	}
	return all[found], nil
}

// ancestry answers whether a container's image is, or was built upon, the image that an ancestor= names. An image that is
// not here any more is known by the name that the user gave it.
func (a *app) ancestry(names []string) (func(r runtime.Record, name string) bool, error) {
	ancestors := map[string]*store.Image{}
	layers := map[string][]digest.Digest{}
	if len(names) > 0 {
		images, err := store.Open(a.dirs)
		if err != nil {
			return nil, err
		}
		all, err := images.List()
		if err != nil {
			return nil, err
		}
		for _, img := range all {
			layers[string(img.ID)] = img.Layers
		}
		for _, name := range names {
			img, err := images.Resolve(name)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			ancestors[name] = img
		}
	}
	return func(r runtime.Record, name string) bool {
		img := ancestors[name]
		if img == nil {
			return r.Image == name
		}
		have := layers[r.ImageID]
		return r.ImageID == string(img.ID) || len(img.Layers) > 0 && len(have) >= len(img.Layers) && slices.Equal(have[:len(img.Layers)], img.Layers)
	}, nil
}

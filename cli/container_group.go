package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/volume"
)

// containerGroup are the verbs of `minipod container`: those of the top, two of them by docker's other names, and prune.
func (a *app) containerGroup(top []*urfave.Command) []*urfave.Command {
	verbs := make([]*urfave.Command, 0, len(top)+1)
	for _, verb := range top {
		if verb.Category != groupContainers {
			continue
		}
		copied := *verb
		copied.Category = ""
		switch verb.Name {
		case "ps":
			copied.Name, copied.Aliases = "ls", []string{"ps", "list"}
		case "rm":
			copied.Aliases = []string{"remove"}
		}
		verbs = append(verbs, &copied)
	}
	return append(verbs, a.containerPruneVerb())
}

func (a *app) containerPruneVerb() *urfave.Command {
	return &urfave.Command{
		Name: "prune", Usage: "Remove all containers that do not run",
		Description: "What they wrote goes with them; volumes stay.\n\n" + examples("minipod container prune", "minipod container prune -f --filter until=24h"),
		Flags:       []urfave.Flag{forceFlag("do not ask"), filterFlag("until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]")},
		Action:      a.confirmed("This will remove all stopped containers.", a.inNamespace(a.containerPrune)),
	}
}

func (a *app) containerPrune(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	freed, err := a.pruneContainers(c)
	return a.printFreed(freed, err)
}

// pruneContainers removes the containers that do not run and that --filter keeps, prints docker's list of them, and answers
// the bytes that they took. One that can't be removed does not save the others. It works inside the user's id range.
func (a *app) pruneContainers(c *urfave.Context) (freed int64, err error) {
	match, err := containerFilter(c)
	if err != nil {
		return 0, err
	}
	if err := run.Sweep(a.dirs, a.removeTree); err != nil {
		return 0, err
	}
	all, err := runtime.List(a.dirs)
	if err != nil {
		return 0, err
	}
	var removed []string
	for _, r := range all {
		if r.Status == runtime.StatusRunning || !match(r) {
			continue
		}
		size := a.containerSize(r)
		e := a.removeContainer(r, false, false)
		switch {
		case errors.Is(e, runtime.ErrRunning), errors.Is(e, runtime.ErrNotFound): // started, made or removed by another right now
		case e != nil:
			err = errors.Join(err, e)
		default:
			removed, freed = append(removed, r.ID), freed+size
		}
	}
	if len(removed) > 0 {
		fmt.Fprintf(a.out, "Deleted Containers:\n%s\n\n", strings.Join(removed, "\n"))
	}
	return freed, err
}

// containerFilter turns --filter into a predicate.
func containerFilter(c *urfave.Context) (func(runtime.Record) bool, error) {
	f, err := parseFilters(c, "until", "label", "label!")
	if err != nil {
		return nil, err
	}
	_, newest, err := createdBetween(c, f, nil, time.Now())
	if err != nil {
		return nil, err
	}
	return func(r runtime.Record) bool {
		return f.labels(r.Labels) && (newest.IsZero() || r.Created.Before(newest))
	}, nil
}

// containerSize adds up the files that the container wrote, or of a plain copy all that it has.
func (a *app) containerSize(r runtime.Record) int64 {
	folders, _ := r.Layers(a.dirs, nil)
	if len(folders) == 0 {
		return 0
	}
	return volume.Size(folders[0])
}

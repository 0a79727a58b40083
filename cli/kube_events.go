package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/kube/print"
)

// podEventFlags are kubectl's of `events`: one of them, and the events are those of pods.
func podEventFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "events of pods: in this `NAMESPACE`"},
		&urfave.BoolFlag{Name: "all-namespaces", Aliases: []string{"A"}, Usage: "events of pods: in every namespace"},
		&urfave.StringFlag{Name: "for", Usage: "events of pods: of this one, `TYPE/NAME`"},
		&urfave.StringSliceFlag{Name: "types", Usage: "events of pods: Normal or Warning `TYPES` only"},
		&urfave.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "events of pods: go on with what happens, until Ctrl-C"},
		&urfave.BoolFlag{Name: "no-headers", Usage: "events of pods: print no titles"},
	}
}

// eventsAny is docker's events, which go on, or with one of kubectl's flags kubectl's, which have happened.
func (a *app) eventsAny(c *urfave.Context) error {
	for _, flag := range []string{"namespace", "all-namespaces", "for", "types", "watch", "no-headers"} {
		if c.IsSet(flag) {
			a.revive()
			return interrupted(c.Context, a.podEvents(c))
		}
	}
	return a.events(c)
}

func (a *app) podEvents(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	for _, flag := range []string{"since", "until", "filter", "format"} {
		if c.IsSet(flag) {
			return usageError(c, "--"+flag+" goes with the events of containers; of pods there are --for and --types")
		}
	}
	wanted, err := a.eventFilter(c)
	if err != nil {
		return err
	}
	all, err := event.List(a.dirs)
	if err != nil {
		return err
	}
	printer := print.Printer{NoHeaders: c.Bool("no-headers")}
	show := func(list []event.Event) error {
		t := print.Happenings(list, time.Now())
		if c.Bool("all-namespaces") {
			var namespaces []string
			for _, e := range list {
				namespaces = append(namespaces, e.Metadata.Namespace)
			}
			t.Prepend("NAMESPACE", namespaces)
		}
		return printer.Print(a.out, t)
	}
	all = slices.DeleteFunc(all, func(e event.Event) bool { return !wanted(e) })
	if len(all) > 0 {
		if err := show(all); err != nil {
			return err
		}
	} else if !c.Bool("watch") {
		fmt.Fprintln(a.err, "No events found.")
	}
	if !c.Bool("watch") {
		return nil
	}
	return event.Follow(c.Context, a.dirs, func(e event.Event) error {
		if !wanted(e) {
			return nil
		}
		return show([]event.Event{e})
	})
}

// eventFilter tells by the flags which events are wanted.
func (a *app) eventFilter(c *urfave.Context) (func(event.Event) bool, error) {
	namespace := c.String("namespace")
	if namespace == "" && !c.Bool("all-namespaces") {
		namespace = defaultNamespace
	}
	var of []target
	if text := c.String("for"); text != "" {
		var err error
		if _, of, err = parseTargets([]string{text}); err != nil {
			return nil, err
		}
		if len(of) != 1 {
			return nil, usageError(c, "--for must be in resource/name form")
		}
	}
	var types []string
	for _, list := range c.StringSlice("types") {
		for name := range strings.SplitSeq(list, ",") {
			if !strings.EqualFold(name, event.Normal) && !strings.EqualFold(name, event.Warning) {
				return nil, usageError(c, "valid --types are Normal or Warning")
			}
			types = append(types, strings.ToLower(name))
		}
	}
	return func(e event.Event) bool {
		return (namespace == "" || e.Metadata.Namespace == namespace) &&
			(len(of) == 0 || e.Object.Kind == of[0].kind.kind && e.Object.Name == of[0].name) &&
			(len(types) == 0 || slices.Contains(types, strings.ToLower(e.Type)))
	}, nil
}

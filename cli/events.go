package cli

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/internal/hint"
)

func (a *app) eventsVerb() *urfave.Command {
	return &urfave.Command{
		Name: "events", Usage: "Print what happens to containers, images and volumes, as it happens", Category: groupContainers,
		Description: "With --since what has happened, too; without --until it goes on until Ctrl-C.\n\n" +
			examples("minipod events", "minipod events --since 1h --filter container=web --filter event=die",
				"minipod events --since 0 --until 0s --format json", "minipod events --format '{{.Action}} {{.Actor.Attributes.name}}'"),
		Flags: append(podEventFlags(),
			sinceFlag("print what has happened"),
			untilFlag("print what happens"),
			filterFlag("container=NAME|ID, event=ACTION, image=NAME, label=KEY[=VALUE], type=container|image|volume or volume=NAME"),
			&urfave.StringFlag{Name: "format", Usage: "print each event by a Go `TEMPLATE`; \"json\" prints objects, one a line"},
		),
		Action: a.eventsAny,
	}
}

// happened appends to the events. That it can't be is no reason to fail: what happened has happened.
func (a *app) happened(list ...events.Event) {
	for _, e := range list {
		if err := events.Open(a.dirs).Append(e); err != nil {
			a.warn(err)
		}
	}
}

func (a *app) events(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	var o events.ReadOptions
	var err error
	if o.Since, o.Until, err = between(c); err != nil {
		return err
	}
	filter, err := parseFilters(c, events.FilterNames()...)
	if err != nil {
		return err
	}
	o.Filter = events.Filter(filter)
	show := func(e events.Event) error {
		_, err := fmt.Fprintln(a.out, e)
		return err
	}
	if format := c.String("format"); format != "" {
		if format == "json" {
			format = "{{json .}}"
		}
		t, err := parseTemplate(format)
		if err != nil {
			return hint.Exit(err, exitTemplate)
		}
		show = func(e events.Event) error { return execute(a.out, t, e) }
	}
	return interrupted(c.Context, events.Open(a.dirs).Read(c.Context, o, show))
}

package cli

import (
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/volume"
)

// volumeVerbs are those of `minipod volume`.
func (a *app) volumeVerbs() []*urfave.Command {
	return []*urfave.Command{
		{
			Name: "create", Usage: "Make a volume", ArgsUsage: "[NAME]",
			Description: "Without a name it gets one of 64 hexadecimal digits. A volume that exists is left as it is.\n\n" +
				examples("minipod volume create db", "minipod run -v db:/var/lib/postgresql/data postgres"),
			Flags: []urfave.Flag{
				&urfave.StringSliceFlag{Name: "label", Usage: "attach a label, `KEY=VALUE`"},
				&urfave.StringFlag{Name: "driver", Aliases: []string{"d"}, Value: "local", Usage: "the only `DRIVER` is local"},
				&urfave.StringSliceFlag{Name: "opt", Usage: "refused: the local driver has no `OPTION`s here"},
			},
			Action: a.volumeCreate,
		},
		{
			Name: "ls", Aliases: []string{"list"}, Usage: "List volumes",
			Description: examples("minipod volume ls", "minipod volume ls --filter dangling=true -q", "minipod volume ls -o json"),
			Flags: append(outputFlags(), quietFlag("print names only"),
				filterFlag("dangling=true|false, driver=local, label=KEY[=VALUE] or name=PART"),
			),
			Action: a.volumeList,
		},
		{
			Name: "inspect", Usage: "Print all there is to know about volumes, as JSON", ArgsUsage: "VOLUME...",
			Description: examples("minipod volume inspect db", "minipod volume inspect -f '{{.Mountpoint}}' db"),
			Flags:       []urfave.Flag{inspectFormatFlag()},
			Action:      a.volumeInspect,
		},
		{
			Name: "rm", Aliases: []string{"remove"}, Usage: "Remove volumes and what is in them", ArgsUsage: "VOLUME...",
			Description: "A volume that a container uses is not removed.",
			Flags:       []urfave.Flag{forceFlag("do not complain about volumes that do not exist")},
			Action:      a.volumeRemove,
		},
		{
			Name: "prune", Usage: "Remove volumes that no container uses",
			Description: "Removes anonymous volumes only, unless --all is given.",
			Flags: []urfave.Flag{
				&urfave.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "remove named volumes, too"},
				forceFlag("do not ask"),
				filterFlag("label=KEY[=VALUE] or label!=KEY[=VALUE]"),
			},
			Action: a.confirmed(pruneVolumesWarning, a.volumePrune),
		},
	}
}

func (a *app) volumes() *volume.Store {
	volumes := volume.Open(a.dirs)
	volumes.RemoveTree = a.removeTree
	return volumes
}

func (a *app) volumeCreate(c *urfave.Context) error {
	if err := checkArgs(c, 0, 1); err != nil {
		return err
	}
	if driver := c.String("driver"); driver != "local" {
		return usageError(c, fmt.Sprintf("create volume: there is no volume driver %q", driver))
	}
	v, err := a.volumes().Create(c.Args().First(), keyValues(c.StringSlice("label")), keyValues(c.StringSlice("opt")))
	if err != nil {
		return err
	}
	a.happened(events.Volume("create", v.Name, ""))
	fmt.Fprintln(a.out, v.Name)
	return nil
}

// volumeRow has docker's names for the columns of `volume ls`.
type volumeRow struct {
	Driver, Name, Mountpoint, Labels, Scope, Created string
}

func (a *app) volumeList(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	match, err := a.volumeFilter(c, "dangling", "driver", "label", "label!", "name")
	if err != nil {
		return err
	}
	all, err := a.volumes().List()
	if err != nil {
		return err
	}
	l := listing[volumeRow]{
		header: volumeRow{"DRIVER", "VOLUME NAME", "MOUNTPOINT", "LABELS", "SCOPE", "CREATED"},
		table:  `{{.Driver}}\t{{.Name}}`,
		wide:   `{{.Driver}}\t{{.Name}}\t{{.Created}}\t{{.Labels}}\t{{.Mountpoint}}`,
		name:   func(r volumeRow) string { return r.Name },
	}
	records := []*volume.Volume{}
	for _, v := range all {
		if match(v) {
			records = append(records, v)
			l.rows = append(l.rows, volumeRow{v.Driver, v.Name, v.Mountpoint, joinLabels(v.Labels), v.Scope, humanSince(time.Now(), v.CreatedAt)})
		}
	}
	l.records = records
	return l.print(a.out, c)
}

func (a *app) volumeInspect(c *urfave.Context) error {
	if err := checkArgs(c, 1, -1); err != nil {
		return err
	}
	return inspectEach(a, c, a.volumes().Get)
}

func (a *app) volumeRemove(c *urfave.Context) error {
	if err := checkArgs(c, 1, -1); err != nil {
		return err
	}
	users, err := a.volumeUsers()
	if err != nil {
		return err
	}
	return a.forEach(c, volume.ErrNotFound, func(name string) error {
		if err := a.volumes().Remove(name, users); err != nil {
			return err
		}
		a.happened(events.Volume("destroy", name, ""))
		fmt.Fprintln(a.out, name)
		return nil
	})
}

const pruneVolumesWarning = "This will remove volumes that no container uses, and what is in them."

func (a *app) volumePrune(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	freed, err := a.pruneVolumes(c, c.Bool("all"))
	return a.printFreed(freed, err)
}

// pruneVolumes removes the volumes that no container uses, the named ones only if all is set, prints docker's list of them,
// and answers the bytes that they took.
func (a *app) pruneVolumes(c *urfave.Context, all bool) (freed int64, err error) {
	match, err := a.volumeFilter(c, "label", "label!")
	if err != nil {
		return 0, err
	}
	users, err := a.volumeUsers()
	if err != nil {
		return 0, err
	}
	removed, freed, err := a.volumes().Prune(func(v *volume.Volume) bool { return (all || v.Anonymous) && match(v) }, users)
	for _, name := range removed {
		a.happened(events.Volume("destroy", name, ""))
	}
	if len(removed) > 0 {
		fmt.Fprintf(a.out, "Deleted Volumes:\n%s\n\n", strings.Join(removed, "\n"))
	}
	return freed, err
}

// volumeFilter turns --filter into a predicate.
func (a *app) volumeFilter(c *urfave.Context, known ...string) (func(*volume.Volume) bool, error) {
	filters, err := parseFilters(c, known...)
	if err != nil {
		return nil, err
	}
	users, err := a.volumeUsers()
	if err != nil {
		return nil, err
	}
	dangling, err := filters.boolean(c, "dangling")
	if err != nil {
		return nil, err
	}
	return func(v *volume.Volume) bool {
		return filters.anyOf("driver", func(want string) bool { return want == v.Driver }) &&
			filters.anyOf("name", func(part string) bool { return strings.Contains(v.Name, part) }) &&
			filters.labels(v.Labels) &&
			(dangling == nil || *dangling == (len(users(v.Name)) == 0))
	}, nil
}

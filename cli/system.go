package cli

import (
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// systemGroup is `minipod system`.
func (a *app) systemGroup() *urfave.Command {
	return group("system", groupMachine, "See and free what minipod keeps on disk", []*urfave.Command{
		{
			Name: "df", Usage: "Show how much space images, containers and volumes take",
			Description: "Images count as they lie on disk: compressed as they came, and unpacked.\n\n" +
				examples("minipod system df", "minipod system df -v", "minipod system df --format '{{.Type}}: {{.Reclaimable}}'"),
			Flags: append(outputFlags(),
				&urfave.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "list each image, container and volume"}),
			Action: a.inNamespace(a.systemDf),
		},
		{
			Name: "prune", Usage: "Remove what nothing uses: stopped containers and images without a name",
			Description: examples("minipod system prune", "minipod system prune -a --volumes -f", "minipod system prune --filter until=240h"),
			Flags: []urfave.Flag{
				&urfave.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "remove every image that no container uses"},
				&urfave.BoolFlag{Name: "volumes", Usage: "remove anonymous volumes that no container uses, too"},
				forceFlag("do not ask"),
				filterFlag("until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]"),
			},
			Action: func(c *urfave.Context) error {
				return a.confirmed(systemPruneWarning(c.Bool("all"), c.Bool("volumes")), a.inNamespace(a.systemPrune))(c)
			},
		},
	})
}

func systemPruneWarning(all, volumes bool) string {
	lines := []string{"This will remove:", "  - all stopped containers"}
	if volumes {
		lines = append(lines, "  - all anonymous volumes not used by at least one container")
	}
	if all {
		lines = append(lines, "  - all images without at least one container associated to them")
	} else {
		lines = append(lines, "  - all dangling images")
	}
	return strings.Join(lines, "\n") + "\n"
}

func (a *app) systemPrune(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	f, err := parseFilters(c, "until", "label", "label!")
	if err != nil {
		return err
	}
	steps := []func() (int64, error){func() (int64, error) { return a.pruneContainers(c) }}
	if c.Bool("volumes") {
		if len(f["until"]) > 0 {
			return usageError(c, `the "until" filter is not supported with "--volumes"`)
		}
		steps = append(steps, func() (int64, error) { return a.pruneVolumes(c, false) })
	}
	steps = append(steps, func() (int64, error) { return a.pruneImages(c) })
	total := int64(0)
	for _, step := range steps { // in this order: containers are what keeps the others in use
		freed, err := step()
		if total += freed; err != nil {
			return a.printFreed(total, err)
		}
	}
	return a.printFreed(total, nil)
}

// printFreed prints docker's last line of a prune, but not after an error that came before anything was done.
func (a *app) printFreed(freed int64, err error) error {
	if err == nil || freed > 0 {
		fmt.Fprintf(a.out, "Total reclaimed space: %s\n", humanSize(freed, 4))
	}
	return err
}

package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/view"
)

// cgroupRoot is where every distribution mounts cgroup v2.
const cgroupRoot = "/sys/fs/cgroup"

func (a *app) cgroupsVerb() *urfave.Command {
	return &urfave.Command{
		Name: "cgroups", Usage: "Show the control groups that containers are in", ArgsUsage: "[CONTAINER...]", Category: groupContainers,
		Description: "The tree of them, with the limits and the usage of each, those above included: the tightest one holds.\n\n" +
			examples("minipod cgroups", "minipod cgroups web", "minipod cgroups -o json"),
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print as `FORM`: json or yaml"},
			&urfave.BoolFlag{Name: "no-trunc", Usage: "print whole lines"},
		},
		Action: a.cgroups,
	}
}

func (a *app) cgroups(c *urfave.Context) error {
	output := c.String("output")
	if output != "" && output != "json" && output != "yaml" {
		return usageError(c, fmt.Sprintf("unknown output form %q: use json or yaml", output))
	}
	s, ids, err := a.look(c.Args().Slice())
	if err != nil {
		return err
	}
	s = s.Of(func(id string) bool { return len(ids) == 0 || slices.Contains(ids, id) })
	h, err := view.ReadCgroups(view.Kernel(), cgroupRoot, s)
	if err != nil {
		return err
	}
	if output != "" {
		return printRecords(a.out, output, h)
	}
	width := treeWidth
	if c.Bool("no-trunc") {
		width = 0
	}
	if _, err := fmt.Fprint(a.out, view.CgroupTree(h, s, language(), width)); err != nil {
		return err
	}
	pid := examplePID(s, ids)
	hand := []string{"cat /proc/" + pid + "/cgroup"}
	if group := groupOf(h, s); group != "" {
		hand = append(hand, "cat "+filepath.Join(cgroupRoot, group)+"/memory.max", "systemd-cgls")
	}
	a.byHand(hand...)
	return nil
}

// groupOf is the group of the first container's PID 1, where it can be looked into.
func groupOf(h *view.Hierarchy, s *view.Snapshot) string {
	for _, g := range h.Groups {
		if len(s.Containers) > 0 && slices.Contains(g.Processes, s.Containers[0].PID) && !strings.HasPrefix(g.Path, "/..") {
			return view.Printable(g.Path)
		}
	}
	return ""
}

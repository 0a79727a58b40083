package cli

import (
	"fmt"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/view"
)

// treeWidth is how wide our drawings are: what fits a page and a projector.
const treeWidth = 100

func treeFlag(usage string) urfave.Flag {
	return &urfave.BoolFlag{Name: "tree", Aliases: []string{"t"}, Usage: usage}
}

func (a *app) nsVerb() *urfave.Command {
	return &urfave.Command{
		Name: "ns", Usage: "Show the namespaces that containers live in", ArgsUsage: "[CONTAINER...]", Category: groupContainers,
		Description: "Which they are, which user namespace each belongs to, and who shares it.\n\n" +
			examples("minipod ns", "minipod ns --tree", "minipod ns -o wide web", "minipod ns -o json"),
		Flags:  append(outputFlags(), treeFlag("draw them as boxes: the user namespaces, and the containers in them")),
		Action: a.ns,
	}
}

type namespaceRow struct {
	Type, Inode, Owner, UID, Processes, SharedBy, PIDs string
}

func (a *app) ns(c *urfave.Context) error {
	if err := exclusive(c, "tree", "output", "format"); err != nil {
		return err
	}
	s, ids, err := a.look(c.Args().Slice())
	if err != nil {
		return err
	}
	pid := examplePID(s, ids)
	hand := []string{"readlink /proc/" + pid + "/ns/*", "lsns -p " + pid}
	if pid == "self" {
		hand[1] = "lsns"
	}
	if c.Bool("tree") {
		_, err := fmt.Fprint(a.out, view.Boxes(s, language(), treeWidth, ids...))
		a.byHand(hand...)
		return err
	}
	l := listing[namespaceRow]{
		header: namespaceRow{"TYPE", "INODE", "OWNER", "UID", "PROCESSES", "SHARED BY", "PIDS"},
		table:  `{{.Type}}\t{{.Inode}}\t{{.Owner}}\t{{.UID}}\t{{.Processes}}\t{{.SharedBy}}`,
		wide:   `{{.Type}}\t{{.Inode}}\t{{.Owner}}\t{{.UID}}\t{{.Processes}}\t{{.SharedBy}}\t{{.PIDs}}`,
	}
	namespaces := view.Namespaces(s, ids...)
	for _, ns := range namespaces {
		l.rows = append(l.rows, namespaceRowOf(ns))
	}
	l.records = namespaces
	if err := l.print(a.out, c); err != nil {
		return err
	}
	if forPeople(c) {
		a.byHand(hand...)
	}
	return nil
}

func namespaceRowOf(ns view.Namespace) namespaceRow {
	row := namespaceRow{
		Type: ns.Type, Inode: strconv.FormatUint(ns.Inode, 10), Owner: "-", UID: "-",
		Processes: strconv.Itoa(len(ns.Processes)), SharedBy: strings.Join(ns.SharedBy, ", "),
	}
	if ns.Owner != 0 {
		row.Owner = strconv.FormatUint(ns.Owner, 10)
	}
	if ns.UID >= 0 {
		row.UID = strconv.Itoa(ns.UID)
	}
	var pids []string
	for _, pid := range ns.Processes {
		pids = append(pids, strconv.Itoa(pid))
	}
	row.PIDs = strings.Join(pids, " ")
	return row
}

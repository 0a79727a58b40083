package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/view"
)

func (a *app) topVerb() *urfave.Command {
	return &urfave.Command{
		Name: "top", Usage: "Show the processes of a container", ArgsUsage: "CONTAINER [PS OPTION...]", Category: groupContainers,
		Description: "The machine's own ps(1) is asked, with -ef or with the options given; the PIDs are those on the host. One column must be PID.\n\n" +
			examples("minipod top web", "minipod top web aux", "minipod top web -o pid,rss,args"),
		SkipFlagParsing: true, // what follows the container is ps's
		Action: func(c *urfave.Context) error {
			args := c.Args().Slice()
			if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
				urfave.HelpPrinter(a.out, c.Command.CustomHelpTemplate, c.Command)
				return nil
			}
			if err := checkArgs(c, 1, -1); err != nil {
				return err
			}
			if strings.HasPrefix(args[0], "-") {
				return usageError(c, fmt.Sprintf("the container comes first, and %q is none", args[0]))
			}
			return a.top(c.Context, args[0], args[1:])
		},
	}
}

func (a *app) top(ctx context.Context, name string, options []string) error {
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	before, err := a.below(name)
	if err != nil {
		return err
	}
	ps := exec.CommandContext(ctx, "ps", options...)
	var printed, complaint bytes.Buffer
	ps.Stdout, ps.Stderr = &printed, &complaint
	err = ps.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return hint.Wrap(errors.New("there is no ps on this machine"), "install it (Debian: apt install procps), or use: minipod ps --tree")
	}
	if err != nil {
		first, _, _ := strings.Cut(complaint.String(), "\n") // its usage follows
		return hint.Wrap(fmt.Errorf("ps %s: %w: %s", strings.Join(options, " "), err, view.Printable(first)),
			"see ps(1) for its options")
	}
	after, err := a.below(name)
	if err != nil {
		return err
	}
	// Who was there before and after was there meanwhile; any other number may have been somebody else's for a moment.
	stayed := slices.DeleteFunc(before, func(p view.Process) bool {
		return !slices.ContainsFunc(after, func(q view.Process) bool { return p.PID == q.PID && p.Birth == q.Birth })
	})
	rows, err := psRows(printed.String(), stayed)
	if err != nil {
		return err
	}
	return printColumns(a.out, rows)
}

// below are the processes in a container.
func (a *app) below(name string) ([]view.Process, error) {
	s, ids, err := a.look([]string{name})
	if err != nil {
		return nil, err
	}
	return view.Below(s, ids[0]), nil
}

// psRows picks from what ps printed its titles and the lines of these processes, cut into columns. The last column may
// hold blanks; any other of ps's columns has none.
func psRows(printed string, processes []view.Process) ([][]string, error) {
	titles, lines, _ := strings.Cut(printed, "\n")
	rows := [][]string{strings.Fields(titles)}
	at := slices.Index(rows[0], "PID")
	if at < 0 {
		return nil, hint.Wrap(errors.New("ps printed no column PID, which tells whose processes they are"), "add it: -o pid,…")
	}
	for line := range strings.Lines(lines) {
		fields := strings.Fields(line)
		if len(fields) <= at {
			continue
		}
		pid, err := strconv.Atoi(fields[at])
		if err != nil || !slices.ContainsFunc(processes, func(p view.Process) bool { return p.PID == pid }) {
			continue // threads have "-" there
		}
		if last := len(rows[0]) - 1; len(fields) > last+1 {
			fields = append(fields[:last:last], strings.Join(fields[last:], " "))
		}
		rows = append(rows, fields)
	}
	return rows, nil
}

// printColumns aligns rows with docker's widths.
func printColumns(w io.Writer, rows [][]string) error {
	tabs := tabwriter.NewWriter(w, 20, 1, 3, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = view.Printable(row[i])
		}
		fmt.Fprintln(tabs, strings.Join(row, "\t"))
	}
	return tabs.Flush()
}

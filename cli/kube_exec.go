package cli

import (
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/runtime"
)

// execTable are docker's flags of exec and kubectl's.
func execTable() []flags.Flag {
	return append(flags.ExecFlags(),
		flags.Flag{Name: "container", Short: "c", Kind: flags.String, Value: "CONTAINER", Usage: "of a pod: in this container (default: the first)"},
		flags.Flag{Name: "namespace", Short: "n", Kind: flags.String, Value: "NAMESPACE", Usage: "the pod's namespace (default: default)"},
	)
}

// An execLine is the command line of exec in docker's or in kubectl's form.
type execLine struct {
	docker    []string // the flags that docker has, as --name=value
	name      string   // of a container or a pod
	command   []string
	container string
	namespace string
	pod       bool // it can only be a pod
}

// parseExecLine reads both: `exec [flags] CONTAINER COMMAND…` and `exec POD [flags] -- COMMAND…`. Nobody's command begins with a dash,
// so a dash behind the name tells them apart.
func parseExecLine(args []string) (execLine, error) {
	var e execLine
	settings, rest, err := flags.Parse(execTable(), args)
	if err == nil && len(rest) > 1 && strings.HasPrefix(rest[1], "-") {
		var more []flags.Setting
		more, e.command, err = flags.Parse(execTable(), rest[1:])
		settings = append(settings, more...)
	} else if len(rest) > 0 {
		e.command = rest[1:]
	}
	if err != nil {
		return e, err
	}
	if len(rest) > 0 {
		e.name = rest[0]
	}
	for _, s := range settings {
		switch s.Flag.Name {
		case "container":
			e.container, e.pod = s.Value, true
		case "namespace":
			e.namespace, e.pod = s.Value, true
		default:
			e.docker = append(e.docker, "--"+s.Flag.Name+"="+s.Value)
		}
	}
	return e, nil
}

// in is docker's command line for this container.
func (e execLine) in(container string) []string {
	return append(append(e.docker, "--", container), e.command...)
}

// execAny runs a command in a container, docker's or a pod's.
func (a *app) execAny(args []string) (int, error) {
	e, err := parseExecLine(args)
	if err != nil || e.name == "" {
		return run.Exec(args, nil) // it says what is wrong
	}
	o, err := a.podNamed(e.name, e.namespace, e.pod)
	if err != nil {
		return exitFailure, err
	}
	if o == nil {
		return run.Exec(e.in(e.name), nil)
	}
	if len(e.command) == 0 {
		return exitFailure, badUsage(errors.New("you must specify at least one command for the container"), "write minipod exec "+e.name+" -- COMMAND")
	}
	r, err := a.runningContainer(o.pod, e.container, "exec into")
	if err != nil {
		return exitFailure, err
	}
	status, err := run.Exec(e.in(r.ID), nil)
	if status != 0 && err == nil {
		fmt.Fprintf(a.err, "command terminated with exit code %d\n", status)
	}
	return status, err
}

// attachAny attaches to a container, docker's or a pod's. To a pod's stdin only where -i asks for it.
func (a *app) attachAny(c *urfave.Context) error {
	if err := checkArgs(c, 1, 1); err != nil {
		return err
	}
	o, err := a.podNamed(c.Args().First(), c.String("namespace"), c.IsSet("namespace") || c.IsSet("container"))
	if err != nil {
		return err
	}
	if o == nil {
		return a.attach(c)
	}
	r, err := a.runningContainer(o.pod, c.String("container"), "attach to")
	if err != nil {
		return err
	}
	return a.attachTo(r, c, c.Bool("stdin"))
}

func attachFlags() []urfave.Flag {
	return append(podFlags(),
		&urfave.BoolFlag{Name: "stdin", Aliases: []string{"i"}, Usage: "to a pod: connect stdin, too"},
		&urfave.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "to a pod: nothing changes, a container with a terminal has it"},
	)
}

// cpContainer finds the container of one side of a copy: docker's CONTAINER:, or POD:, pod/POD: and kubectl's NAMESPACE/POD:.
func (a *app) cpContainer(c *urfave.Context, name string) (runtime.Record, error) {
	namespace, certain := c.String("namespace"), c.IsSet("namespace") || c.IsSet("container")
	if of, pod, ok := strings.Cut(name, "/"); ok {
		if _, isPod := podByName(name); !isPod {
			namespace, name, certain = of, pod, true
		}
	}
	o, err := a.podNamed(name, namespace, certain)
	if err != nil {
		return runtime.Record{}, err
	}
	if o == nil {
		return runtime.Find(a.dirs, name)
	}
	return a.runningContainer(o.pod, c.String("container"), "copy files of")
}

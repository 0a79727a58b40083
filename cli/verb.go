package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
)

// What several verbs share: flags, arguments, confirmation, the way into the user namespace.

func forceFlag(usage string) urfave.Flag {
	return &urfave.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: usage}
}

func inspectFormatFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "print each object by a Go `TEMPLATE`"}
}

// inNamespace makes a verb run in the user's id range, where files of images can be removed whoever owns them: outside,
// this process runs itself once more in there, with the same arguments, and ends as that one did.
func (a *app) inNamespace(verb urfave.ActionFunc) urfave.ActionFunc { return a.entering(false, verb) }

// unpacking is inNamespace for verbs that give files their owners there, and so suffer if there are too few ids.
func (a *app) unpacking(verb urfave.ActionFunc) urfave.ActionFunc { return a.entering(true, verb) }

func (a *app) entering(unpacks bool, verb urfave.ActionFunc) urfave.ActionFunc {
	return func(c *urfave.Context) error {
		if a.inside {
			return verb(c)
		}
		return a.reexec(c.Context, unpacks)
	}
}

// confirmed asks before a verb that cannot be undone, unless --force is given. Where nobody can answer it refuses.
func (a *app) confirmed(warning string, verb urfave.ActionFunc) urfave.ActionFunc {
	return func(c *urfave.Context) error {
		if c.Bool("force") || a.inside { // asked before we entered it
			return verb(c)
		}
		if !isTerminal(a.in) {
			return hint.Wrap(errors.New("asking whether to go on: standard input is not a terminal"), "use --force to go on without being asked")
		}
		fmt.Fprintf(a.err, "WARNING! %s\nAre you sure you want to continue? [y/N] ", warning)
		answer, err := bufio.NewReader(a.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return nil
		}
		return verb(c)
	}
}

// forEach does one thing to every argument, and goes on after an error: what can be done is done, and the status
// tells that not all was. Each error but the last, which the caller returns, is printed at once.
// With --force an argument that is not there (errors.Is missing) is no error.
func (a *app) forEach(c *urfave.Context, missing error, do func(arg string) error) error {
	var last error
	for _, arg := range c.Args().Slice() {
		err := do(arg)
		if err == nil || c.Bool("force") && errors.Is(err, missing) {
			continue
		}
		if last != nil {
			a.report(last)
		}
		last = err
	}
	return last
}

// inspectEach prints the objects that get finds, and then fails if some are not there: docker's `inspect` does so.
func inspectEach[T any](a *app, c *urfave.Context, get func(name string) (T, error)) error {
	var objects []T
	failed := a.forEach(c, nil, func(name string) error {
		object, err := get(name)
		if err == nil {
			objects = append(objects, object)
		}
		return err
	})
	return errors.Join(printInspect(a.out, objects, c.String("format")), failed)
}

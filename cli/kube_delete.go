package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/store"
	"codeberg.org/minipod/minipod/pod"
)

func (a *app) deleteVerb() *urfave.Command {
	return &urfave.Command{
		Name: "delete", Usage: "End pods, and remove them and other objects", ArgsUsage: "TYPE [NAME...]    or    TYPE/NAME...    or    -f FILE", Category: groupPods,
		Description: "A pod's containers get SIGTERM, and after its grace period SIGKILL; the verb waits until all is gone.\n\n" +
			examples("minipod delete pod web", "minipod delete -f web.yaml", "minipod delete pods -l app=web", "minipod delete pod web --grace-period 0 --force"),
		Flags: append(manifestFlags("remove the objects of a `FILE`, all files of a folder, or - for standard input"), namespaceFlag(), selectorFlag(),
			&urfave.BoolFlag{Name: "all-namespaces", Aliases: []string{"A"}, Usage: "with --all or -l: in every namespace"},
			&urfave.StringFlag{Name: "field-selector", Usage: "only those with these `FIELDS`: status.phase=Failed"},
			&urfave.BoolFlag{Name: "all", Usage: "every one of the type"},
			&urfave.Int64Flag{Name: "grace-period", Value: -1, Usage: "so many `SECONDS` until SIGKILL (default: the pod's own, 30)", DefaultText: " "},
			&urfave.BoolFlag{Name: "force", Usage: "kill at once, and do not wait until it is gone"},
			&urfave.BoolFlag{Name: "now", Usage: "kill after a second"},
			&urfave.BoolFlag{Name: "wait", Value: true, Usage: "return when all is gone"},
			&urfave.DurationFlag{Name: "timeout", Usage: "give up waiting after this `TIME`: 30s, 2m", DefaultText: " "},
			&urfave.BoolFlag{Name: "ignore-not-found", Usage: "what is not there is no error"},
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print TYPE/NAME with the `FORM` name"},
			dryRunFlag(),
		),
		Action: a.aboutPods(a.delete),
	}
}

// A deletion is a `delete` with its flags read.
type deletion struct {
	a      *app
	grace  *int64
	force  bool
	dry    string
	form   string
	wait   bool
	within time.Duration
	gone   []*kubeObject // what is on its way
}

func (a *app) delete(c *urfave.Context) error {
	d := &deletion{a: a, force: c.Bool("force"), form: c.String("output"), wait: c.Bool("wait"), within: c.Duration("timeout")}
	var err error
	if d.dry, err = dryRun(c); err != nil {
		return err
	}
	if d.form != "" && d.form != "name" {
		return usageError(c, fmt.Sprintf("unexpected -o output mode: %q. We only support '-o name'", d.form))
	}
	if err := d.readGrace(c); err != nil {
		return err
	}
	found, failed := a.toDelete(c)
	if c.Bool("ignore-not-found") && errors.Is(failed, errMissing) {
		failed = nil
	}
	if len(found) == 0 && failed == nil && len(c.StringSlice("filename")) == 0 && (c.Bool("all") || c.String("selector") != "") {
		fmt.Fprintln(a.out, "No resources found")
	}
	for _, o := range found {
		if err := d.begin(o); err != nil && !(c.Bool("ignore-not-found") && errors.Is(err, errMissing)) {
			failed = a.said(failed, err)
		}
	}
	if d.wait && !d.force && d.dry == "" {
		if err := d.await(c.Context); err != nil {
			failed = a.said(failed, err)
		}
	}
	return interrupted(c.Context, failed)
}

func (d *deletion) readGrace(c *urfave.Context) error {
	grace := c.Int64("grace-period")
	switch {
	case c.Bool("now") && c.IsSet("grace-period"):
		return usageError(c, "--now and --grace-period cannot be specified together")
	case c.Bool("now"):
		grace = 1
	case d.force && grace < 0:
		grace = 0
	case grace == 0 && !d.force: // kubectl's: without --force even 0 leaves a second for an orderly end
		grace = 1
	}
	if grace >= 0 {
		d.grace = &grace
	}
	if d.force && grace > 0 {
		return usageError(c, "--force and --grace-period greater than 0 cannot be specified together")
	}
	if d.force {
		a := d.a
		fmt.Fprintln(a.err, "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run for a moment.")
	}
	return nil
}

// toDelete finds what the arguments mean.
// findManifested finds the objects that are in the files of -f. One that is not there is an error, unless it may be gone.
func (a *app) findManifested(c *urfave.Context, mayBeGone bool) (found []*kubeObject, failed error) {
	manifests, failed := a.readManifests(c, false)
	for _, m := range manifests {
		kind, err := findKind(m.Kind)
		var o *kubeObject
		if err == nil {
			o, err = a.findObject(target{kind, m.Name}, m.Namespace)
		}
		switch {
		case err == nil:
			found = append(found, o)
		case !mayBeGone || !errors.Is(err, errMissing):
			failed = a.said(failed, err)
		}
	}
	return found, failed
}

func (a *app) toDelete(c *urfave.Context) ([]*kubeObject, error) {
	if len(c.StringSlice("filename")) > 0 {
		if c.NArg() > 0 {
			return nil, usageError(c, "when paths are provided as input, you may not specify resource arguments as well")
		}
		return a.findManifested(c, false)
	}
	kinds, named, err := parseTargets(c.Args().Slice())
	if err != nil {
		return nil, err
	}
	q, err := parseQuery(c)
	if err != nil {
		return nil, err
	}
	if len(named) == 0 && !c.Bool("all") && !q.selects() {
		return nil, badUsage(errors.New("resource(s) were provided, but no name was specified"), "name them, or write --all")
	}
	if len(named) > 0 && c.Bool("all") {
		return nil, usageError(c, "name cannot be provided when --all is specified")
	}
	return a.findObjects(kinds, named, q)
}

// begin asks for an object's end, and says so. A pod ends by and by; all else is gone at once.
func (d *deletion) begin(o *kubeObject) error {
	how := "deleted"
	if d.force {
		how = "force deleted"
	}
	if d.dry == "" {
		if err := d.remove(o); err != nil {
			return err
		}
	}
	if d.form == "name" {
		_, err := fmt.Fprintln(d.a.out, o)
		return err
	}
	_, err := fmt.Fprintf(d.a.out, "%s %q %s%s\n", o.kind.singular(), o.meta.Name, how, dryNote(d.dry))
	return err
}

func (d *deletion) remove(o *kubeObject) error {
	a := d.a
	switch o.kind.kind {
	case kindPod:
		err := pod.Delete(a.dirs, o.meta.UID, d.grace)
		if errors.Is(err, pod.ErrNotFound) {
			return missing(o.kind, o.meta.Name)
		}
		if err == nil {
			d.gone = append(d.gone, o)
		}
		return err
	case kindEvent:
		return serverError("MethodNotAllowed", "events go by themselves: the oldest are removed as new ones come")
	}
	err := store.Delete(a.dirs, o.kind.kind, o.meta.Namespace, o.meta.Name)
	if errors.Is(err, store.ErrNotFound) {
		return missing(o.kind, o.meta.Name)
	}
	return err
}

// await returns when the pods are gone.
func (d *deletion) await(ctx context.Context) error {
	waiting := ctx
	if d.within > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, d.within)
		defer cancel()
	}
	for _, o := range d.gone {
		err := pod.Wait(waiting, d.a.dirs, o.meta.UID, func(*pod.Stored, *pod.Status) (bool, error) { return false, nil })
		switch {
		case errors.Is(err, pod.ErrNotFound):
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return timedOut(o)
		case err != nil:
			return err
		}
	}
	return nil
}

func timedOut(o *kubeObject) error {
	return hint.Wrap(fmt.Errorf("timed out waiting for the condition on %s/%s", o.kind.plural, o.meta.Name), "see what it does: minipod describe "+o.String())
}

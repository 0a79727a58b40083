package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/kube/manifest"
	"codeberg.org/minipod/minipod/kube/store"
)

func (a *app) replaceVerb() *urfave.Command {
	return &urfave.Command{
		Name: "replace", Usage: "Replace pods and other objects by what a manifest says", ArgsUsage: "-f FILE", Category: groupPods,
		Description: "The object has to be there, and becomes all that the file says and nothing else, where apply leaves what others gave it. What Kubernetes lets nobody\n" +
			"change needs --force: the old object is deleted, and another takes its name.\n\n" +
			examples("minipod replace -f web.yaml", "minipod get configmap settings -o yaml | sed s/red/blue/ | minipod replace -f -", "minipod replace --force -f web.yaml"),
		Flags: append(append(manifestFlags("the manifest: a `FILE`, all .yaml, .yml and .json files of a folder, or - for standard input"), writeFlags()...), selectorFlag(),
			&urfave.BoolFlag{Name: "save-config", Usage: "keep the file in the object's annotation, as apply does, which then knows it"},
			&urfave.BoolFlag{Name: "force", Usage: "delete what is there, wait for its end, and make it anew"},
			&urfave.Int64Flag{Name: "grace-period", Value: -1, Usage: "with --force: so many `SECONDS` until SIGKILL (default: the pod's own, 30)", DefaultText: " "},
			&urfave.DurationFlag{Name: "timeout", Usage: "with --force: give up waiting after this `TIME`: 30s, 2m", DefaultText: " "},
		),
		Action: a.aboutPods(func(c *urfave.Context) error {
			if err := checkArgs(c, 0, 0); err != nil {
				return err
			}
			return a.replace(c)
		}),
	}
}

func (a *app) replace(c *urfave.Context) error {
	force, grace := c.Bool("force"), c.Int64("grace-period")
	dry, err := dryRun(c)
	switch {
	case err != nil:
		return err
	case len(c.StringSlice("filename")) == 0:
		return badUsage(errors.New("must specify -f"), "write -f FILE, or -f - for standard input")
	case force && dry != "":
		return usageError(c, "--dry-run can not be used when --force is set")
	case !force && c.IsSet("grace-period"):
		return usageError(c, "--grace-period must have --force specified")
	case !force && c.IsSet("timeout"):
		return usageError(c, "--timeout must have --force specified")
	}
	q, err := parseQuery(c)
	if err != nil {
		return err
	}
	objects, failed := a.readManifests(c, false)
	if objects, err = selected(objects, q); err != nil {
		return err
	}
	for _, o := range objects {
		if c.Bool("save-config") {
			err = o.SaveConfig()
		}
		if err == nil && force {
			d := &deletion{a: a, within: c.Duration("timeout"), form: c.String("output")}
			if grace >= 0 {
				d.grace = new(max(grace, 1)) // kubectl's: even 0 leaves a second for an orderly end
			}
			err = a.remake(c.Context, d, o)
		} else if err == nil {
			err = a.replaceObject(o, dry != "")
		}
		if err == nil {
			err = a.sayWritten(o, "replaced"+dryNote(dry), c.String("output"))
		}
		if err != nil {
			failed = a.said(failed, err)
		}
	}
	return interrupted(c.Context, failed)
}

// replaceObject makes an object that is there what o says.
func (a *app) replaceObject(o *manifest.Object, dry bool) error {
	kind, err := findKind(o.Kind)
	if err != nil {
		return err
	}
	there, err := a.findObject(target{kind, o.Name}, o.Namespace)
	if err != nil {
		return err
	}
	_, _, err = a.modify(there, dry, func(old []byte) (*manifest.Object, bool, error) {
		changed, err := o.Replace(old)
		return o, changed, err
	})
	return err
}

// remake deletes what there is of o's name, and makes o.
func (a *app) remake(ctx context.Context, d *deletion, o *manifest.Object) error {
	kind, err := findKind(o.Kind)
	if err != nil {
		return err
	}
	there, err := a.findObject(target{kind, o.Name}, o.Namespace)
	if err == nil {
		if err = d.begin(there); err == nil {
			err = d.await(ctx)
		}
	}
	if err != nil && !errors.Is(err, errMissing) {
		return err
	}
	if o.Kind == kindPod {
		return a.createPod(o, false)
	}
	return store.Update(a.dirs, o.Kind, o.Namespace, o.Name, func(old []byte) ([]byte, error) {
		if old != nil { // somebody else was faster
			return nil, alreadyExists(o)
		}
		if err := o.Created(newUID(), time.Now()); err != nil {
			return nil, fmt.Errorf("make %s/%s: %w", kind.singular(), o.Name, err)
		}
		return o.JSON, nil
	})
}

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/manifest"
	"codeberg.org/minipod/minipod/kube/store"
	"codeberg.org/minipod/minipod/pod"
)

func (a *app) patchVerb() *urfave.Command {
	return &urfave.Command{
		Name: "patch", Usage: "Change some fields of pods and other objects", ArgsUsage: "TYPE NAME -p PATCH    or    -f FILE -p PATCH", Category: groupPods,
		Description: "A patch is YAML or JSON: an object with the fields that shall be another, where null takes one away. Its --type says how lists merge:\n" +
			"strategic: containers, volumes and variables by their names, as Kubernetes has it. merge: a list replaces a list (RFC 7396).\n" +
			"json: a list of operations (RFC 6902). Of a pod that is there, Kubernetes lets little be changed; docs/kubectl.md tells what.\n\n" +
			examples(`minipod patch pod web -p '{"spec":{"containers":[{"name":"nginx","image":"nginx:1.27"}]}}'`,
				`minipod patch configmap settings --type merge -p 'data: {colour: red, size: null}'`,
				`minipod patch pod web --type json -p '[{"op": "replace", "path": "/spec/containers/0/image", "value": "nginx:1.27"}]'`),
		Flags: append(append(manifestFlags("change the objects of a `FILE`, all files of a folder, or - for standard input"), writeFlags()...),
			&urfave.StringFlag{Name: "patch", Aliases: []string{"p"}, Usage: "the `PATCH`"},
			&urfave.StringFlag{Name: "patch-file", Usage: "a `FILE` that has the patch"},
			&urfave.StringFlag{Name: "type", Value: string(manifest.Strategic), Usage: "the patch's `LANGUAGE`: json, merge or strategic"},
		),
		Action: a.aboutPods(a.patch),
	}
}

func (a *app) patch(c *urfave.Context) error {
	p, err := a.readPatch(c)
	if err != nil {
		return err
	}
	dry, err := dryRun(c)
	if err != nil {
		return err
	}
	found, failed := a.named(c)
	for _, o := range found {
		changed, did, err := a.modify(o, dry != "", func(old []byte) (*manifest.Object, bool, error) { return p.Apply(o.kind.kind, old) })
		if err == nil {
			how := "patched"
			if !did {
				how = "patched (no change)"
			}
			err = a.sayWritten(changed, how+dryNote(dry), c.String("output"))
		}
		if err != nil {
			failed = a.said(failed, err)
		}
	}
	return failed
}

func (a *app) readPatch(c *urfave.Context) (*manifest.Patch, error) {
	how := manifest.PatchType(strings.ToLower(c.String("type")))
	if !slices.Contains(manifest.PatchTypes(), how) {
		return nil, usageError(c, fmt.Sprintf("--type must be one of %v, not %q", manifest.PatchTypes(), c.String("type")))
	}
	text := []byte(c.String("patch"))
	switch file := c.String("patch-file"); {
	case file != "" && len(text) > 0:
		return nil, usageError(c, "cannot specify --patch and --patch-file together")
	case file != "":
		var err error
		if text, err = a.readAll(file); err != nil {
			return nil, fmt.Errorf("read the patch: %w", err)
		}
	case len(text) == 0:
		return nil, badUsage(errors.New("must specify --patch or --patch-file containing the contents of the patch"), `write -p '{"metadata": {"labels": {"tier": "front"}}}'`)
	}
	return manifest.ReadPatch(how, text)
}

func (a *app) readAll(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(a.in)
	}
	return os.ReadFile(file)
}

// named are the objects that the arguments or the files of -f name. A verb that changes does so to none that it was not told.
func (a *app) named(c *urfave.Context) ([]*kubeObject, error) {
	if !slices.Contains([]string{"", "name", "json", "yaml"}, c.String("output")) {
		return nil, usageError(c, fmt.Sprintf("unknown output form %q: use name, json or yaml", c.String("output")))
	}
	if len(c.StringSlice("filename")) > 0 {
		if c.NArg() > 0 {
			return nil, usageError(c, "when paths are provided as input, you may not specify resource arguments as well")
		}
		return a.findManifested(c, false)
	}
	_, named, err := parseTargets(c.Args().Slice())
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		return nil, badUsage(errors.New("resource(s) were provided, but no name was specified"), "write pod/NAME")
	}
	return a.findObjects(nil, named, query{namespace: c.String("namespace")})
}

// modify changes an object where it is kept, by what it is at that moment: do makes the next version of its JSON, and tells whether that is another.
func (a *app) modify(o *kubeObject, dry bool, do func(old []byte) (*manifest.Object, bool, error)) (changed *manifest.Object, did bool, err error) {
	switch o.kind.kind {
	case kindEvent:
		return nil, false, serverError("MethodNotAllowed", "events can't be changed")
	case kindPod:
		for {
			changed, did, err = a.modifyPod(o, dry, do)
			if !errors.Is(err, errOutdated) {
				return changed, did, conflicting(o, err)
			}
		}
	}
	done := errors.New("done") // keeps Update from writing
	err = store.Update(a.dirs, o.kind.kind, o.meta.Namespace, o.meta.Name, func(old []byte) (data []byte, err error) {
		if old == nil {
			return nil, missing(o.kind, o.meta.Name)
		}
		if changed, did, err = do(old); err != nil {
			return nil, err
		}
		if dry || !did {
			return nil, done
		}
		return changed.JSON, nil
	})
	if errors.Is(err, done) {
		err = nil
	}
	return changed, did, conflicting(o, err)
}

func (a *app) modifyPod(o *kubeObject, dry bool, do func(old []byte) (*manifest.Object, bool, error)) (changed *manifest.Object, did bool, err error) {
	there, err := pod.Find(a.dirs, o.meta.Namespace, o.meta.Name)
	if errors.Is(err, pod.ErrNotFound) {
		return nil, false, missing(o.kind, o.meta.Name)
	}
	if err != nil {
		return nil, false, err
	}
	old, err := liveManifest(there)
	if err != nil {
		return nil, false, err
	}
	if changed, did, err = do(old); err != nil || !did || dry {
		return changed, did, err
	}
	return changed, true, changePod(a.dirs, there, changed)
}

// conflicting words an error as the API server does.
func conflicting(o *kubeObject, err error) error {
	switch {
	case errors.Is(err, manifest.ErrConflict):
		return hint.Wrap(serverError("Conflict", "Operation cannot be fulfilled on %s %q: %v", o.kind.plural, o.meta.Name, err), "read it again, or leave out metadata.resourceVersion")
	case isInvalid(err):
		return hint.Wrap(err, "what can't be changed is made anew: minipod replace --force -f FILE")
	}
	return err
}

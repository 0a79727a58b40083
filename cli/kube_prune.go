package cli

import (
	"errors"
	"maps"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/kube/manifest"
)

func applyFlags() []urfave.Flag {
	return []urfave.Flag{
		selectorFlag(),
		&urfave.BoolFlag{Name: "force", Usage: "delete what may not be changed so, and make it anew"},
		&urfave.BoolFlag{Name: "prune", Usage: "delete what was applied before and is not in the files: with -l or --all"},
		&urfave.BoolFlag{Name: "all", Usage: "with --prune: of all objects in the files' namespaces"},
		&urfave.BoolFlag{Name: "server-side", Hidden: true},
	}
}

// apply is `apply`: it writes, and then prunes if all of that went well.
func (a *app) apply(c *urfave.Context) error {
	switch all, selects := c.Bool("all"), c.String("selector") != ""; {
	case c.Bool("server-side"):
		return badUsage(errors.New("--server-side: there is no server, and nobody is noted as a field's manager"), "leave it out: apply merges the file with what was applied before and what is there")
	case all && selects:
		return usageError(c, "cannot set --all and --selector at the same time")
	case c.Bool("prune") && !all && !selects:
		return badUsage(errors.New("all resources selected for prune without explicitly passing --all"), "choose with -l SELECTOR, or pass --all to prune whatever is not in the files")
	}
	written, err := a.write(c, false)
	if err != nil || !c.Bool("prune") {
		return err
	}
	return a.prune(c, written)
}

// prune deletes the objects in the namespaces of those that were written which `apply` made, too, and which are not among them: -l
// chooses. What has not the annotation of an apply was made by somebody else, and stays. It does not wait for a pod's end, as kubectl's.
func (a *app) prune(c *urfave.Context, written []*manifest.Object) error {
	q, err := parseQuery(c)
	if err != nil {
		return err
	}
	dry, err := dryRun(c)
	if err != nil {
		return err
	}
	type key struct{ kind, namespace, name string }
	kept, namespaces := map[key]bool{}, map[string]bool{}
	for _, o := range written {
		kept[key{o.Kind, o.Namespace, o.Name}], namespaces[o.Namespace] = true, true
	}
	d := &deletion{a: a, form: c.String("output"), dry: dry, how: "pruned"}
	var failed error
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		q.namespace = namespace
		found, err := a.findObjects(prunable(), nil, q)
		if err != nil {
			return errors.Join(failed, err)
		}
		for _, o := range found {
			_, applied := o.meta.Annotations[manifest.LastApplied]
			if !applied || kept[key{o.kind.kind, namespace, o.meta.Name}] || o.meta.Deleted != nil {
				continue
			}
			if err := d.begin(o); err != nil && !errors.Is(err, errMissing) {
				failed = a.said(failed, err)
			}
		}
	}
	return failed
}

// prunable are the kinds that --prune looks at, pods first: what they use goes after them.
func prunable() []kubeKind {
	return slices.DeleteFunc(kubeKinds(), func(k kubeKind) bool { return k.kind == kindEvent })
}

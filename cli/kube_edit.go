package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/kube/selector"
	"codeberg.org/minipod/minipod/kube/store"
	"codeberg.org/minipod/minipod/pod"
)

// What changes objects that there are: label, annotate, set image.

// labelVerb is `label` or `annotate`.
func (a *app) labelVerb(verb string) *urfave.Command {
	what, example := "labels", "minipod label pod web tier=front"
	if verb == "annotate" {
		what, example = "annotations", "minipod annotate pod web note='for the demo'"
	}
	return &urfave.Command{
		Name: verb, Usage: "Change the " + what + " of pods and other objects", ArgsUsage: "TYPE NAME KEY=VALUE... [KEY-...]", Category: groupPods,
		Description: "KEY- takes one away.\n\n" + examples(example, strings.Replace(example, "pod web", "pods --all --overwrite", 1)),
		Flags: []urfave.Flag{
			namespaceFlag(), selectorFlag(),
			&urfave.BoolFlag{Name: "all-namespaces", Aliases: []string{"A"}, Usage: "with --all or -l: in every namespace"},
			&urfave.BoolFlag{Name: "all", Usage: "every one of the type"},
			&urfave.BoolFlag{Name: "overwrite", Usage: "change those that have another value, too"},
			&urfave.BoolFlag{Name: "list", Usage: "print the " + what},
		},
		Action: a.aboutPods(func(c *urfave.Context) error { return a.label(c, verb, what) }),
	}
}

// A marking is what is to become of an object's labels or annotations.
type marking struct {
	verb, what string
	set        map[string]string
	remove     []string
	overwrite  bool
}

// parseMarking parts the arguments: what is meant, and the changes.
func parseMarking(args []string, verb, what string) (m marking, targets []string, err error) {
	m = marking{verb: verb, what: what, set: map[string]string{}}
	for i, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		removed, isRemoval := strings.CutSuffix(arg, "-")
		switch {
		case ok && i > 0:
			m.set[key] = value
		case isRemoval && i > 0:
			m.remove, key = append(m.remove, removed), removed
		case len(m.set)+len(m.remove) > 0:
			return m, nil, badUsage(fmt.Errorf("all resources must be specified before %s changes: %s", strings.TrimSuffix(what, "s"), arg), "write minipod "+verb+" pod NAME KEY=VALUE")
		default:
			targets = append(targets, arg)
			continue
		}
		if err := selector.CheckKey(key); err != nil {
			return m, nil, badUsage(fmt.Errorf("invalid %s key %q: %w", strings.TrimSuffix(what, "s"), key, err), "use letters, digits, - _ and .")
		}
		if err := selector.CheckValue(value); ok && what == "labels" && err != nil {
			return m, nil, badUsage(fmt.Errorf("invalid label value %q: %w", value, err), "use at most 63 letters, digits, - _ and .; annotations take any text")
		}
	}
	for _, key := range m.remove {
		if _, both := m.set[key]; both {
			return m, nil, badUsage(fmt.Errorf("can not both modify and remove a %s in the same command", strings.TrimSuffix(what, "s")), "do one after the other")
		}
	}
	return m, targets, nil
}

// apply returns the changed map, and how kubectl calls what happened: labeled, unlabeled, annotated, not labeled.
func (m marking) apply(before map[string]string) (after map[string]string, how string, err error) {
	after = maps.Clone(before)
	if after == nil {
		after = map[string]string{}
	}
	var taken []string
	for _, key := range slices.Sorted(maps.Keys(m.set)) {
		if had, ok := before[key]; ok && had != m.set[key] && !m.overwrite {
			taken = append(taken, fmt.Sprintf("'%s' already has a value (%s)", key, had))
		}
		after[key] = m.set[key]
	}
	if len(taken) > 0 {
		return nil, "", hint.Wrap(fmt.Errorf("%s, and --overwrite is false", strings.Join(taken, ", ")), "change it nevertheless with --overwrite")
	}
	for _, key := range m.remove {
		delete(after, key)
	}
	past := map[string]string{"label": "labeled", "annotate": "annotated"}[m.verb]
	switch {
	case maps.Equal(before, after):
		return after, "not " + past, nil
	case m.verb == "label" && len(m.set) == 0:
		return after, "unlabeled", nil
	}
	return after, past, nil
}

func (a *app) label(c *urfave.Context, verb, what string) error {
	m, targets, err := parseMarking(c.Args().Slice(), verb, what)
	if err != nil {
		return err
	}
	m.overwrite = c.Bool("overwrite")
	if len(m.set)+len(m.remove) == 0 && !c.Bool("list") {
		return badUsage(fmt.Errorf("at least one %s update is required", strings.TrimSuffix(what, "s")), "write KEY=VALUE, or KEY- to take one away")
	}
	kinds, named, err := parseTargets(targets)
	if err != nil {
		return err
	}
	q, err := parseQuery(c)
	if err != nil {
		return err
	}
	if len(named) == 0 && !c.Bool("all") && !q.selects() {
		return badUsage(errors.New("resource(s) were provided, but no name was specified"), "name them, or write -l or --all")
	}
	found, failed := a.findObjects(kinds, named, q)
	for _, o := range found {
		if err := a.mark(o, m, c.Bool("list")); err != nil {
			failed = a.said(failed, fmt.Errorf("%s: %w", o, err))
		}
	}
	return failed
}

func (a *app) mark(o *kubeObject, m marking, list bool) error {
	before := o.meta.Labels
	if m.verb == "annotate" {
		before = o.meta.Annotations
	}
	after, how, err := m.apply(before)
	if err != nil {
		return err
	}
	if !maps.Equal(before, after) {
		if err := a.changeMetadata(o, m.verb, m.apply); err != nil {
			return err
		}
	}
	if list {
		for _, key := range slices.Sorted(maps.Keys(after)) {
			fmt.Fprintf(a.out, "%s=%s\n", key, after[key])
		}
		return nil
	}
	_, err = fmt.Fprintf(a.out, "%s %s\n", o, how)
	return err
}

// changeMetadata changes an object where it is kept, by what it is at that moment.
func (a *app) changeMetadata(o *kubeObject, verb string, change func(map[string]string) (map[string]string, string, error)) error {
	switch o.kind.kind {
	case kindEvent:
		return serverError("MethodNotAllowed", "events can't be changed")
	case kindPod:
		return pod.Change(a.dirs, o.meta.UID, nil, func(p *pod.Pod) (err error) {
			m := &p.Metadata.Labels
			if verb == "annotate" {
				m = &p.Metadata.Annotations
			}
			*m, _, err = change(*m)
			return err
		})
	}
	return store.Update(a.dirs, o.kind.kind, o.meta.Namespace, o.meta.Name, func(old []byte) ([]byte, error) {
		if old == nil {
			return nil, missing(o.kind, o.meta.Name)
		}
		now, err := readObject(o.kind, old)
		if err != nil {
			return nil, err
		}
		field, before := "labels", now.meta.Labels
		if verb == "annotate" {
			field, before = "annotations", now.meta.Annotations
		}
		after, _, err := change(before)
		if err != nil {
			return nil, err
		}
		meta, ok := now.fields["metadata"].(map[string]any)
		if !ok {
			return nil, errors.New("it has no metadata")
		}
		meta[field] = after
		return json.Marshal(now.fields)
	})
}

func (a *app) setVerb() *urfave.Command {
	return group("set", groupPods, "Change pods that run", []*urfave.Command{{
		Name: "image", Usage: "Give containers of a pod another image; the others run on", ArgsUsage: "pod/NAME CONTAINER=IMAGE...",
		Description: examples("minipod set image pod/web nginx=nginx:1.27", "minipod set image pod web '*=busybox'"),
		Flags:       []urfave.Flag{namespaceFlag(), selectorFlag(), &urfave.BoolFlag{Name: "all", Usage: "every pod"}},
		Action:      a.aboutPods(a.setImage),
	}})
}

func (a *app) setImage(c *urfave.Context) error {
	var targets []string
	images := map[string]string{}
	for _, arg := range c.Args().Slice() {
		name, image, ok := strings.Cut(arg, "=")
		switch {
		case !ok:
			targets = append(targets, arg)
		case name == "" || image == "":
			return badUsage(fmt.Errorf("invalid image change %q", arg), "write CONTAINER=IMAGE")
		default:
			images[name] = image
		}
	}
	if len(images) == 0 {
		return badUsage(errors.New("no image given"), "write CONTAINER=IMAGE")
	}
	kinds, named, err := parseTargets(targets)
	if err != nil {
		return err
	}
	q, err := parseQuery(c)
	if err != nil {
		return err
	}
	if len(named) == 0 && !c.Bool("all") && !q.selects() {
		return badUsage(errors.New("one or more resources must be specified as <resource> <name> or <resource>/<name>"), "write pod/NAME")
	}
	found, failed := a.findObjects(kinds, named, q)
	for _, o := range found {
		if err := a.setImages(o, images); err != nil {
			failed = a.said(failed, err)
		}
	}
	return failed
}

func (a *app) setImages(o *kubeObject, images map[string]string) error {
	if o.pod == nil {
		return hint.Wrap(fmt.Errorf("%s has no containers", o), "name a pod")
	}
	all := containerNames(o.pod)
	for name := range images {
		if name != "*" && !slices.Contains(all, name) {
			return hint.Wrap(fmt.Errorf("unable to find container named %q", name), "choose one of: "+strings.Join(all, ", "))
		}
	}
	if !replaceImages(o.pod, images) {
		return nil // kubectl says nothing, too
	}
	manifest, err := manifestWith(o, o.pod)
	if err != nil {
		return err
	}
	err = pod.Change(a.dirs, o.meta.UID, manifest, func(p *pod.Pod) error {
		replaceImages(&print.Pod{Pod: *p}, images)
		return nil
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s image updated\n", o)
	return err
}

// replaceImages changes the images of the pod's containers, in place.
func replaceImages(p *print.Pod, images map[string]string) (changed bool) {
	for _, list := range [][]pod.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			image, ok := images[list[i].Name]
			if !ok {
				image, ok = images["*"]
			}
			if ok && list[i].Image != image {
				list[i].Image, changed = image, true
			}
		}
	}
	return changed
}

// manifestWith is the pod's manifest with the images that p has.
func manifestWith(o *kubeObject, p *print.Pod) ([]byte, error) {
	spec, ok := o.fields["spec"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s has no spec", o)
	}
	delete(spec, "nodeName")
	delete(o.fields, "status")
	for field, list := range map[string][]pod.Container{"containers": p.Spec.Containers, "initContainers": p.Spec.InitContainers} {
		items, _ := spec[field].([]any)
		for i, item := range items {
			if c, ok := item.(map[string]any); ok && i < len(list) {
				c["image"] = list[i].Image
			}
		}
	}
	return json.Marshal(o.fields)
}

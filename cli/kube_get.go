package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/pod"
)

func (a *app) getVerb() *urfave.Command {
	return &urfave.Command{
		Name: "get", Usage: "List pods and other objects", ArgsUsage: "TYPE[,TYPE...] [NAME...]    or    TYPE/NAME...", Category: groupPods,
		Description: "Types: pods (po), configmaps (cm), secrets, persistentvolumeclaims (pvc), events (ev), all.\n\n" +
			examples("minipod get pods", "minipod get pods -o wide -l app=web -w", "minipod get pod web -o yaml", "minipod get pods -o jsonpath='{.items[*].status.podIP}'",
				"minipod get pods -o custom-columns=NAME:.metadata.name,IP:.status.podIP", "minipod get events --field-selector involvedObject.name=web"),
		Flags: append(namespaceFlags(),
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print as `FORM`: wide, json, yaml, name, jsonpath=…, custom-columns=…, go-template=… (or …-file=FILE)"},
			selectorFlag(),
			&urfave.StringFlag{Name: "field-selector", Usage: "only those with these `FIELDS`: status.phase=Running,metadata.name!=web"},
			&urfave.StringFlag{Name: "sort-by", Usage: "sort by the field at this JSON `PATH`: .metadata.creationTimestamp"},
			&urfave.StringSliceFlag{Name: "label-columns", Aliases: []string{"L"}, Usage: "show these `LABELS` as columns"},
			&urfave.BoolFlag{Name: "show-labels", Usage: "show all labels as the last column"},
			&urfave.BoolFlag{Name: "show-kind", Usage: "show the kind in front of the names"},
			&urfave.BoolFlag{Name: "no-headers", Usage: "print no titles"},
			&urfave.BoolFlag{Name: "ignore-not-found", Usage: "what is not there is no error"},
			&urfave.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on with what changes, until Ctrl-C"},
			&urfave.BoolFlag{Name: "watch-only", Usage: "print what changes, and not what there is"},
		),
		Action: a.aboutPods(a.get),
	}
}

// A getting is a `get` with its flags read.
type getting struct {
	a      *app
	c      *urfave.Context
	form   string // of -o, up to =
	detail string // of -o, behind it
	kinds  []kubeKind
	named  []target
	q      query

	printer print.Printer
}

func (a *app) get(c *urfave.Context) error {
	g := &getting{a: a, c: c}
	var err error
	if g.form, g.detail, err = parseForm(c); err != nil {
		return err
	}
	if g.kinds, g.named, err = parseTargets(c.Args().Slice()); err != nil {
		return err
	}
	if g.q, err = parseQuery(c); err != nil {
		return err
	}
	g.printer = print.Printer{Wide: g.form == "wide", NoHeaders: c.Bool("no-headers")}
	if c.Bool("watch") || c.Bool("watch-only") {
		return interrupted(c.Context, g.watch())
	}
	found, failed := a.findObjects(g.kinds, g.named, g.q)
	if c.Bool("ignore-not-found") && errors.Is(failed, errMissing) {
		failed = nil
	}
	if by := c.String("sort-by"); by != "" {
		if err := print.SortBy(found, by, func(o *kubeObject) map[string]any { return o.fields }); err != nil {
			return badUsage(err, "write --sort-by .metadata.name")
		}
	}
	if len(found) == 0 && (failed != nil || len(g.named) > 0) {
		return failed
	}
	return errors.Join(g.print(found), failed)
}

// parseForm reads -o. The forms that end in -file have their detail in a file.
func parseForm(c *urfave.Context) (form, detail string, err error) {
	form, detail, has := strings.Cut(c.String("output"), "=")
	if name, ok := strings.CutSuffix(form, "-file"); ok && has {
		text, err := os.ReadFile(detail)
		if err != nil {
			return "", "", fmt.Errorf("read --output's file: %w", err)
		}
		form, detail = name, strings.TrimSpace(string(text))
	}
	switch form {
	case "", "wide", "json", "yaml", "name":
		if !has {
			return form, "", nil
		}
	case "jsonpath", "custom-columns", "go-template":
		return form, detail, nil
	case "template":
		return "go-template", detail, nil
	}
	return "", "", usageError(c, fmt.Sprintf("unable to match a printer suitable for the output format %q, allowed formats are: custom-columns,custom-columns-file,go-template,go-template-file,json,jsonpath,jsonpath-file,name,wide,yaml", c.String("output")))
}

// print writes what was found as -o asks.
func (g *getting) print(found []*kubeObject) error {
	switch g.form {
	case "", "wide":
		return g.tables(found)
	case "name":
		for _, o := range found {
			if _, err := fmt.Fprintln(g.a.out, o); err != nil {
				return err
			}
		}
		return nil
	case "custom-columns":
		var all []map[string]any
		for _, o := range found {
			all = append(all, o.fields)
		}
		t, err := print.Custom(g.detail, all)
		if err != nil {
			return badUsage(err, "write -o custom-columns=NAME:.metadata.name,IP:.status.podIP")
		}
		return g.printer.Print(g.a.out, t)
	}
	return g.whole(g.one(found))
}

// one is what jsonpath and templates look at: the object, if just one was named, else a List.
func (g *getting) one(found []*kubeObject) any {
	if len(g.named) == 1 && len(found) == 1 {
		return found[0].fields
	}
	items := make([]any, len(found))
	for i, o := range found {
		items[i] = o.fields
	}
	return map[string]any{"apiVersion": "v1", "kind": "List", "items": items, "metadata": map[string]any{"resourceVersion": ""}}
}

func (g *getting) whole(v any) error {
	switch g.form {
	case "jsonpath":
		if err := print.JSONPath(g.a.out, g.detail, v); err != nil {
			return badUsage(err, "write -o jsonpath='{.metadata.name}'; -o json shows the names there are")
		}
		return nil
	case "go-template":
		if err := print.Template(g.a.out, g.detail, v); err != nil {
			return badUsage(err, "write -o go-template='{{.metadata.name}}'; -o json shows the names there are")
		}
		return nil
	}
	return printRecords(g.a.out, g.form, v)
}

// tables writes a table a kind, with an empty line between them.
func (g *getting) tables(found []*kubeObject) error {
	if len(found) == 0 {
		where := ""
		if g.q.namespace != "" {
			where = " in " + g.q.namespace + " namespace."
		}
		fmt.Fprintln(g.a.err, "No resources found"+where)
		return nil
	}
	var kinds []kubeKind
	for _, o := range found {
		if !slices.ContainsFunc(kinds, func(k kubeKind) bool { return k.kind == o.kind.kind }) {
			kinds = append(kinds, o.kind)
		}
	}
	for i, kind := range kinds {
		if i > 0 {
			fmt.Fprintln(g.a.out)
		}
		list := slices.DeleteFunc(slices.Clone(found), func(o *kubeObject) bool { return o.kind.kind != kind.kind })
		printer := g.printer // titles for each
		if err := printer.Print(g.a.out, g.table(kind, list, len(kinds) > 1)); err != nil {
			return err
		}
	}
	return nil
}

// table is a kind's, with the columns that flags add. titled has the kind in front of names.
func (g *getting) table(kind kubeKind, list []*kubeObject, titled bool) print.Table {
	t := tableOf(kind, list, time.Now())
	name := slices.IndexFunc(t.Columns, func(c print.Column) bool { return c.Title == "NAME" })
	all := strings.HasPrefix(g.c.Args().First(), "all")
	if titled || all || g.c.Bool("show-kind") {
		for i, o := range list {
			t.Rows[i][name] = o.String()
		}
	}
	cells := func(of func(o *kubeObject) string) []string {
		column := make([]string, len(list))
		for i, o := range list {
			column[i] = of(o)
		}
		return column
	}
	if g.q.namespace == "" {
		t.Prepend("NAMESPACE", cells(func(o *kubeObject) string { return o.meta.Namespace }))
	}
	for _, labels := range g.c.StringSlice("label-columns") {
		for label := range strings.SplitSeq(labels, ",") {
			title := strings.ToUpper(label[strings.LastIndex(label, "/")+1:])
			t.Append(title, cells(func(o *kubeObject) string { return o.meta.Labels[label] }))
		}
	}
	if g.c.Bool("show-labels") {
		t.Append("LABELS", cells(func(o *kubeObject) string { return print.Labels(o.meta.Labels) }))
	}
	return t
}

// watch prints what there is and then each change.
func (g *getting) watch() error {
	kind := podKind()
	switch {
	case len(g.kinds) > 1 || len(g.named) > 1:
		return usageError(g.c, "you may only specify a single resource type when watching")
	case len(g.named) == 1:
		kind = g.named[0].kind
	case len(g.kinds) == 1:
		kind = g.kinds[0]
	}
	if !slices.Contains([]string{"", "wide", "name", "json", "yaml", "jsonpath", "go-template"}, g.form) {
		return usageError(g.c, "--watch does not go with -o "+g.form)
	}
	show := func(o *kubeObject) error {
		if len(g.named) == 1 && o.meta.Name != g.named[0].name {
			return nil
		}
		if ok, err := g.q.match(o); err != nil || !ok {
			return err
		}
		switch g.form {
		case "", "wide":
			return g.printer.Print(g.a.out, g.table(o.kind, []*kubeObject{o}, false))
		case "name":
			_, err := fmt.Fprintln(g.a.out, o)
			return err
		}
		return g.whole(o.fields)
	}
	switch kind.kind {
	case kindPod:
		if len(g.named) == 1 {
			if _, err := g.a.findObject(g.named[0], g.q.namespace); err != nil {
				return err
			}
		}
		return g.a.watchPods(g.c.Context, g.q.namespace, g.c.Bool("watch-only"), show)
	case kindEvent:
		return g.watchEvents(g.c.Context, show)
	}
	return usageError(g.c, "only pods and events can be watched")
}

func (g *getting) watchEvents(ctx context.Context, show func(*kubeObject) error) error {
	if !g.c.Bool("watch-only") {
		found, err := g.a.findObjects(g.kinds, g.named, g.q)
		for i := 0; i < len(found) && err == nil; i++ {
			err = show(found[i])
		}
		if err != nil {
			return err
		}
	}
	return event.Follow(ctx, g.a.dirs, func(e event.Event) error {
		if g.q.namespace != "" && e.Metadata.Namespace != g.q.namespace {
			return nil
		}
		o, err := readEvent(&e)
		if err != nil {
			return err
		}
		return show(o)
	})
}

// watchPods shows each pod, then each change of one.
func (a *app) watchPods(ctx context.Context, namespace string, onlyNew bool, show func(*kubeObject) error) error {
	last := map[string]*kubeObject{}
	begun := time.Now()
	return pod.Watch(ctx, a.dirs, namespace, func(s pod.Sight) error {
		uid := s.Pod.Metadata.UID
		o := last[uid]
		if !s.Gone { // else its manifest is, too
			var err error
			if o, err = assemblePod(s.Pod, s.Status); err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				return err
			}
		}
		first := last[uid] == nil
		last[uid] = o
		if o == nil || onlyNew && first && o.meta.Created.Before(begun) {
			return nil
		}
		return show(o)
	})
}

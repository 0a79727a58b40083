package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/pod"
)

// waitFlags are kubectl's: docker's wait has none.
func waitFlags() []urfave.Flag {
	return append(append(manifestFlags("with --for: wait for the objects of a `FILE`, all files of a folder, or - for standard input"), namespaceFlags()...), selectorFlag(),
		&urfave.StringSliceFlag{Name: "for", Usage: "wait for pods: this `CONDITION` of them: condition=Ready, condition=Ready=False, delete, create, jsonpath='{.status.phase}'=Running"},
		&urfave.StringFlag{Name: "field-selector", Usage: "only those with these `FIELDS`: status.phase=Running"},
		&urfave.BoolFlag{Name: "all", Usage: "every one of the type"},
		&urfave.DurationFlag{Name: "timeout", Value: 30 * time.Second, Usage: "with --for: give up after this `TIME`; 0: look once, negative: a week"},
	)
}

// waitAny is docker's wait, or with --for kubectl's.
func (a *app) waitAny(c *urfave.Context) error {
	switch len(c.StringSlice("for")) {
	case 0:
		for _, flag := range []string{"selector", "namespace", "all", "timeout", "all-namespaces", "field-selector", "filename", "recursive"} {
			if c.IsSet(flag) {
				return usageError(c, "--"+flag+" goes with --for")
			}
		}
		for _, arg := range c.Args().Slice() {
			if strings.Contains(arg, "/") {
				return usageError(c, "what to wait for is missing: --for condition=Ready")
			}
		}
		return a.wait(c)
	case 1:
		a.revive()
		return interrupted(c.Context, a.waitFor(c, c.StringSlice("for")[0]))
	}
	return usageError(c, "--for may be given once")
}

// A condition is what is waited for. Of delete, met is nil.
type condition struct {
	met    func(o *kubeObject) (bool, error)
	create bool
}

// parseCondition reads --for.
func parseCondition(text string) (condition, error) {
	how, rest, _ := strings.Cut(text, "=")
	switch strings.ToLower(how) {
	case "delete":
		return condition{}, nil
	case "create":
		return condition{met: func(*kubeObject) (bool, error) { return true, nil }, create: true}, nil
	case "condition":
		name, want, ok := strings.Cut(rest, "=")
		if !ok {
			want = pod.ConditionTrue
		}
		if name == "" {
			break
		}
		return condition{met: func(o *kubeObject) (bool, error) {
			if o.pod == nil {
				return false, nil
			}
			return slices.ContainsFunc(o.pod.Status.Conditions, func(c pod.Condition) bool {
				return strings.EqualFold(c.Type, name) && strings.EqualFold(c.Status, want)
			}), nil
		}}, nil
	case "jsonpath":
		return pathCondition(rest)
	}
	return condition{}, badUsage(fmt.Errorf("unrecognized condition: %q", text), "write --for condition=Ready, --for delete or --for jsonpath='{.status.phase}'=Running")
}

// pathCondition is {PATH}=VALUE, or {PATH} for any value.
func pathCondition(text string) (condition, error) {
	advice := "write --for jsonpath='{.status.phase}'=Running"
	end := strings.LastIndex(text, "}") + 1
	if end == 0 {
		if end = strings.Index(text, "="); end < 0 {
			end = len(text)
		}
	}
	path, want := text[:end], text[end:]
	value, exact := strings.CutPrefix(want, "=")
	if want != "" && value == "" || !exact && want != "" {
		return condition{}, badUsage(errors.New("jsonpath wait has to have a value to wait for, or none at all"), advice)
	}
	parsed, err := print.Path(path)
	if err != nil {
		return condition{}, badUsage(err, advice)
	}
	return condition{met: func(o *kubeObject) (bool, error) {
		values, err := print.Values(parsed, o.fields)
		if err != nil || len(values) == 0 {
			return false, nil //nolint:nilerr // the field is not there yet
		}
		if len(values) > 1 {
			return false, fmt.Errorf("given jsonpath expression matches more than one value: %s", path)
		}
		return !exact || values[0] == value, nil
	}}, nil
}

func (a *app) waitFor(c *urfave.Context, text string) error {
	met, err := parseCondition(text)
	if err != nil {
		return err
	}
	if len(c.StringSlice("filename")) > 0 {
		return a.waitManifested(c, met)
	}
	kinds, named, err := parseTargets(c.Args().Slice())
	if err != nil {
		return err
	}
	q, err := parseQuery(c)
	if err != nil {
		return err
	}
	if len(named) == 0 && !q.selects() && !c.Bool("all") {
		return badUsage(errors.New("resource(s) were provided, but no name was specified"), "name them, or write -l or --all")
	}
	ctx, cancel := context.WithTimeout(c.Context, patience(c.Duration("timeout")))
	defer cancel()
	found, err := a.findObjects(kinds, named, q)
	if met.create && errors.Is(err, errMissing) {
		return a.waitCreated(ctx, c.Context, named, q.namespace)
	}
	if met.met == nil && errors.Is(err, errMissing) { // it is gone: good
		err = nil
	}
	if err != nil {
		return err
	}
	if len(found) == 0 && met.met != nil {
		return hint.Wrap(errors.New("no matching resources found"), "list what there is: minipod get pods -A --show-labels")
	}
	return a.awaitAll(ctx, c.Context, found, met, nil)
}

// waitManifested waits for the objects that are in files.
func (a *app) waitManifested(c *urfave.Context, met condition) error {
	if c.NArg() > 0 {
		return usageError(c, "when paths are provided as input, you may not specify resource arguments as well")
	}
	if met.create {
		return badUsage(errors.New("-f does not go with --for create"), "name what to wait for: minipod wait --for create pod/NAME")
	}
	ctx, cancel := context.WithTimeout(c.Context, patience(c.Duration("timeout")))
	defer cancel()
	found, failed := a.findManifested(c, met.met == nil)
	return a.awaitAll(ctx, c.Context, found, met, failed)
}

// awaitAll waits until the condition is met for each of the objects. failed is what has gone wrong before.
func (a *app) awaitAll(ctx, whole context.Context, found []*kubeObject, met condition, failed error) error {
	for _, o := range found {
		err := a.await(ctx, o, met)
		if errors.Is(err, context.DeadlineExceeded) && whole.Err() == nil {
			err = timedOut(o)
		}
		if err != nil {
			failed = a.said(failed, err)
			continue
		}
		if _, err := fmt.Fprintf(a.out, "%s condition met\n", o); err != nil {
			return err
		}
	}
	return failed
}

// patience is kubectl's reading of --timeout.
func patience(timeout time.Duration) time.Duration {
	if timeout < 0 {
		return 7 * 24 * time.Hour
	}
	return timeout
}

// await waits until the condition is met for an object.
func (a *app) await(ctx context.Context, o *kubeObject, met condition) error {
	if o.pod == nil {
		return a.awaitStored(o, met)
	}
	err := pod.Wait(ctx, a.dirs, o.meta.UID, func(s *pod.Stored, status *pod.Status) (bool, error) {
		if met.met == nil {
			return false, nil
		}
		now, err := assemblePod(s, status)
		if err != nil {
			return false, err
		}
		return met.met(now)
	})
	if errors.Is(err, pod.ErrNotFound) {
		if met.met == nil {
			return nil
		}
		return missing(o.kind, o.meta.Name)
	}
	return err
}

// awaitStored looks once at an object that nothing but a command changes.
func (a *app) awaitStored(o *kubeObject, met condition) error {
	if met.met != nil {
		if yes, err := met.met(o); yes || err != nil {
			return err
		}
	}
	return hint.Wrap(fmt.Errorf("%s does not meet the condition, and does not change by itself", o), "wait for pods, or look with: minipod get "+o.String()+" -o yaml")
}

// waitCreated waits until the named pods are there.
func (a *app) waitCreated(ctx, whole context.Context, named []target, namespace string) error {
	waiting := map[string]bool{}
	for _, t := range named {
		if t.kind.kind != kindPod {
			return missing(t.kind, t.name)
		}
		waiting[t.name] = true
	}
	enough := errors.New("enough")
	err := pod.Watch(ctx, a.dirs, namespace, func(s pod.Sight) error {
		if name := s.Pod.Metadata.Name; waiting[name] && !s.Gone {
			delete(waiting, name)
			if _, err := fmt.Fprintf(a.out, "pod/%s condition met\n", name); err != nil {
				return err
			}
		}
		if len(waiting) == 0 {
			return enough
		}
		return nil
	})
	switch {
	case errors.Is(err, enough):
		return nil
	case errors.Is(err, context.DeadlineExceeded) && whole.Err() == nil:
		for _, t := range named {
			if waiting[t.name] {
				return hint.Wrap(fmt.Errorf("timed out waiting for the condition on pods/%s", t.name), "list what there is: minipod get pods -A")
			}
		}
	}
	return err
}

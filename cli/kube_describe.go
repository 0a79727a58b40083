package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/kube/store"
)

func (a *app) describeVerb() *urfave.Command {
	return &urfave.Command{
		Name: "describe", Usage: "Tell everything about pods and other objects, and what happened to them", ArgsUsage: "TYPE [NAME...]    or    TYPE/NAME...", Category: groupPods,
		Description: examples("minipod describe pod web", "minipod describe pods -l app=web", "minipod describe cm/settings"),
		Flags: append(namespaceFlags(), selectorFlag(),
			&urfave.BoolFlag{Name: "show-events", Value: true, Usage: "tell what happened, too"}),
		Action: a.aboutPods(a.describe),
	}
}

func (a *app) describe(c *urfave.Context) error {
	kinds, named, err := parseTargets(c.Args().Slice())
	if err != nil {
		return err
	}
	q, err := parseQuery(c)
	if err != nil {
		return err
	}
	found, failed := a.findObjects(kinds, named, q)
	if len(found) == 0 && failed == nil {
		fmt.Fprintln(a.err, "No resources found in "+q.namespace+" namespace.")
		return nil
	}
	for i, o := range found {
		if i > 0 {
			fmt.Fprint(a.out, "\n\n")
		}
		text, err := a.describeObject(o, c.Bool("show-events"))
		if err != nil {
			return errors.Join(err, failed)
		}
		if _, err := fmt.Fprint(a.out, text); err != nil {
			return err
		}
	}
	return failed
}

func (a *app) describeObject(o *kubeObject, happened bool) (string, error) {
	switch {
	case o.pod != nil:
		var events []event.Event
		if happened {
			all, err := event.List(a.dirs)
			if err != nil {
				return "", err
			}
			events = slices.DeleteFunc(all, func(e event.Event) bool { return !about(e, o) })
		}
		return print.DescribePod(o.pod, nodeName(), events, time.Now()), nil
	case o.event != nil:
		return "", badUsage(errors.New("events are not described"), "list them: minipod get events -o wide")
	case o.kind.kind == store.KindConfigMap:
		return print.DescribeConfigMap(o.object), nil
	case o.kind.kind == store.KindSecret:
		return print.DescribeSecret(o.object), nil
	}
	users, err := a.claimUsers(o)
	return print.DescribeClaim(o.object, users), err
}

// about tells whether the event is of this very object, and not of one that had its name before.
func about(e event.Event, o *kubeObject) bool {
	return e.Object.Kind == o.kind.kind && e.Object.Namespace == o.meta.Namespace && e.Object.Name == o.meta.Name && (e.Object.UID == "" || e.Object.UID == o.meta.UID)
}

// claimUsers are the pods that mount a claim.
func (a *app) claimUsers(claim *kubeObject) ([]string, error) {
	pods, err := a.listObjects(podKind(), claim.meta.Namespace)
	var users []string
	for _, p := range pods {
		for _, v := range p.pod.Spec.Volumes {
			if v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim.meta.Name {
				users = append(users, p.meta.Name)
			}
		}
	}
	return users, err
}

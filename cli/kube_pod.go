package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/runtime"
)

// podGroup are pods in docker's shapes.
func (a *app) podGroup() *urfave.Command {
	return group("pod", groupPods, "Work with pods in docker's words", []*urfave.Command{
		a.podCreateVerb(),
		{
			Name: "ps", Aliases: []string{"ls", "list"}, Usage: "List pods", Action: a.aboutPods(a.podPs),
			Description: examples("minipod pod ps", "minipod pod ps -q -n default"),
			Flags: append(outputFlags(), quietFlag("print names only"),
				&urfave.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "only those in this `NAMESPACE` (default: all)"}),
		},
		{
			Name: "inspect", Usage: "Print all that there is to know about pods", ArgsUsage: "POD...", Action: a.aboutPods(a.podInspect),
			Description: examples("minipod pod inspect web", "minipod pod inspect -f '{{.status.podIP}}' web"),
			Flags:       []urfave.Flag{inspectFormatFlag(), namespaceFlag()},
		},
		{
			Name: "stop", Usage: "End the containers of pods, which can be started again", ArgsUsage: "POD...", Action: a.aboutPods(a.podStop),
			Description: examples("minipod pod stop web", "minipod pod stop -t 0 web"),
			Flags: []urfave.Flag{
				namespaceFlag(),
				&urfave.IntFlag{Name: "time", Aliases: []string{"t"}, Usage: "kill after so many `SECONDS` (default: the pod's own, 30)", DefaultText: " "},
			},
		},
		{
			Name: "start", Usage: "Start pods that were stopped", ArgsUsage: "POD...", Action: a.aboutPods(a.podStart),
			Description: "Their containers are new ones; volumes stay.\n\n" + examples("minipod pod start web"),
			Flags:       []urfave.Flag{namespaceFlag()},
		},
		{
			Name: "rm", Usage: "End pods and remove them", ArgsUsage: "POD...", Action: a.aboutPods(a.podRm),
			Description: "One that runs is removed with -f only.\n\n" + examples("minipod pod rm -f web", "minipod pod rm -f -t 0 web"),
			Flags: []urfave.Flag{
				forceFlag("end those that run; what is not there is no error"), namespaceFlag(),
				&urfave.IntFlag{Name: "time", Aliases: []string{"t"}, Usage: "kill after so many `SECONDS` (default: the pod's own, 30)", DefaultText: " "},
			},
		},
	})
}

// A podRow is a pod in `pod ps`.
type podRow struct{ ID, Name, Namespace, Status, Created, Containers, IP, Labels string }

func (a *app) podPs(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	pods, err := a.listObjects(podKind(), c.String("namespace"))
	if err != nil {
		return err
	}
	containers, err := runtime.List(a.dirs)
	if err != nil {
		return err
	}
	l := listing[podRow]{
		header: podRow{"POD ID", "NAME", "NAMESPACE", "STATUS", "CREATED", "CONTAINERS", "IP", "LABELS"},
		table:  "{{.ID}}\t{{.Name}}\t{{.Namespace}}\t{{.Status}}\t{{.Created}}\t{{.Containers}}",
		wide:   "{{.ID}}\t{{.Name}}\t{{.Namespace}}\t{{.Status}}\t{{.Created}}\t{{.Containers}}\t{{.IP}}\t{{.Labels}}",
		name:   func(r podRow) string { return r.Name },
	}
	records := []map[string]any{}
	now := time.Now()
	for _, o := range pods {
		count := 0
		for _, r := range containers {
			if r.Labels[labelPodUID] == o.meta.UID && r.Labels[labelContainer] != sandboxName && r.Status == runtime.StatusRunning {
				count++
			}
		}
		l.rows = append(l.rows, podRow{
			ID: o.meta.UID[:min(12, len(o.meta.UID))], Name: o.meta.Name, Namespace: o.meta.Namespace, Status: print.Reason(o.pod),
			Created: humanSince(now, o.meta.Created), Containers: strconv.Itoa(count), IP: o.pod.Status.PodIP, Labels: print.Labels(o.meta.Labels),
		})
		records = append(records, o.fields)
	}
	l.records = records
	return l.print(a.out, c)
}

func (a *app) podInspect(c *urfave.Context) error {
	if err := checkArgs(c, 1, -1); err != nil {
		return err
	}
	return inspectEach(a, c, func(name string) (map[string]any, error) {
		name, _ = podByName(name)
		o, err := a.findObject(target{podKind(), name}, c.String("namespace"))
		if err != nil {
			return nil, err
		}
		return o.fields, nil
	})
}

func (a *app) podRm(c *urfave.Context) error {
	if err := checkArgs(c, 1, -1); err != nil {
		return err
	}
	d := &deletion{a: a}
	if c.IsSet("time") {
		seconds := int64(c.Int("time"))
		if seconds < 0 {
			return usageError(c, fmt.Sprintf("invalid time %d: use seconds", seconds))
		}
		d.grace = &seconds
	}
	return interrupted(c.Context, a.forEach(c, errMissing, func(arg string) error {
		name, _ := podByName(arg)
		o, err := a.findObject(target{podKind(), name}, c.String("namespace"))
		if err != nil {
			return err
		}
		if phase := o.pod.Status.Phase; !c.Bool("force") && phase != pod.Succeeded && phase != pod.Failed {
			return hint.Wrap(fmt.Errorf("cannot remove pod %q: it is %s", o.meta.Name, strings.ToLower(phase)), "end it, too: minipod pod rm -f "+o.meta.Name)
		}
		d.gone = nil
		if err := errors.Join(d.remove(o), d.await(c.Context)); err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.out, arg)
		return err
	}))
}

// eachPod does one thing to every pod named, and prints the name where it worked, as docker does.
func (a *app) eachPod(c *urfave.Context, do func(o *kubeObject) error) error {
	if err := checkArgs(c, 1, -1); err != nil {
		return err
	}
	return interrupted(c.Context, a.forEach(c, nil, func(arg string) error {
		name, _ := podByName(arg)
		o, err := a.findObject(target{podKind(), name}, c.String("namespace"))
		if err == nil {
			err = do(o)
		}
		if err == nil {
			_, err = fmt.Fprintln(a.out, arg)
		}
		return err
	}))
}

// podStop returns when nothing of the pods runs.
func (a *app) podStop(c *urfave.Context) error {
	var grace *int64
	if c.IsSet("time") {
		seconds := int64(c.Int("time"))
		if seconds < 0 {
			return usageError(c, fmt.Sprintf("invalid time %d: use seconds", seconds))
		}
		grace = &seconds
	}
	return a.eachPod(c, func(o *kubeObject) error {
		if phase := o.pod.Status.Phase; phase == pod.Succeeded || phase == pod.Failed {
			return nil
		}
		if err := pod.Stop(a.dirs, o.meta.UID, grace); err != nil {
			return err
		}
		return pod.Wait(c.Context, a.dirs, o.meta.UID, func(_ *pod.Stored, s *pod.Status) (bool, error) {
			return s.AllStopped() || s.Phase == pod.Succeeded || s.Phase == pod.Failed, nil
		})
	})
}

func (a *app) podStart(c *urfave.Context) error {
	return a.eachPod(c, func(o *kubeObject) error {
		err := pod.Resume(a.dirs, o.meta.UID)
		if errors.Is(err, pod.ErrFinished) {
			err = hint.Wrap(fmt.Errorf("pod %s has come to its end: %s", o.meta.Name, o.pod.Status.Phase), "make it again: minipod generate yaml "+o.meta.Name+" >FILE; minipod delete pod "+o.meta.Name+"; minipod apply -f FILE")
		}
		return err
	})
}

// podNames completes pods.
func (a *app) podNames() []string {
	pods, err := pod.List(a.dirs, "")
	if err != nil {
		return nil
	}
	var names []string
	for _, p := range pods {
		names = append(names, p.Metadata.Name)
	}
	return names
}

// kubeArguments completes what a verb of kubectl's may mean; known tells whether it is one.
func (a *app) kubeArguments(path, typed []string) (candidates []string, known bool) {
	switch strings.Join(path, " ") {
	case "get", "describe", "delete", "label", "annotate", "wait", "set image":
		if len(typed) == 0 {
			if path[0] == "wait" { // docker's, too
				candidates = a.containerNames()
			}
			for _, k := range kubeKinds() {
				candidates = append(candidates, k.plural)
			}
			for _, name := range a.podNames() {
				candidates = append(candidates, "pod/"+name)
			}
			return candidates, true
		}
		kind, err := findKind(typed[0])
		if err != nil {
			return nil, true
		}
		objects, err := a.listObjects(kind, "")
		if err != nil {
			return nil, true
		}
		for _, o := range objects {
			candidates = append(candidates, o.meta.Name)
		}
		return candidates, true
	case "port-forward", "pod inspect", "pod rm", "pod start", "pod stop":
		return a.podNames(), true
	}
	return nil, false
}

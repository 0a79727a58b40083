package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/runtime"
)

// From a pod to one of its containers, for the verbs that docker and kubectl share.

// podByName tells pod/NAME, and what -n and -c say to be a pod, from what may be a container.
func podByName(arg string) (name string, certain bool) {
	kind, name, ok := strings.Cut(arg, "/")
	if ok && (kind == "pod" || kind == "pods" || kind == "po") {
		return name, true
	}
	return arg, false
}

// podNamed finds the pod that arg means: nil where it means a container. certain says that flags allow nothing but a pod.
func (a *app) podNamed(arg, namespace string, certain bool) (*kubeObject, error) {
	name, sure := podByName(arg)
	certain = certain || sure
	if !certain {
		r, err := runtime.Find(a.dirs, name)
		switch {
		case err == nil && (r.Name == name || r.ID == name):
			return nil, nil
		case err != nil && !errors.Is(err, runtime.ErrNotFound): // several ids begin so; perhaps it is a pod's name, too
			certain = false
		}
	}
	if !certain && strings.Contains(name, "/") {
		return nil, nil
	}
	o, err := a.findObject(target{podKind(), name}, cmp.Or(namespace, defaultNamespace))
	if errors.Is(err, errMissing) && !certain {
		return nil, nil // an id's beginning, or nothing: who looks for containers says so
	}
	if o != nil {
		a.revive()
	}
	return o, err
}

// defaultContainer is the annotation that names the container which is meant where none is named.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// chooseContainer is the name of the container that -c names, or of the one that is meant without it; kubectl says which.
func (a *app) chooseContainer(p *print.Pod, name string) (string, error) {
	all := containerNames(p)
	if name != "" {
		if !slices.Contains(all, name) {
			return "", hint.Wrap(fmt.Errorf("container %s is not valid for pod %s", name, p.Metadata.Name), "choose one of: "+strings.Join(all, ", "))
		}
		return name, nil
	}
	if name = p.Metadata.Annotations[defaultContainer]; name != "" && slices.Contains(all, name) {
		return name, nil
	}
	if len(p.Spec.Containers) == 0 {
		return "", hint.Wrap(fmt.Errorf("pod %s has no containers", p.Metadata.Name), "put one into it: minipod run --pod "+p.Metadata.Name+" IMAGE")
	}
	name = p.Spec.Containers[0].Name
	if len(all) > 1 {
		shown := slices.Clone(all)
		for i := len(p.Spec.Containers); i < len(all); i++ {
			shown[i] += " (init)"
		}
		fmt.Fprintf(a.err, "Defaulted container %q out of: %s\n", name, strings.Join(shown, ", "))
	}
	return name, nil
}

// containerNames are the pod's containers, those that initialise behind the others.
func containerNames(p *print.Pod) []string {
	var names []string
	for _, list := range [][]pod.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range list {
			names = append(names, list[i].Name)
		}
	}
	return names
}

// statusOf is what there is of the pod's container; nil where nothing is.
func statusOf(p *print.Pod, container string) *pod.ContainerStatus {
	for _, list := range [][]pod.ContainerStatus{p.Status.ContainerStatuses, p.Status.InitContainerStatuses} {
		for i := range list {
			if list[i].Name == container {
				return &list[i]
			}
		}
	}
	return nil
}

// recordOf finds the runtime's container that runs, or ran last, for a container of the pod.
func (a *app) recordOf(id string) (runtime.Record, error) {
	_, bare, ok := strings.Cut(id, "://")
	if !ok || bare == "" {
		return runtime.Record{}, runtime.ErrNotFound
	}
	return runtime.Find(a.dirs, bare)
}

// runningContainer finds the running container that a verb works in.
func (a *app) runningContainer(p *print.Pod, container, verb string) (runtime.Record, error) {
	if p.Status.Phase == pod.Succeeded || p.Status.Phase == pod.Failed {
		return runtime.Record{}, hint.Wrap(fmt.Errorf("cannot %s a container in a completed pod; current phase is %s", verb, p.Status.Phase), "see what it printed: minipod logs pod/"+p.Metadata.Name)
	}
	name, err := a.chooseContainer(p, container)
	if err != nil {
		return runtime.Record{}, err
	}
	s := statusOf(p, name)
	if s == nil || s.State.Running == nil {
		err := fmt.Errorf("unable to upgrade connection: container not found (\"%s\")", name)
		if s != nil && s.State.Waiting != nil {
			err = fmt.Errorf("container %q in pod %q is waiting to start: %s", name, p.Metadata.Name, s.State.Waiting.Reason)
		}
		return runtime.Record{}, hint.Wrap(err, "see how it is: minipod describe pod "+p.Metadata.Name)
	}
	return a.recordOf(s.ContainerID)
}

// podFlags are those by which docker's verbs know that a pod is meant.
func podFlags() []urfave.Flag {
	return []urfave.Flag{
		containerFlag("of a pod: this `CONTAINER` (default: the first)"),
		&urfave.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "the pod's `NAMESPACE` (default: default)"},
	}
}

package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/store"
	"codeberg.org/minipod/minipod/pod"
)

// kubectl's verbs, in its words and shapes. docs/kubectl.md tells which there are, and how a verb that docker has, too, knows whom
// it is about: `pod/NAME` and the flags -c and -l mean pods, a bare name means a container if there is one, else a pod.

const groupPods = "Pods"

// defaultNamespace is where objects are that name none.
const defaultNamespace = "default"

// kubeVerbs are those that docker has not.
func (a *app) kubeVerbs() []*urfave.Command {
	return []*urfave.Command{
		a.applyVerb(), a.getVerb(), a.describeVerb(), a.deleteVerb(), a.portForwardVerb(),
		a.labelVerb("label"), a.labelVerb("annotate"), a.setVerb(), a.patchVerb(), a.replaceVerb(), a.editVerb(), a.generateVerb(),
		a.podGroup(),
	}
}

// A kubeKind is a kind of object, and what people call it.
type kubeKind struct {
	kind   string   // Pod
	plural string   // pods, as in errors and TYPE/NAME
	also   []string // pod, po
}

// singular is the kind's name in front of an object's: pod/web.
func (k kubeKind) singular() string { return k.also[0] }

const kindPod, kindEvent = "Pod", "Event"

func kubeKinds() []kubeKind {
	return []kubeKind{
		{kindPod, "pods", []string{"pod", "po"}},
		{store.KindConfigMap, "configmaps", []string{"configmap", "cm"}},
		{store.KindSecret, "secrets", []string{"secret"}},
		{store.KindClaim, "persistentvolumeclaims", []string{"persistentvolumeclaim", "pvc"}},
		{kindEvent, "events", []string{"event", "ev"}},
	}
}

func podKind() kubeKind { return kubeKinds()[0] }

// findKind knows a kind by any of its names. YAML's is "Pod", a person's "pods", "pod" or "po".
func findKind(name string) (kubeKind, error) {
	lower := strings.ToLower(name)
	for _, k := range kubeKinds() {
		if k.plural == lower || slices.Contains(k.also, lower) {
			return k, nil
		}
	}
	return kubeKind{}, hint.Wrap(fmt.Errorf("the server doesn't have a resource type %q", name), "use pods, configmaps, secrets, persistentvolumeclaims or events")
}

// A target is an object that somebody named.
type target struct {
	kind kubeKind
	name string
}

// parseTargets reads the arguments of a verb: TYPE[,TYPE…] [NAME…] or TYPE/NAME…. Without a name the kinds are meant as a whole.
// "all" is every kind whose objects run.
func parseTargets(args []string) (kinds []kubeKind, named []target, err error) {
	if len(args) == 0 {
		return nil, nil, badUsage(errors.New("you must specify the type of resource"), "try `minipod get pods`")
	}
	if slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, "/") }) {
		for _, arg := range args {
			kind, name, ok := strings.Cut(arg, "/")
			switch {
			case !ok:
				return nil, nil, badUsage(errors.New("there is no need to specify a resource type as a separate argument when passing arguments in resource/name form"), "write pod/"+arg+", if you meant that")
			case kind == "" || name == "" || strings.Contains(name, "/"):
				return nil, nil, badUsage(errors.New("arguments in resource/name form may not have more than one slash"), "write pod/NAME")
			}
			k, err := findKind(kind)
			if err != nil {
				return nil, nil, err
			}
			named = append(named, target{k, name})
		}
		return nil, named, nil
	}
	for name := range strings.SplitSeq(args[0], ",") {
		if name == "all" {
			kinds = append(kinds, podKind())
			continue
		}
		k, err := findKind(name)
		if err != nil {
			return nil, nil, err
		}
		kinds = append(kinds, k)
	}
	for _, kind := range kinds {
		for _, name := range args[1:] {
			named = append(named, target{kind, name})
		}
	}
	return kinds, named, nil
}

// serverError is an error as the API server words it.
func serverError(reason, format string, args ...any) error {
	return fmt.Errorf("Error from server (%s): %s", reason, fmt.Sprintf(format, args...))
}

// errMissing is what errors.Is finds in the error about an object that is not there.
var errMissing = errors.New("NotFound")

type missingError struct{ error }

func (m missingError) Is(target error) bool { return target == errMissing }

func missing(k kubeKind, name string) error {
	return hint.Wrap(missingError{serverError("NotFound", "%s %q not found", k.plural, name)}, "list what there is: minipod get "+k.plural+" -A")
}

func namespaceFlags() []urfave.Flag {
	return []urfave.Flag{
		namespaceFlag(),
		&urfave.BoolFlag{Name: "all-namespaces", Aliases: []string{"A"}, Usage: "in every namespace"},
	}
}

func namespaceFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "namespace", Aliases: []string{"n"}, Value: defaultNamespace, Usage: "the `NAMESPACE` to work in"}
}

func selectorFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "selector", Aliases: []string{"l"}, Usage: "only those whose labels match this `SELECTOR`: app=web,tier!=db,x in (a,b),!y"}
}

func containerFlag(what string) urfave.Flag {
	return &urfave.StringFlag{Name: "container", Aliases: []string{"c"}, Usage: what}
}

// aboutPods is a verb that begins with what every command about pods begins with: pods whose supervisor was killed get another. Its
// status is kubectl's, which has 1 for everything.
func (a *app) aboutPods(verb urfave.ActionFunc) urfave.ActionFunc {
	return func(c *urfave.Context) error {
		a.revive()
		err := verb(c)
		if hint.ExitStatus(err, 0) == hint.ExitRuntime {
			err = hint.Exit(err, exitFailure)
		}
		return err
	}
}

func (a *app) revive() {
	if err := pod.Revive(a.dirs); err != nil {
		a.warn(err)
	}
}

// nodeName is what the machine that pods run on is called.
func nodeName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return strings.ToLower(name)
}

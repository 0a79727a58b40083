package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/manifest"
	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/kube/selector"
	"codeberg.org/minipod/minipod/pod"
)

// Pods without YAML: `pod create` makes one that has a sandbox only, and `run --pod` puts containers into it, one after the other.

func (a *app) podCreateVerb() *urfave.Command {
	return &urfave.Command{
		Name: "create", Usage: "Make a pod, into which `run --pod` puts containers", ArgsUsage: "NAME", Action: a.aboutPods(a.podCreate),
		Description: "Its containers share network, ipc and host name.\n\n" +
			examples("minipod pod create web", "minipod run -d --pod web --name nginx nginx", "minipod run -d --pod web --name log alpine tail -F /dev/null"),
		Flags: []urfave.Flag{
			namespaceFlag(),
			&urfave.StringSliceFlag{Name: "label", Aliases: []string{"l"}, Usage: "label the pod, `KEY=VALUE`"},
			&urfave.StringFlag{Name: "hostname", Usage: "the pod's host `NAME` (default: its own)"},
			&urfave.StringFlag{Name: "restart", Value: "always", Usage: "what becomes of containers that end, `POLICY`: always, on-failure or no"},
			&urfave.StringFlag{Name: "network", Usage: "`MODE` host: the host's network"},
			&urfave.BoolFlag{Name: "share-processes", Usage: "the containers see each other's processes, too"},
		},
	}
}

func (a *app) podCreate(c *urfave.Context) error {
	if err := checkArgs(c, 1, 1); err != nil {
		return err
	}
	p, err := newPod(c)
	if err != nil {
		return err
	}
	applied, err := json.Marshal(struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		*pod.Pod
	}{"v1", kindPod, p})
	if err != nil {
		return err
	}
	made, err := pod.Create(a.dirs, p, applied)
	if err != nil {
		return err
	}
	if err := pod.Start(a.dirs, made.Metadata.UID); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, made.Metadata.UID)
	return err
}

func newPod(c *urfave.Context) (*pod.Pod, error) {
	p := &pod.Pod{Metadata: pod.Metadata{Name: c.Args().First(), Namespace: c.String("namespace"), Labels: map[string]string{}}}
	for _, name := range []string{p.Metadata.Name, p.Metadata.Namespace, cmp.Or(c.String("hostname"), "x")} {
		if name != objectName(name) {
			return nil, badUsage(fmt.Errorf("%q is no name for a pod", name), "use lower case letters, digits and -, for example "+objectName(name))
		}
	}
	for _, l := range c.StringSlice("label") {
		key, value, _ := strings.Cut(l, "=")
		if err := errors.Join(selector.CheckKey(key), selector.CheckValue(value)); err != nil {
			return nil, badUsage(fmt.Errorf("invalid label %q: %w", l, err), "write KEY=VALUE")
		}
		p.Metadata.Labels[key] = value
	}
	policies := map[string]string{"always": "Always", "on-failure": "OnFailure", "no": "Never"}
	policy, ok := policies[c.String("restart")]
	if !ok {
		return nil, usageError(c, fmt.Sprintf("invalid restart policy %q: use %s", c.String("restart"), strings.Join(slices.Sorted(maps.Keys(policies)), ", ")))
	}
	p.Spec.Containers = []pod.Container{}
	p.Spec.RestartPolicy, p.Spec.DNSPolicy, p.Spec.Hostname = policy, "ClusterFirst", c.String("hostname")
	switch c.String("network") {
	case "":
	case "host":
		p.Spec.HostNetwork = true
	default:
		return nil, usageError(c, fmt.Sprintf("invalid network %q: a pod has one of its own, or the host's", c.String("network")))
	}
	if c.Bool("share-processes") {
		yes := true
		p.Spec.ShareProcessNamespace = &yes
	}
	return p, nil
}

// podRunFlags are those of run that say something about a container of a pod. All others are the pod's own, or have no place in one.
func podRunFlags() []string {
	return []string{
		"pod", "detach", "name", "env", "env-file", "entrypoint", "workdir", "user", "interactive", "tty", "volume", "mount", "tmpfs",
		"memory", "cpus", "cap-add", "cap-drop", "read-only", "pull", "quiet", "security-opt",
	}
}

// runAny is docker's run, or with --pod one that changes a pod.
func (a *app) runAny(docker urfave.ActionFunc) urfave.ActionFunc {
	return func(c *urfave.Context) error {
		f, err := flags.ParseRun(c.Args().Slice())
		if err != nil || f.Pod == "" {
			return docker(c)
		}
		settings, _, err := flags.Parse(flags.RunFlags(), c.Args().Slice())
		if err != nil {
			return err
		}
		for _, s := range settings {
			if !slices.Contains(podRunFlags(), s.Flag.Name) {
				return badUsage(fmt.Errorf("--%s does not go with --pod", s.Flag.Name), "what belongs to the whole pod is said to minipod pod create")
			}
		}
		if !f.Detach {
			return badUsage(errors.New("a pod's containers run in the background"), "add -d; then minipod attach pod/"+f.Pod+" -c NAME, or minipod logs -f pod/"+f.Pod)
		}
		a.revive()
		return interrupted(c.Context, a.runInPod(c, f))
	}
}

func (a *app) runInPod(c *urfave.Context, f *flags.Run) error {
	name, _ := podByName(f.Pod)
	o, err := a.findObject(target{podKind(), name}, defaultNamespace)
	if errors.Is(err, errMissing) {
		return hint.Exit(hint.Wrap(fmt.Errorf("no such pod: %s", name), "make it: minipod pod create "+name), hint.ExitRuntime)
	}
	if err != nil {
		return err
	}
	uid := o.meta.UID
	container := ""
	for {
		changed, added, err := withContainer(o.pod, f)
		if err != nil {
			return hint.Exit(err, hint.ExitRuntime)
		}
		container = added
		outdated := errors.New("outdated")
		err = pod.Change(a.dirs, uid, changed.JSON, func(p *pod.Pod) error {
			if p.Metadata.Generation != o.meta.Generation { // somebody else was faster
				return outdated
			}
			p.Spec = changed.Pod.Spec
			return nil
		})
		if err == nil {
			break
		}
		if !errors.Is(err, outdated) {
			return err
		}
		if o, err = a.findObject(target{podKind(), name}, defaultNamespace); err != nil {
			return err
		}
	}
	var id string
	err = pod.Wait(c.Context, a.dirs, uid, func(s *pod.Stored, status *pod.Status) (bool, error) {
		var err error
		id, err = begun(&print.Pod{Pod: s.Pod, Status: *status}, container)
		return id != "", err
	})
	if err != nil {
		return hint.Exit(hint.Wrap(err, "see why: minipod describe pod "+name), hint.ExitRuntime)
	}
	_, err = fmt.Fprintln(a.out, id)
	return err
}

// withContainer is the pod with one more container, as a manifest would say it: so it is checked, and has its defaults.
func withContainer(p *print.Pod, f *flags.Run) (*manifest.Object, string, error) {
	if p.Status.Phase == pod.Succeeded || p.Status.Phase == pod.Failed || p.Metadata.Deleted != nil {
		return nil, "", hint.Wrap(fmt.Errorf("pod %s has come to its end", p.Metadata.Name), "make another one: minipod pod create NAME")
	}
	next := p.Pod
	next.Spec.Containers, next.Spec.Volumes = slices.Clone(p.Spec.Containers), slices.Clone(p.Spec.Volumes)
	g := generator{pod: &next, name: f.Name, image: f.Image}
	if g.name == "" {
		g.name = freshName(p, f.Image)
	}
	if slices.Contains(containerNames(p), objectName(g.name)) {
		return nil, "", hint.Wrap(fmt.Errorf("pod %s has a container %s", p.Metadata.Name, g.name), "choose another --name")
	}
	g.container(f)
	added := &next.Spec.Containers[len(next.Spec.Containers)-1]
	added.ImagePullPolicy = map[string]string{"always": "Always", "never": "Never"}[f.Pull]
	if added.ImagePullPolicy == "" {
		added.ImagePullPolicy = "IfNotPresent"
	}
	if len(g.warnings) > 0 {
		return nil, "", errors.New(g.warnings[0])
	}
	text, err := manifest.Export(&next)
	if err != nil {
		return nil, "", err
	}
	objects, err := manifest.Options{Namespace: p.Metadata.Namespace}.Decode(bytes.NewReader(text), "pod "+p.Metadata.Name)
	if err != nil {
		return nil, "", err
	}
	return objects[0], added.Name, nil
}

// freshName is an image's last name, with a number where the pod has that already.
func freshName(p *print.Pod, image string) string {
	name := "container"
	if r, err := reference.Parse(image); err == nil {
		name = objectName(r.Repository[strings.LastIndex(r.Repository, "/")+1:])
	}
	taken := containerNames(p)
	fresh := name
	for i := 2; slices.Contains(taken, fresh); i++ {
		fresh = fmt.Sprintf("%s-%d", name, i)
	}
	return fresh
}

// begun is the id of the pod's container once it was started, or why it can't be.
func begun(p *print.Pod, container string) (id string, err error) {
	s := statusOf(p, container)
	if s == nil {
		return "", nil
	}
	if w := s.State.Waiting; w != nil && w.Reason != pod.ContainerCreating && w.Reason != pod.PodInitializing {
		return "", fmt.Errorf("container %s: %s: %s", container, w.Reason, w.Message)
	}
	if s.State.Running == nil && s.State.Terminated == nil {
		return "", nil
	}
	_, id, _ = strings.Cut(s.ContainerID, "://")
	return id, nil
}

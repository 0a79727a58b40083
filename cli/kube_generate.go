package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/manifest"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/runtime"
)

func (a *app) generateVerb() *urfave.Command {
	return group("generate", groupPods, "Write manifests of what there is", []*urfave.Command{{
		Name: "yaml", Aliases: []string{"kube"}, Usage: "Print a pod, or containers as a pod, as a manifest that kubectl takes", ArgsUsage: "NAME...",
		Description: "Several containers become one pod. What a manifest can't say is told as a warning.\n\n" +
			examples("minipod generate yaml web >web.yaml", "minipod generate yaml app db | kubectl apply -f -"),
		Flags: []urfave.Flag{&urfave.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "the pod's `NAMESPACE` (default: default)"}},
		Action: func(c *urfave.Context) error {
			if err := checkArgs(c, 1, -1); err != nil {
				return err
			}
			return a.generate(c)
		},
	}})
}

func (a *app) generate(c *urfave.Context) error {
	var containers []runtime.Record
	for i, name := range c.Args().Slice() {
		o, err := a.podNamed(name, c.String("namespace"), c.IsSet("namespace"))
		if err != nil {
			return err
		}
		if o == nil {
			r, err := runtime.Find(a.dirs, name)
			if err != nil {
				return err
			}
			containers = append(containers, r)
			continue
		}
		exported := o.pod.Pod
		exported.Metadata.Annotations = pod.Wanted(exported.Metadata.Annotations)
		text, err := manifest.Export(&exported)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(a.out, "---")
		}
		if _, err := a.out.Write(text); err != nil {
			return err
		}
	}
	if len(containers) == 0 {
		return nil
	}
	if len(containers) < c.NArg() {
		return badUsage(errors.New("pods and containers don't go into one manifest"), "name pods, or containers")
	}
	p, warnings, err := a.podOf(containers)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintln(a.err, "Warning: "+w)
	}
	text, err := manifest.Export(p)
	if err == nil {
		_, err = a.out.Write(text)
	}
	return err
}

// podOf makes a pod of containers: what a manifest says of each.
func (a *app) podOf(containers []runtime.Record) (*pod.Pod, []string, error) {
	p := &pod.Pod{Metadata: pod.Metadata{Name: objectName(containers[0].Name), Namespace: defaultNamespace}}
	if len(containers) > 1 {
		p.Metadata.Name += "-pod"
	}
	p.Metadata.Labels = map[string]string{"app": p.Metadata.Name}
	var warnings []string
	for _, r := range containers {
		b, err := runtime.LoadBundle(a.dirs, r.ID)
		if err != nil {
			return nil, nil, err
		}
		f := &flags.Run{} // the command line that made it
		if err := json.Unmarshal(b.Flags, f); err != nil {
			return nil, nil, hint.Wrap(fmt.Errorf("read the command line that made container %s: %w", r.Name, err), "make it again with minipod run")
		}
		g := generator{pod: p, name: r.Name, image: r.Image}
		g.container(f)
		g.rest(f)
		warnings = append(warnings, g.warnings...)
	}
	return p, warnings, nil
}

// objectName is a container's name as Kubernetes takes it.
func objectName(name string) string {
	name = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	return cmp.Or(strings.Trim(name[:min(len(name), 63)], "-"), "container")
}

// A generator turns the command line of a container into one of a pod's.
type generator struct {
	pod         *pod.Pod
	name, image string
	warnings    []string
}

func (g *generator) warn(format string, args ...any) {
	g.warnings = append(g.warnings, "container "+g.name+": "+fmt.Sprintf(format, args...))
}

func (g *generator) container(f *flags.Run) {
	c := pod.Container{Name: objectName(g.name), Image: g.image, Stdin: f.Interactive, TTY: f.TTY, WorkingDir: f.Workdir, Args: f.Args}
	if f.Entrypoint != nil && *f.Entrypoint != "" {
		c.Command = []string{*f.Entrypoint}
	}
	for _, e := range f.Env {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			g.warn("the image's variable %s was taken away, which a manifest can't", name)
			continue
		}
		c.Env = append(c.Env, pod.EnvVar{Name: name, Value: strings.ReplaceAll(value, "$(", "$$(")})
	}
	if f.Resources.Memory > 0 || f.Resources.NanoCPUs > 0 {
		c.Resources.Limits = map[string]pod.Quantity{}
		if f.Resources.Memory > 0 {
			c.Resources.Limits["memory"] = pod.Quantity(strconv.FormatInt(f.Resources.Memory, 10))
		}
		if f.Resources.NanoCPUs > 0 {
			c.Resources.Limits["cpu"] = pod.Quantity(strconv.FormatInt((f.Resources.NanoCPUs+999_999)/1_000_000, 10) + "m")
		}
	}
	g.security(&c, f)
	g.mounts(&c, f)
	g.pod.Spec.Containers = append(g.pod.Spec.Containers, c)
}

// security is who the command runs as, and what it may do.
func (g *generator) security(c *pod.Container, f *flags.Run) {
	var s pod.ContainerSecurityContext
	set := false
	if user, group, _ := strings.Cut(f.User, ":"); user != "" {
		for _, part := range []struct {
			text string
			to   **int64
		}{{user, &s.RunAsUser}, {group, &s.RunAsGroup}} {
			if part.text == "" {
				continue
			}
			n, err := strconv.ParseInt(part.text, 10, 64)
			if err != nil {
				g.warn("it runs as %s, and a manifest takes numbers only", part.text)
				continue
			}
			*part.to, set = &n, true
		}
	}
	if len(f.CapAdd)+len(f.CapDrop) > 0 {
		s.Capabilities, set = &pod.Capabilities{Add: capabilities(f.CapAdd), Drop: capabilities(f.CapDrop)}, true
	}
	if f.ReadOnly {
		yes := true
		s.ReadOnlyRootFilesystem, set = &yes, true
	}
	switch {
	case f.Seccomp == "unconfined":
		s.SeccompProfile, set = &pod.SeccompProfile{Type: "Unconfined"}, true
	case f.Seccomp != "":
		g.warn("its seccomp profile is the file %s; a manifest names one of the node's", f.Seccomp)
	}
	if set {
		c.SecurityContext = &s
	}
}

// capabilities have no CAP_ in a manifest.
func capabilities(names []string) []string {
	var short []string
	for _, name := range names {
		short = append(short, strings.TrimPrefix(strings.ToUpper(name), "CAP_"))
	}
	return short
}

// mounts turns each mount into a volume of the pod and its mount.
func (g *generator) mounts(c *pod.Container, f *flags.Run) {
	for _, m := range f.Mounts {
		v := pod.Volume{Name: fmt.Sprintf("%s-%d", c.Name[:min(len(c.Name), 50)], len(g.pod.Spec.Volumes))}
		switch {
		case m.Type == "bind":
			v.HostPath = &pod.HostPath{Path: m.Source}
		case m.Type == "tmpfs":
			v.EmptyDir = &pod.EmptyDir{Medium: "Memory"}
		case m.Source == "": // an anonymous volume ends with its container
			v.EmptyDir = &pod.EmptyDir{}
		default:
			v.PersistentVolumeClaim = &pod.Claim{ClaimName: objectName(m.Source)}
			g.warn("volume %s is a claim in the manifest: apply a PersistentVolumeClaim %s with spec.volumeName: %s, too", m.Source, objectName(m.Source), m.Source)
		}
		g.pod.Spec.Volumes = append(g.pod.Spec.Volumes, v)
		c.VolumeMounts = append(c.VolumeMounts, pod.VolumeMount{Name: v.Name, MountPath: m.Target, ReadOnly: slices.Contains(m.Options, "ro")})
	}
}

// rest are the flags that are a pod's and not a container's.
func (g *generator) rest(f *flags.Run) {
	s := &g.pod.Spec
	policy := map[string]string{"": "Never", "no": "Never", "on-failure": "OnFailure"}
	restart, ok := policy[f.Restart.Name]
	if !ok {
		restart = "Always"
	}
	if s.RestartPolicy != "" && s.RestartPolicy != restart {
		g.warn("its restart policy %s is not that of the first: %s", restart, s.RestartPolicy)
	} else {
		s.RestartPolicy = restart
	}
	if f.Restart.Maximum > 0 {
		g.warn("it is restarted without the bound of %d times", f.Restart.Maximum)
	}
	s.HostNetwork = s.HostNetwork || f.Network == "host"
	s.HostPID, s.HostIPC = s.HostPID || f.PID == "host", s.HostIPC || f.IPC == "host"
	if s.Hostname == "" {
		s.Hostname = f.Hostname
	}
	for _, h := range f.AddHosts {
		s.HostAliases = append(s.HostAliases, pod.HostAlias{IP: h.Addr, Hostnames: []string{h.Name}})
	}
	if f.StopTimeout > 0 {
		seconds := int64(f.StopTimeout)
		s.TerminationGracePeriodSeconds = &seconds
	}
	if len(f.Ulimits) > 0 {
		g.warn("ulimits have no place in a manifest")
	}
}

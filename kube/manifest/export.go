package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"codeberg.org/minipod/minipod/pod"
)

// YAML is JSON as kubectl prints it: the keys of an object in their alphabetical order, which begins with apiVersion and kind.
func YAML(data []byte) ([]byte, error) { return yaml.JSONToYAML(data) }

// Live is a pod as an API server would answer it, in JSON: the manifest that was applied, with who it is and how it is now.
func Live(manifest []byte, p *pod.Pod, s *pod.Status) ([]byte, error) {
	var object v1.Pod
	if err := json.Unmarshal(manifest, &object); err != nil {
		return nil, fmt.Errorf("decode the manifest of pod %q: %w", p.Metadata.Name, err)
	}
	stamp(&object.ObjectMeta, p.Metadata)
	if s != nil {
		if err := through(s, &object.Status); err != nil {
			return nil, fmt.Errorf("convert the status of pod %q: %w", p.Metadata.Name, err)
		}
	}
	o := Object{Kind: "Pod", typed: &object}
	if err := o.render(); err != nil {
		return nil, err
	}
	return o.JSON, nil
}

// stamp says who an object is.
func stamp(m *metav1.ObjectMeta, from pod.Metadata) {
	m.Name, m.Namespace, m.UID, m.Generation = from.Name, from.Namespace, types.UID(from.UID), from.Generation
	m.Labels, m.Annotations = from.Labels, from.Annotations
	m.CreationTimestamp, m.DeletionTimestamp, m.DeletionGracePeriodSeconds = metav1.NewTime(from.Created), nil, from.Grace
	if from.Deleted != nil {
		m.DeletionTimestamp = new(metav1.NewTime(*from.Deleted))
	}
}

// through converts by way of JSON.
func through(from, to any) error {
	data, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, to)
}

// Export is a pod as somebody would write it, in YAML that kubectl and Decode take: what it is to be, without its state, and without
// what a server fills in anyway.
func Export(p *pod.Pod) ([]byte, error) {
	var object v1.Pod
	if err := through(p, &object); err != nil {
		return nil, fmt.Errorf("convert pod %q: %w", p.Metadata.Name, err)
	}
	defaultPod(&object) // the same for those who call with and without
	object.ObjectMeta = metav1.ObjectMeta{Name: object.Name, Namespace: object.Namespace, Labels: object.Labels, Annotations: object.Annotations}
	object.Annotations = maps.Clone(object.Annotations)
	delete(object.Annotations, LastApplied)
	if object.Namespace == "default" {
		object.Namespace = ""
	}
	if stopSignals(&object.Spec) {
		object.Spec.OS = &v1.PodOS{Name: v1.Linux} // without which an API server takes none
	}
	withoutDefaults(&object)
	data, err := json.Marshal(&object)
	if err != nil {
		return nil, fmt.Errorf("encode pod %q: %w", p.Metadata.Name, err)
	}
	value, err := withoutEmpty(data)
	if err != nil {
		return nil, err
	}
	value["apiVersion"], value["kind"] = "v1", "Pod"
	if metadata, ok := value["metadata"].(map[string]any); ok {
		delete(metadata, "creationTimestamp")
	}
	return yaml.Marshal(value)
}

func stopSignals(s *v1.PodSpec) bool {
	return slices.ContainsFunc(slices.Concat(s.InitContainers, s.Containers), func(c v1.Container) bool {
		return c.Lifecycle != nil && c.Lifecycle.StopSignal != nil
	})
}

// withoutDefaults undoes defaultPod: a test does both and compares.
func withoutDefaults(p *v1.Pod) {
	s := &p.Spec
	drop(&s.RestartPolicy, v1.RestartPolicyAlways)
	drop(&s.DNSPolicy, v1.DNSClusterFirst)
	drop(&s.SchedulerName, v1.DefaultSchedulerName)
	s.DeprecatedServiceAccount = ""
	dropPointer(&s.TerminationGracePeriodSeconds, v1.DefaultTerminationGracePeriodSeconds)
	dropPointer(&s.EnableServiceLinks, v1.DefaultEnableServiceLinks)
	if reflect.ValueOf(s.SecurityContext).Elem().IsZero() {
		s.SecurityContext = nil
	}
	for i := range s.Volumes {
		volumeWithoutDefaults(&s.Volumes[i].VolumeSource)
	}
	for _, containers := range [][]v1.Container{s.InitContainers, s.Containers} {
		for i := range containers {
			containerWithoutDefaults(&containers[i], s.HostNetwork)
		}
	}
}

func drop[T comparable](field *T, value T) {
	if *field == value {
		*field = *new(T)
	}
}

func dropPointer[T comparable](field **T, value T) {
	if *field != nil && **field == value {
		*field = nil
	}
}

func volumeWithoutDefaults(v *v1.VolumeSource) {
	if v.HostPath != nil {
		dropPointer(&v.HostPath.Type, v1.HostPathUnset)
	}
	if v.Secret != nil {
		dropPointer(&v.Secret.DefaultMode, 0o644)
	}
	if v.ConfigMap != nil {
		dropPointer(&v.ConfigMap.DefaultMode, 0o644)
	}
	files := func(items []v1.DownwardAPIVolumeFile) {
		for _, f := range items {
			if f.FieldRef != nil {
				drop(&f.FieldRef.APIVersion, "v1")
			}
		}
	}
	if v.DownwardAPI != nil {
		dropPointer(&v.DownwardAPI.DefaultMode, 0o644)
		files(v.DownwardAPI.Items)
	}
	if v.Projected != nil {
		dropPointer(&v.Projected.DefaultMode, 0o644)
		for _, source := range v.Projected.Sources {
			if source.DownwardAPI != nil {
				files(source.DownwardAPI.Items)
			}
		}
	}
}

func containerWithoutDefaults(c *v1.Container, hostNetwork bool) {
	policy := v1.PullIfNotPresent
	if tag(c.Image) == "latest" {
		policy = v1.PullAlways
	}
	drop(&c.ImagePullPolicy, policy)
	drop(&c.TerminationMessagePath, v1.TerminationMessagePathDefault)
	drop(&c.TerminationMessagePolicy, v1.TerminationMessageReadFile)
	for i := range c.Ports {
		drop(&c.Ports[i].Protocol, v1.ProtocolTCP)
		if hostNetwork {
			drop(&c.Ports[i].HostPort, c.Ports[i].ContainerPort)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			drop(&e.ValueFrom.FieldRef.APIVersion, "v1")
		}
	}
	requests := maps.Clone(c.Resources.Requests)
	maps.DeleteFunc(requests, func(name v1.ResourceName, request resource.Quantity) bool {
		limit, ok := c.Resources.Limits[name]
		return ok && limit.Cmp(request) == 0
	})
	c.Resources.Requests = requests
	for _, p := range []*v1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil {
			probeWithoutDefaults(p)
		}
	}
	if c.Lifecycle != nil {
		for _, h := range []*v1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil && h.HTTPGet != nil {
				drop(&h.HTTPGet.Scheme, v1.URISchemeHTTP)
			}
		}
	}
}

func probeWithoutDefaults(p *v1.Probe) {
	drop(&p.TimeoutSeconds, 1)
	drop(&p.PeriodSeconds, 10)
	drop(&p.SuccessThreshold, 1)
	drop(&p.FailureThreshold, 3)
	if p.HTTPGet != nil {
		drop(&p.HTTPGet.Scheme, v1.URISchemeHTTP)
	}
	if p.GRPC != nil {
		dropPointer(&p.GRPC.Service, "")
	}
}

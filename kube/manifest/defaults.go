package manifest

import (
	"maps"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// scrub drops what only the server writes: an API server ignores it in what people send.
func scrub(o object) {
	m := meta(o)
	*m = metav1.ObjectMeta{
		Name: m.Name, GenerateName: m.GenerateName, Namespace: m.Namespace, Labels: m.Labels, Annotations: m.Annotations,
		OwnerReferences: m.OwnerReferences, Finalizers: m.Finalizers,
	}
	switch o := o.(type) {
	case *v1.Pod:
		o.Status = v1.PodStatus{}
	case *v1.PersistentVolumeClaim:
		o.Status = v1.PersistentVolumeClaimStatus{}
	}
}

// setDefaults fills in what an API server fills in (kubernetes/pkg/apis/core/v1/defaults.go).
func setDefaults(o object) {
	switch o := o.(type) {
	case *v1.Pod:
		defaultPod(o)
	case *v1.Secret:
		if o.Type == "" {
			o.Type = v1.SecretTypeOpaque
		}
		for key, value := range o.StringData {
			if o.Data == nil {
				o.Data = map[string][]byte{}
			}
			o.Data[key] = []byte(value)
		}
		o.StringData = nil
	case *v1.PersistentVolumeClaim:
		if o.Spec.VolumeMode == nil {
			o.Spec.VolumeMode = new(v1.PersistentVolumeFilesystem)
		}
	}
}

func defaultPod(p *v1.Pod) {
	s := &p.Spec
	orElse(&s.RestartPolicy, v1.RestartPolicyAlways)
	orElse(&s.DNSPolicy, v1.DNSClusterFirst)
	orElse(&s.SchedulerName, v1.DefaultSchedulerName)
	orElse(&s.ServiceAccountName, s.DeprecatedServiceAccount)
	s.DeprecatedServiceAccount = s.ServiceAccountName
	if s.SecurityContext == nil {
		s.SecurityContext = &v1.PodSecurityContext{}
	}
	switch grace := s.TerminationGracePeriodSeconds; {
	case grace == nil:
		s.TerminationGracePeriodSeconds = new(int64(v1.DefaultTerminationGracePeriodSeconds))
	case *grace < 0:
		s.TerminationGracePeriodSeconds = new(int64(1))
	}
	if s.EnableServiceLinks == nil {
		s.EnableServiceLinks = new(v1.DefaultEnableServiceLinks)
	}
	for i := range s.Volumes {
		defaultVolume(&s.Volumes[i].VolumeSource)
	}
	for _, containers := range [][]v1.Container{s.InitContainers, s.Containers} {
		for i := range containers {
			defaultContainer(&containers[i], s.HostNetwork)
		}
	}
	defaultPodRequests(s)
}

func orElse[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}

func defaultVolume(v *v1.VolumeSource) {
	mode := func(field **int32) {
		if *field == nil {
			*field = new(int32(0o644))
		}
	}
	if volumeSources(v) == 0 {
		v.EmptyDir = &v1.EmptyDirVolumeSource{}
	}
	if v.HostPath != nil && v.HostPath.Type == nil {
		v.HostPath.Type = new(v1.HostPathUnset)
	}
	if v.Image != nil && v.Image.PullPolicy == "" {
		v.Image.PullPolicy = pullPolicy(v.Image.Reference)
	}
	if v.Secret != nil {
		mode(&v.Secret.DefaultMode)
	}
	if v.ConfigMap != nil {
		mode(&v.ConfigMap.DefaultMode)
	}
	if v.DownwardAPI != nil {
		mode(&v.DownwardAPI.DefaultMode)
		defaultFiles(v.DownwardAPI.Items)
	}
	if v.Projected != nil {
		mode(&v.Projected.DefaultMode)
		for _, source := range v.Projected.Sources {
			if source.DownwardAPI != nil {
				defaultFiles(source.DownwardAPI.Items)
			}
		}
	}
}

func defaultFiles(files []v1.DownwardAPIVolumeFile) {
	for _, f := range files {
		if f.FieldRef != nil {
			orElse(&f.FieldRef.APIVersion, "v1")
		}
	}
}

// pullPolicy is that of an image with none: one that may mean another image tomorrow is asked for each time.
func pullPolicy(image string) v1.PullPolicy {
	if tag(image) == "latest" {
		return v1.PullAlways
	}
	return v1.PullIfNotPresent
}

func defaultContainer(c *v1.Container, hostNetwork bool) {
	if c.ImagePullPolicy == "" {
		c.ImagePullPolicy = pullPolicy(c.Image)
	}
	orElse(&c.TerminationMessagePath, v1.TerminationMessagePathDefault)
	orElse(&c.TerminationMessagePolicy, v1.TerminationMessageReadFile)
	for i := range c.Ports {
		orElse(&c.Ports[i].Protocol, v1.ProtocolTCP)
		if hostNetwork && c.Ports[i].HostPort == 0 {
			c.Ports[i].HostPort = c.Ports[i].ContainerPort
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			orElse(&e.ValueFrom.FieldRef.APIVersion, "v1")
		}
	}
	if c.Resources.Limits != nil {
		requests := maps.Clone(c.Resources.Limits)
		maps.Copy(requests, c.Resources.Requests)
		c.Resources.Requests = requests
	}
	for _, p := range []*v1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil {
			defaultProbe(p)
		}
	}
	if c.Lifecycle != nil {
		for _, h := range []*v1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil {
				defaultHTTPGet(h.HTTPGet)
			}
		}
	}
}

func defaultProbe(p *v1.Probe) {
	seconds := func(field *int32, value int32) {
		if *field == 0 {
			*field = value
		}
	}
	seconds(&p.TimeoutSeconds, 1)
	seconds(&p.PeriodSeconds, 10)
	seconds(&p.SuccessThreshold, 1)
	seconds(&p.FailureThreshold, 3)
	defaultHTTPGet(p.HTTPGet)
	if p.GRPC != nil && p.GRPC.Service == nil {
		p.GRPC.Service = new("")
	}
}

func defaultHTTPGet(get *v1.HTTPGetAction) {
	if get == nil {
		return
	}
	orElse(&get.Path, "/")
	orElse(&get.Scheme, v1.URISchemeHTTP)
}

// tag is an image's: "latest" where the name has neither tag nor digest, and where it is no image's name at all "".
func tag(image string) string {
	name, _, digested := strings.Cut(image, "@")
	if image == "" {
		return ""
	}
	if slash := strings.LastIndexByte(name, '/'); slash >= 0 {
		name = name[slash+1:] // a colon before belongs to a registry's port
	}
	if _, tag, ok := strings.Cut(name, ":"); ok {
		return tag
	}
	if digested {
		return ""
	}
	return "latest"
}

// defaultPodRequests gives a pod with limits of its own the requests that belong to them: what its containers ask for, else the limits.
func defaultPodRequests(s *v1.PodSpec) {
	if s.Resources == nil || len(s.Resources.Limits) == 0 {
		return
	}
	requests := maps.Clone(s.Resources.Requests)
	if requests == nil {
		requests = v1.ResourceList{}
	}
	for _, from := range []v1.ResourceList{containersRequests(s), s.Resources.Limits} {
		for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
			value, ok := from[name]
			if _, set := requests[name]; ok && !set {
				requests[name] = value
			}
		}
	}
	if len(requests) > 0 {
		s.Resources.Requests = requests
	}
}

// containersRequests is what a pod's containers ask for together: the containers and the sidecars at once, or the largest of the init
// containers, which run alone but for the sidecars before them.
func containersRequests(s *v1.PodSpec) v1.ResourceList {
	total, sidecars, largest := v1.ResourceList{}, v1.ResourceList{}, v1.ResourceList{}
	add := func(to, more v1.ResourceList) {
		for name, value := range more {
			sum := to[name].DeepCopy()
			sum.Add(value)
			to[name] = sum
		}
	}
	raise := func(to, least v1.ResourceList) {
		for name, value := range least {
			if old, ok := to[name]; !ok || old.Cmp(value) < 0 {
				to[name] = value
			}
		}
	}
	for _, c := range s.Containers {
		add(total, c.Resources.Requests)
	}
	for _, c := range s.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			add(total, c.Resources.Requests)
			add(sidecars, c.Resources.Requests)
			raise(largest, sidecars)
			continue
		}
		alone := v1.ResourceList{}
		add(alone, sidecars)
		add(alone, c.Resources.Requests)
		raise(largest, alone)
	}
	raise(total, largest)
	for name, value := range total {
		total[name] = resource.MustParse(value.String()) // canonical: 1500m, not 0.5 + 1
	}
	return total
}

package manifest

import (
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *checker) containers(p *field.Path, s *v1.PodSpec, volumes map[string]bool) {
	if len(s.Containers) == 0 {
		c.required(p, "")
	}
	names := map[string]bool{}
	for i := range s.Containers {
		ctr, p := &s.Containers[i], p.Index(i)
		c.container(p, ctr, volumes)
		if names[ctr.Name] {
			c.add(field.Duplicate(p.Child("name"), ctr.Name))
		}
		names[ctr.Name] = true
		c.lifecycle(p.Child("lifecycle"), ctr.Lifecycle, s)
		c.probes(p, ctr)
		c.restarts(p, ctr)
	}
	c.hostPorts(p, s.Containers)
}

func (c *checker) initContainers(p *field.Path, s *v1.PodSpec, volumes map[string]bool) {
	names := map[string]bool{}
	for _, ctr := range s.Containers {
		names[ctr.Name] = true
	}
	for i := range s.InitContainers {
		ctr, p := &s.InitContainers[i], p.Index(i)
		c.container(p, ctr, volumes)
		c.restarts(p, ctr)
		sidecar := ctr.RestartPolicy != nil && *ctr.RestartPolicy == v1.ContainerRestartPolicyAlways
		if names[ctr.Name] && ctr.Name != "" {
			c.add(field.Duplicate(p.Child("name"), ctr.Name))
		}
		names[ctr.Name] = true
		c.hostPorts(p, []v1.Container{*ctr})
		if sidecar {
			c.lifecycle(p.Child("lifecycle"), ctr.Lifecycle, s)
			c.probes(p, ctr)
			continue
		}
		for _, not := range []struct {
			name string
			set  bool
		}{
			{"lifecycle", ctr.Lifecycle != nil},
			{"livenessProbe", ctr.LivenessProbe != nil},
			{"readinessProbe", ctr.ReadinessProbe != nil},
			{"startupProbe", ctr.StartupProbe != nil},
		} {
			if not.set {
				c.forbidden(p.Child(not.name), "may not be set for init containers without restartPolicy=Always")
			}
		}
	}
}

// restarts checks a container's own restart policy, and its rules.
func (c *checker) restarts(p *field.Path, ctr *v1.Container) {
	if ctr.RestartPolicy != nil {
		oneOf(c, p.Child("restartPolicy"), *ctr.RestartPolicy, v1.ContainerRestartPolicyAlways, v1.ContainerRestartPolicyNever, v1.ContainerRestartPolicyOnFailure)
	} else if len(ctr.RestartPolicyRules) > 0 {
		c.required(p.Child("restartPolicy"), "must specify restartPolicy when restart rules are used")
	}
	p = p.Child("restartPolicyRules")
	if len(ctr.RestartPolicyRules) > 20 {
		c.add(field.TooMany(p, len(ctr.RestartPolicyRules), 20))
	}
	for i, rule := range ctr.RestartPolicyRules {
		p := p.Index(i)
		oneOf(c, p.Child("action"), rule.Action, v1.ContainerRestartRuleActionRestart, v1.ContainerRestartRuleActionRestartAllContainers)
		if rule.ExitCodes == nil {
			c.required(p.Child("exitCodes"), "must be specified")
			continue
		}
		p = p.Child("exitCodes")
		oneOf(c, p.Child("operator"), rule.ExitCodes.Operator, v1.ContainerRestartRuleOnExitCodesOpIn, v1.ContainerRestartRuleOnExitCodesOpNotIn)
		if len(rule.ExitCodes.Values) > 255 {
			c.add(field.TooMany(p.Child("values"), len(rule.ExitCodes.Values), 255))
		}
	}
}

// container checks what init containers have, too.
func (c *checker) container(p *field.Path, ctr *v1.Container, volumes map[string]bool) {
	if ctr.Name == "" {
		c.required(p.Child("name"), "")
	} else {
		c.invalid(p.Child("name"), ctr.Name, validation.IsDNS1123Label(ctr.Name)...)
	}
	if ctr.Image == "" {
		c.required(p.Child("image"), "")
	} else if ctr.Image != strings.TrimSpace(ctr.Image) {
		c.invalid(p.Child("image"), ctr.Image, "must not have leading or trailing whitespace")
	}
	oneOf(c, p.Child("terminationMessagePolicy"), ctr.TerminationMessagePolicy, v1.TerminationMessageReadFile, v1.TerminationMessageFallbackToLogsOnError)
	c.ports(p.Child("ports"), ctr.Ports)
	c.env(p.Child("env"), ctr.Env)
	c.envFrom(p.Child("envFrom"), ctr.EnvFrom)
	c.mounts(p.Child("volumeMounts"), ctr, volumes)
	oneOf(c, p.Child("imagePullPolicy"), ctr.ImagePullPolicy, v1.PullAlways, v1.PullIfNotPresent, v1.PullNever)
	c.resources(p.Child("resources"), &ctr.Resources, false)
	c.security(p.Child("securityContext"), ctr.SecurityContext)
}

func (c *checker) ports(p *field.Path, ports []v1.ContainerPort) {
	names := map[string]bool{}
	for i, port := range ports {
		p := p.Index(i)
		if port.Name != "" {
			if wrong := validation.IsValidPortName(port.Name); len(wrong) > 0 {
				c.invalid(p.Child("name"), port.Name, wrong...)
			} else if names[port.Name] {
				c.add(field.Duplicate(p.Child("name"), port.Name))
			}
			names[port.Name] = true
		}
		if port.ContainerPort == 0 {
			c.required(p.Child("containerPort"), "")
		} else {
			c.invalid(p.Child("containerPort"), port.ContainerPort, validation.IsValidPortNum(int(port.ContainerPort))...)
		}
		if port.HostPort != 0 {
			c.invalid(p.Child("hostPort"), port.HostPort, validation.IsValidPortNum(int(port.HostPort))...)
		}
		oneOf(c, p.Child("protocol"), port.Protocol, v1.ProtocolSCTP, v1.ProtocolTCP, v1.ProtocolUDP)
		if port.HostIP != "" { // a cluster finds out when it binds
			c.ip(p.Child("hostIP"), port.HostIP)
		}
	}
}

// hostPorts finds what can't be bound twice.
func (c *checker) hostPorts(p *field.Path, containers []v1.Container) {
	seen := map[string]bool{}
	for i, ctr := range containers {
		for j, port := range ctr.Ports {
			if port.HostPort == 0 {
				continue
			}
			what := fmt.Sprintf("%s/%s/%d", port.Protocol, port.HostIP, port.HostPort)
			if seen[what] {
				c.add(field.Duplicate(p.Index(i).Child("ports").Index(j).Child("hostPort"), what))
			}
			seen[what] = true
		}
	}
}

// mounts checks volumeMounts; volumes has the names of the pod's, those with errors as false.
func (c *checker) mounts(p *field.Path, ctr *v1.Container, volumes map[string]bool) {
	points := map[string]bool{}
	for i, m := range ctr.VolumeMounts {
		p := p.Index(i)
		if m.Name == "" {
			c.required(p.Child("name"), "")
		}
		if !volumes[m.Name] {
			c.add(field.NotFound(p.Child("name"), m.Name))
		}
		switch {
		case m.MountPath == "":
			c.required(p.Child("mountPath"), "")
		case strings.Contains(m.MountPath, ":"): // Kubernetes' API says "must not contain ':'", and docker's syntax has no room for it
			c.invalid(p.Child("mountPath"), m.MountPath, "must not contain ':'")
		case path.Clean("/"+m.MountPath) == "/": // a kubelet's container would not start
			c.invalid(p.Child("mountPath"), m.MountPath, "must not be the root of the container")
		}
		if points[m.MountPath] {
			c.invalid(p.Child("mountPath"), m.MountPath, "must be unique")
		}
		points[m.MountPath] = true
		if m.SubPath != "" {
			c.descending(p.Child("subPath"), m.SubPath)
		}
		if m.SubPathExpr != "" {
			if m.SubPath != "" {
				c.invalid(p.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive")
			}
			c.descending(p.Child("subPathExpr"), m.SubPathExpr)
		}
		c.propagation(p, ctr, m)
	}
}

func (c *checker) propagation(p *field.Path, ctr *v1.Container, m v1.VolumeMount) {
	if mode := m.MountPropagation; mode != nil {
		oneOf(c, p.Child("mountPropagation"), *mode, v1.MountPropagationBidirectional, v1.MountPropagationHostToContainer, v1.MountPropagationNone)
		if sc := ctr.SecurityContext; *mode == v1.MountPropagationBidirectional && (sc == nil || sc.Privileged == nil || !*sc.Privileged) {
			c.forbidden(p.Child("mountPropagation"), "Bidirectional mount propagation is available only to privileged containers")
		}
	}
	if m.RecursiveReadOnly == nil || *m.RecursiveReadOnly == v1.RecursiveReadOnlyDisabled {
		return
	}
	p = p.Child("recursiveReadOnly")
	oneOf(c, p, *m.RecursiveReadOnly, v1.RecursiveReadOnlyDisabled, v1.RecursiveReadOnlyEnabled, v1.RecursiveReadOnlyIfPossible)
	if !m.ReadOnly {
		c.forbidden(p, "may only be specified when readOnly is true")
	}
	if m.MountPropagation != nil && *m.MountPropagation != v1.MountPropagationNone {
		c.forbidden(p, "may only be specified when mountPropagation is None or not specified")
	}
}

// resources checks limits and requests, a container's or a whole pod's.
func (c *checker) resources(p *field.Path, r *v1.ResourceRequirements, ofPod bool) {
	c.quantities(p.Child("limits"), r.Limits, ofPod)
	c.quantities(p.Child("requests"), r.Requests, ofPod)
	for _, name := range sortedNames(r.Requests) {
		request := r.Requests[name]
		if limit, ok := r.Limits[name]; ok && request.Cmp(limit) > 0 {
			c.invalid(p.Child("requests"), request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String()))
		}
	}
}

func (c *checker) quantities(p *field.Path, list v1.ResourceList, ofPod bool) {
	for _, name := range sortedNames(list) {
		p, value := p.Key(string(name)), list[name]
		c.resourceName(p, name, ofPod)
		if value.Sign() < 0 {
			c.invalid(p, value.String(), "must be greater than or equal to 0")
		}
	}
}

func (c *checker) resourceName(p *field.Path, name v1.ResourceName, ofPod bool) {
	huge := strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
	known := name == v1.ResourceCPU || name == v1.ResourceMemory || huge
	switch wrong := validation.IsQualifiedName(string(name)); {
	case len(wrong) > 0:
		c.invalid(p, string(name), wrong...)
	case ofPod:
		if !known {
			c.add(field.NotSupported(p, name, []v1.ResourceName{v1.ResourceCPU, "hugepages-", v1.ResourceMemory}))
		}
	case !strings.Contains(string(name), "/") && !known && name != v1.ResourceEphemeralStorage:
		if !slices.Contains([]v1.ResourceName{v1.ResourceStorage, v1.ResourcePods, v1.ResourceServices}, name) {
			c.invalid(p, name, "must be a standard resource type or fully qualified")
		}
		c.invalid(p, name, "must be a standard resource for containers")
	}
}

func sortedNames(list v1.ResourceList) []v1.ResourceName {
	names := make([]v1.ResourceName, 0, len(list))
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// podResources are the limits of a whole pod: no container may have more.
func (c *checker) podResources(p *field.Path, s *v1.PodSpec) {
	if s.Resources == nil {
		return
	}
	c.resources(p, s.Resources, true)
	all := containersRequests(s)
	for _, name := range sortedNames(all) {
		sum, request := all[name], s.Resources.Requests[name]
		if _, ok := s.Resources.Requests[name]; ok && sum.Cmp(request) > 0 {
			c.invalid(p.Child("requests").Key(string(name)), request.String(), "must be greater than or equal to aggregate container requests of "+sum.String())
		}
	}
	for i, ctr := range s.Containers {
		for _, name := range sortedNames(ctr.Resources.Limits) {
			limit := ctr.Resources.Limits[name]
			if most, ok := s.Resources.Limits[name]; ok && limit.Cmp(most) > 0 {
				c.invalid(p.Child("containers").Index(i).Key(string(name)).Child("limits"), limit.String(), "must be less than or equal to pod limits of "+most.String())
			}
		}
	}
}

func (c *checker) security(p *field.Path, sc *v1.SecurityContext) {
	if sc == nil {
		return
	}
	c.user(p.Child("runAsUser"), sc.RunAsUser, validation.IsValidUserID)
	c.user(p.Child("runAsGroup"), sc.RunAsGroup, validation.IsValidGroupID)
	if sc.ProcMount != nil {
		oneOf(c, p.Child("procMount"), *sc.ProcMount, v1.DefaultProcMount, v1.UnmaskedProcMount)
	}
	c.seccomp(p.Child("seccompProfile"), sc.SeccompProfile)
	if sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation {
		if sc.Privileged != nil && *sc.Privileged {
			c.invalid(p, field.OmitValueType{}, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
		}
		if sc.Capabilities != nil && slices.Contains(sc.Capabilities.Add, "CAP_SYS_ADMIN") {
			c.invalid(p, field.OmitValueType{}, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN")
		}
	}
	c.appArmor(p.Child("appArmorProfile"), sc.AppArmorProfile)
}

func (c *checker) portOrName(p *field.Path, port intstr.IntOrString) {
	if port.Type == intstr.Int {
		c.invalid(p, port.IntValue(), validation.IsValidPortNum(port.IntValue())...)
		return
	}
	c.invalid(p, port.StrVal, validation.IsValidPortName(port.StrVal)...)
}

package manifest

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *checker) pod(pod *v1.Pod) {
	p, s := field.NewPath("spec"), &pod.Spec
	volumes := c.volumes(p.Child("volumes"), s.Volumes)
	c.containers(p.Child("containers"), s, volumes)
	c.initContainers(p.Child("initContainers"), s, volumes)
	c.fileVolumes(p, s)
	c.podResources(p.Child("resources"), s)
	c.gates(p, s)
	c.appArmorAnnotations(pod)
	c.hostNetwork(p.Child("containers"), s)
	oneOf(c, p.Child("restartPolicy"), s.RestartPolicy, v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever)
	oneOf(c, p.Child("dnsPolicy"), s.DNSPolicy, v1.DNSClusterFirstWithHostNet, v1.DNSClusterFirst, v1.DNSDefault, v1.DNSNone)
	c.labels(p.Child("nodeSelector"), s.NodeSelector)
	if os := s.NodeSelector[v1.LabelOSStable]; os != "" && os != string(v1.Linux) { // a cluster would never find it a node
		c.forbidden(p.Child("nodeSelector").Key(v1.LabelOSStable), fmt.Sprintf("%q: minipod runs Linux programs", os))
	}
	c.podSecurity(p.Child("securityContext"), s)
	if s.ShareProcessNamespace != nil && *s.ShareProcessNamespace && s.HostPID {
		c.invalid(p.Child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled")
	}
	c.dns(p.Child("dnsConfig"), s)
	if s.HostUsers != nil && !*s.HostUsers {
		if s.HostPID {
			c.forbidden(p.Child("HostPID"), "when `hostUsers` is false")
		}
		if s.HostIPC {
			c.forbidden(p.Child("HostIPC"), "when `hostUsers` is false")
		}
	}
	if name := s.ServiceAccountName; name != "" {
		c.invalid(p.Child("serviceAccountName"), name, validation.IsDNS1123Subdomain(name)...)
	}
	if name := s.NodeName; name != "" {
		c.invalid(p.Child("nodeName"), name, validation.IsDNS1123Subdomain(name)...)
	}
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		c.invalid(p.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, math.MaxInt32))
	}
	c.labelOrNone(p.Child("hostname"), s.Hostname)
	c.labelOrNone(p.Child("subdomain"), s.Subdomain)
	for i, alias := range s.HostAliases {
		p := p.Child("hostAliases").Index(i)
		c.ip(p.Child("ip"), alias.IP)
		for j, name := range alias.Hostnames {
			c.invalid(p.Child("hostnames").Index(j), name, validation.IsDNS1123Subdomain(name)...)
		}
	}
	if name := s.PriorityClassName; name != "" {
		c.invalid(p.Child("priorityClassName"), name, validation.IsDNS1123Subdomain(name)...)
	}
	if s.OS != nil {
		if s.OS.Name == "" {
			c.required(p.Child("os", "name"), "")
		} else {
			oneOf(c, p.Child("os"), s.OS.Name, v1.Linux, v1.Windows)
		}
	}
	c.nonNegative(p.Child("terminationGracePeriodSeconds"), *s.TerminationGracePeriodSeconds)
}

// gates are names, each once, of a pod that is on no machine yet.
func (c *checker) gates(p *field.Path, s *v1.PodSpec) {
	seen := map[string]bool{}
	for i, gate := range s.SchedulingGates {
		at := p.Child("schedulingGates").Index(i)
		c.invalid(at, gate.Name, validation.IsQualifiedName(gate.Name)...)
		if seen[gate.Name] {
			c.add(field.Duplicate(at, gate.Name))
		}
		seen[gate.Name] = true
	}
	if s.NodeName != "" && len(s.SchedulingGates) > 0 {
		c.forbidden(p.Child("nodeName"), "cannot be set until all schedulingGates have been cleared")
	}
}

// appArmorAnnotations refuses in the words of before Kubernetes 1.30 what is refused in today's: a server makes the one of the other.
func (c *checker) appArmorAnnotations(pod *v1.Pod) {
	for _, key := range sortedKeys(pod.Annotations) {
		if strings.HasPrefix(key, v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix) && strings.HasPrefix(pod.Annotations[key], v1.DeprecatedAppArmorBetaProfileNamePrefix) {
			c.forbidden(field.NewPath("metadata", "annotations").Key(key), "only root may load an AppArmor profile: use seccompProfile")
		}
	}
}

func (c *checker) labelOrNone(p *field.Path, name string) {
	if name != "" {
		c.invalid(p, name, validation.IsDNS1123Label(name)...)
	}
}

func (c *checker) ip(p *field.Path, text string) {
	if addr, err := netip.ParseAddr(text); err != nil || addr.Zone() != "" {
		c.invalid(p, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
	}
}

// hostNetwork: a port in the host's network is the host's.
func (c *checker) hostNetwork(p *field.Path, s *v1.PodSpec) {
	if !s.HostNetwork {
		return
	}
	for i, ctr := range s.Containers {
		for j, port := range ctr.Ports {
			if port.HostPort != port.ContainerPort {
				c.invalid(p.Index(i).Child("ports").Index(j).Child("hostPort"), port.HostPort, "must match `containerPort` when `hostNetwork` is true")
			}
		}
	}
}

// What resolv.conf may have.
const maxNameservers, maxSearches, maxSearchChars = 3, 32, 2048

func (c *checker) dns(p *field.Path, s *v1.PodSpec) {
	d := s.DNSConfig
	if s.DNSPolicy == v1.DNSNone {
		if d == nil {
			c.required(p, "must provide `dnsConfig` when `dnsPolicy` is None")
			return
		}
		if len(d.Nameservers) == 0 {
			c.required(p.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None")
			return
		}
	}
	if d == nil {
		return
	}
	if len(d.Nameservers) > maxNameservers {
		c.invalid(p.Child("nameservers"), d.Nameservers, fmt.Sprintf("must not have more than %v nameservers", maxNameservers))
	}
	for i, server := range d.Nameservers {
		c.ip(p.Child("nameservers").Index(i), server)
	}
	if len(d.Searches) > maxSearches {
		c.invalid(p.Child("searches"), d.Searches, fmt.Sprintf("must not have more than %v search paths", maxSearches))
	}
	if len(strings.Join(d.Searches, " ")) > maxSearchChars {
		c.invalid(p.Child("searches"), d.Searches, fmt.Sprintf("must not have more than %v characters (including spaces) in the search list", maxSearchChars))
	}
	for i, search := range d.Searches {
		if search = strings.TrimSuffix(search, "."); search != "" || d.Searches[i] == "" {
			c.invalid(p.Child("searches").Index(i), search, validation.IsDNS1123SubdomainWithUnderscore(search)...)
		}
	}
	for i, option := range d.Options {
		// What goes into resolv.conf must stay on its line.
		q := p.Child("options").Index(i)
		if option.Name == "" {
			c.required(q, "must not be empty")
		} else if strings.ContainsAny(option.Name, " \t\r\n") || option.Value != nil && strings.ContainsAny(*option.Value, " \t\r\n") {
			c.invalid(q, option.Name, "must not have white space")
		}
	}
}

func (c *checker) podSecurity(p *field.Path, s *v1.PodSpec) {
	sc := s.SecurityContext
	c.user(p.Child("fsGroup"), sc.FSGroup, validation.IsValidGroupID)
	c.user(p.Child("runAsUser"), sc.RunAsUser, validation.IsValidUserID)
	c.user(p.Child("runAsGroup"), sc.RunAsGroup, validation.IsValidGroupID)
	for i, group := range sc.SupplementalGroups {
		c.user(p.Child("supplementalGroups").Index(i), &group, validation.IsValidGroupID)
	}
	c.sysctls(p.Child("sysctls"), s)
	if sc.FSGroupChangePolicy != nil {
		oneOf(c, p.Child("fsGroupChangePolicy"), *sc.FSGroupChangePolicy, v1.FSGroupChangeAlways, v1.FSGroupChangeOnRootMismatch)
	}
	c.seccomp(p.Child("seccompProfile"), sc.SeccompProfile)
	c.appArmor(p.Child("appArmorProfile"), sc.AppArmorProfile)
	if sc.SupplementalGroupsPolicy != nil {
		oneOf(c, p.Child("supplementalGroupsPolicy"), *sc.SupplementalGroupsPolicy, v1.SupplementalGroupsPolicyMerge, v1.SupplementalGroupsPolicyStrict)
	}
}

func (c *checker) user(p *field.Path, id *int64, rule func(int64) []string) {
	if id != nil {
		c.invalid(p, *id, rule(*id)...)
	}
}

const sysctlName = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"

func (c *checker) sysctls(p *field.Path, s *v1.PodSpec) {
	if len(s.SecurityContext.Sysctls) == 0 {
		return
	}
	seen, rule := map[string]bool{}, regexp.MustCompile(sysctlName)
	for i, sysctl := range s.SecurityContext.Sysctls {
		p := p.Index(i).Child("name")
		switch {
		case sysctl.Name == "":
			c.required(p, "")
		case !rule.MatchString(sysctl.Name) || len(sysctl.Name) > 253:
			c.invalid(p, sysctl.Name, "must have at most 253 characters and match regex "+sysctlName)
		case seen[sysctl.Name]:
			c.add(field.Duplicate(p, sysctl.Name))
		}
		seen[sysctl.Name] = true
		name := strings.ReplaceAll(sysctl.Name, "/", ".")
		switch ipc := strings.HasPrefix(name, "kernel.shm") || strings.HasPrefix(name, "kernel.msg") || name == "kernel.sem" || strings.HasPrefix(name, "fs.mqueue."); {
		case s.HostNetwork && strings.HasPrefix(name, "net."):
			c.invalid(p, sysctl.Name, "may not be specified when 'hostNetwork' is true")
		case s.HostIPC && ipc:
			c.invalid(p, sysctl.Name, "may not be specified when 'hostIPC' is true")
		}
	}
}

func (c *checker) seccomp(p *field.Path, profile *v1.SeccompProfile) {
	if profile == nil {
		return
	}
	if profile.Type == "" {
		c.required(p.Child("type"), "type is required when seccompProfile is set")
	} else {
		oneOf(c, p.Child("type"), profile.Type, v1.SeccompProfileTypeLocalhost, v1.SeccompProfileTypeRuntimeDefault, v1.SeccompProfileTypeUnconfined)
	}
	switch file := profile.LocalhostProfile; {
	case profile.Type != v1.SeccompProfileTypeLocalhost && file != nil:
		c.invalid(p.Child("localhostProfile"), *file, "can only be set when seccomp type is Localhost")
	case profile.Type == v1.SeccompProfileTypeLocalhost && file == nil:
		c.required(p.Child("localhostProfile"), "must be set when seccomp type is Localhost")
	case file != nil:
		c.descending(p.Child("localhostProfile"), *file)
	}
}

func (c *checker) appArmor(p *field.Path, profile *v1.AppArmorProfile) {
	if profile == nil {
		return
	}
	if profile.Type == "" {
		c.required(p.Child("type"), "type is required when appArmorProfile is set")
		return
	}
	oneOf(c, p.Child("type"), profile.Type, v1.AppArmorProfileTypeLocalhost, v1.AppArmorProfileTypeRuntimeDefault, v1.AppArmorProfileTypeUnconfined)
}

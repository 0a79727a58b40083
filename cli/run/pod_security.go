package run

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/pod"
)

// secure is the container's security context, over the pod's.
func (s *podStart) secure(f *flags.Run) error {
	whole, own := s.Pod.Spec.SecurityContext, s.Container.SecurityContext
	if whole == nil {
		whole = &pod.PodSecurityContext{}
	}
	if own == nil {
		own = &pod.ContainerSecurityContext{}
	}
	f.ReadOnly = isTrue(own.ReadOnlyRootFilesystem)
	f.NoNewPrivileges = own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation
	f.Seccomp = seccompOf(first(own.SeccompProfile, whole.SeccompProfile), filepath.Join(s.h.dirs.Config, "seccomp"))
	if isTrue(own.Privileged) {
		f.Seccomp = "unconfined"
	}
	user, group := first(own.RunAsUser, whole.RunAsUser), first(own.RunAsGroup, whole.RunAsGroup)
	image := s.r.image.Config.Config.User
	if isTrue(first(own.RunAsNonRoot, whole.RunAsNonRoot)) {
		if err := s.refuseRoot(user, image); err != nil {
			return err
		}
	}
	f.User = userOf(user, group, image)
	s.strict = whole.SupplementalGroupsPolicy != nil && *whole.SupplementalGroupsPolicy == "Strict"
	for _, gid := range slices.Concat(whole.SupplementalGroups, list(whole.FSGroup)) {
		s.groups = append(s.groups, uint32(gid))
	}
	return nil
}

func isTrue(b *bool) bool { return b != nil && *b }

// first is the container's word, or else the pod's.
func first[T any](own, whole *T) *T {
	if own != nil {
		return own
	}
	return whole
}

func list[T any](v *T) []T {
	if v == nil {
		return nil
	}
	return []T{*v}
}

// seccompOf is docker's word for a profile. A pod that says nothing has the runtime's default one, as under a kubelet with seccompDefault. The
// user's own are in dir, as a kubelet's are in /var/lib/kubelet/seccomp; a manifest's path does not lead out of it (manifest.checker.descending).
func seccompOf(p *pod.SeccompProfile, dir string) string {
	switch {
	case p == nil:
		return ""
	case p.Type == "Unconfined":
		return "unconfined"
	case p.Type == "Localhost" && p.LocalhostProfile != nil:
		return filepath.Join(dir, *p.LocalhostProfile)
	}
	return ""
}

// userOf is docker's --user: what the pod says over what the image does.
func userOf(user, group *int64, image string) string {
	imageUser, _, _ := strings.Cut(image, ":")
	switch {
	case user == nil && group == nil:
		return ""
	case user == nil:
		return imageUser + ":" + strconv.FormatInt(*group, 10)
	case group == nil:
		return strconv.FormatInt(*user, 10)
	}
	return strconv.FormatInt(*user, 10) + ":" + strconv.FormatInt(*group, 10)
}

// refuseRoot is runAsNonRoot, in the kubelet's words (kuberuntime/security_context.go).
func (s *podStart) refuseRoot(user *int64, image string) error {
	where := "(pod: \"" + s.Pod.Metadata.Name + "_" + s.Pod.Metadata.Namespace + "(" + s.Pod.Metadata.UID + ")\", container: " + s.Container.Name + ")"
	if user != nil {
		if *user == 0 {
			return failuref(pod.CreateContainerConfigError, "container's runAsUser breaks non-root policy %s", where)
		}
		return nil
	}
	name, _, _ := strings.Cut(image, ":")
	uid, err := strconv.ParseUint(name, 10, 32)
	switch {
	case name == "" || err == nil && uid == 0:
		return failuref(pod.CreateContainerConfigError, "container has runAsNonRoot and image will run as root %s", where)
	case err != nil:
		return failuref(pod.CreateContainerConfigError, "container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", name, where)
	}
	return nil
}

// sysctlsOf are the kernel's parameters that the pod wants in its namespaces.
func sysctlsOf(p *pod.Pod) map[string]string {
	if p.Spec.SecurityContext == nil || len(p.Spec.SecurityContext.Sysctls) == 0 {
		return nil
	}
	all := map[string]string{}
	for _, s := range p.Spec.SecurityContext.Sysctls {
		all[s.Name] = s.Value
	}
	return all
}

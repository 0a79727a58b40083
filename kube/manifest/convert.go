package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"codeberg.org/minipod/minipod/pod"
)

// convert makes what minipod runs out of a v1.Pod that has its defaults: without the fields that nothing comes of. Package pod's types
// take no unknown field, so nothing gets lost between the two by mistake.
func convert(p *v1.Pod) (*pod.Pod, error) {
	kept := p.DeepCopy()
	table().prune(reflect.ValueOf(kept).Elem())
	data, err := json.Marshal(struct {
		Metadata any        `json:"metadata"`
		Spec     v1.PodSpec `json:"spec"`
	}{kept.ObjectMeta, kept.Spec})
	if err != nil {
		return nil, fmt.Errorf("convert pod %q: %w", p.Name, err)
	}
	var converted pod.Pod
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&converted); err != nil {
		return nil, fmt.Errorf("convert pod %q: %w", p.Name, err)
	}
	return &converted, nil
}

// prune clears the fields that package pod has not.
func (x index) prune(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			x.prune(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			x.prune(v.Index(i))
		}
	case reflect.Struct:
		if isLeaf(v.Type()) {
			return
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() || v.Field(i).IsZero() {
				continue
			}
			if row := x.fields[[2]string{v.Type().Name(), name}]; name == "" || row.Support == Done && !row.Here {
				x.prune(v.Field(i))
			} else {
				v.Field(i).SetZero()
			}
		}
	}
}

// doubles are warnings of the API server's about what stands twice, of which one is as good as lost.
func doubles(o object) (warnings []string) {
	p, ok := o.(*v1.Pod)
	if !ok {
		return nil
	}
	warnings = annotated(p)
	root := field.NewPath("spec")
	for i, c := range p.Spec.InitContainers {
		warnings = append(warnings, doublesOf(root.Child("initContainers").Index(i), c)...)
	}
	for i, c := range p.Spec.Containers {
		warnings = append(warnings, doublesOf(root.Child("containers").Index(i), c)...)
	}
	if grace := p.Spec.TerminationGracePeriodSeconds; grace != nil && *grace < 0 {
		warnings = append(warnings, root.Child("terminationGracePeriodSeconds").String()+": must be >= 0; negative values are invalid and will be treated as 1")
	}
	return warnings
}

// annotated are warnings about annotations that meant something once: nothing comes of them.
func annotated(p *v1.Pod) (warnings []string) {
	for _, key := range sortedKeys(p.Annotations) {
		at, value := field.NewPath("metadata", "annotations").Key(key), p.Annotations[key]
		switch {
		case key == v1.SeccompPodAnnotationKey, strings.HasPrefix(key, v1.SeccompContainerAnnotationKeyPrefix):
			warnings = append(warnings, at.String()+`: non-functional in v1.27+; use the "seccompProfile" field instead`)
		case strings.HasPrefix(key, v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix) && value != v1.DeprecatedAppArmorBetaProfileNameUnconfined:
			warnings = append(warnings, at.String()+": no AppArmor profile is set: only root may do that")
		}
	}
	return warnings
}

func doublesOf(p *field.Path, c v1.Container) (warnings []string) {
	names := map[string]bool{}
	for i, e := range c.Env {
		// One that is made of what it was before is meant: PATH=$(PATH):/more.
		if names[e.Name] && !strings.Contains(e.Value, "$("+e.Name+")") {
			warnings = append(warnings, fmt.Sprintf("%s: hides previous definition of %q, which may be dropped when using apply", p.Child("env").Index(i), e.Name))
		}
		names[e.Name] = true
	}
	first := map[string]int{}
	for i, port := range c.Ports {
		key := fmt.Sprint(port.ContainerPort, port.Protocol, port.HostIP, port.HostPort)
		if before, ok := first[key]; ok {
			warnings = append(warnings, fmt.Sprintf("%s: duplicate port definition with %s", p.Child("ports").Index(i), p.Child("ports").Index(before)))
			continue
		}
		first[key] = i
	}
	return warnings
}

// withoutToken leaves out the volume that a cluster puts into each of its pods, and that is in what `kubectl get pod -o yaml` prints: the token
// is of no use where there is no API server. Other volumes with a token are somebody's wish, and refused.
func withoutToken(o object) (warnings []string) {
	p, ok := o.(*v1.Pod)
	if !ok {
		return nil
	}
	left := func(v v1.Volume) bool { return v.Projected != nil && strings.HasPrefix(v.Name, "kube-api-access-") }
	for i, v := range p.Spec.Volumes {
		if !left(v) {
			continue
		}
		warnings = append(warnings, fmt.Sprintf("%s: there is no API server to have an account at: %s is left out", field.NewPath("spec", "volumes").Index(i), v.Name))
		for _, containers := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for j := range containers {
				containers[j].VolumeMounts = slices.DeleteFunc(containers[j].VolumeMounts, func(m v1.VolumeMount) bool { return m.Name == v.Name })
			}
		}
	}
	p.Spec.Volumes = slices.DeleteFunc(p.Spec.Volumes, left)
	return warnings
}

package manifest

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *checker) env(p *field.Path, env []v1.EnvVar) {
	for i, e := range env {
		p := p.Index(i)
		if e.Name == "" {
			c.required(p.Child("name"), "")
		} else {
			c.invalid(p.Child("name"), e.Name, validation.IsRelaxedEnvVarName(e.Name)...)
		}
		if e.ValueFrom != nil {
			c.valueFrom(p.Child("valueFrom"), e)
		}
	}
}

func (c *checker) valueFrom(p *field.Path, e v1.EnvVar) {
	from, sources := e.ValueFrom, 0
	if from.FieldRef != nil {
		sources++
		c.fieldRef(p.Child("fieldRef"), from.FieldRef, envFields)
	}
	if from.ResourceFieldRef != nil {
		sources++
		c.resourceRef(p.Child("resourceFieldRef"), from.ResourceFieldRef, false)
	}
	if from.ConfigMapKeyRef != nil {
		sources++
		c.keyRef(p.Child("configMapKeyRef"), from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)
	}
	if from.SecretKeyRef != nil {
		sources++
		c.keyRef(p.Child("secretKeyRef"), from.SecretKeyRef.Name, from.SecretKeyRef.Key)
	}
	if ref := from.FileKeyRef; ref != nil {
		sources++
		c.fileRef(p.Child("fileKeyRef"), ref)
	}
	switch {
	case sources == 0:
		c.invalid(p, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")
	case e.Value != "":
		c.invalid(p, "", "may not be specified when `value` is not empty")
	case sources > 1:
		c.invalid(p, "", "may not have more than one field specified at a time")
	}
}

func (c *checker) keyRef(p *field.Path, name, key string) {
	c.invalid(p.Child("name"), name, validation.IsDNS1123Subdomain(name)...)
	if key == "" {
		c.required(p.Child("key"), "")
		return
	}
	c.invalid(p.Child("key"), key, validation.IsConfigMapKey(key)...)
}

func (c *checker) fileRef(p *field.Path, ref *v1.FileKeySelector) {
	if ref.Key == "" {
		c.required(p.Child("key"), "")
	} else {
		c.invalid(p.Child("key"), ref.Key, validation.IsRelaxedEnvVarName(ref.Key)...)
	}
	if ref.VolumeName == "" {
		c.required(p.Child("volumeName"), "")
	} else {
		c.invalid(p.Child("volumeName"), ref.VolumeName, validation.IsDNS1123Label(ref.VolumeName)...)
	}
	if ref.Path == "" {
		c.required(p.Child("path"), "")
	} else {
		c.descending(p.Child("path"), ref.Path)
	}
}

// fileVolumes holds variables that come from files to volumes that the pod has.
func (c *checker) fileVolumes(p *field.Path, s *v1.PodSpec) {
	for name, containers := range map[string][]v1.Container{"initContainers": s.InitContainers, "containers": s.Containers} {
		for i := range containers {
			for j, e := range containers[i].Env {
				if e.ValueFrom == nil || e.ValueFrom.FileKeyRef == nil || e.ValueFrom.FileKeyRef.VolumeName == "" {
					continue
				}
				volume := e.ValueFrom.FileKeyRef.VolumeName
				p := p.Child(name).Index(i).Child("env").Index(j).Child("valueFrom", "fileKeyRef", "volumeName")
				at := slices.IndexFunc(s.Volumes, func(v v1.Volume) bool { return v.Name == volume })
				switch {
				case at < 0:
					c.add(field.NotFound(p, volume))
				case s.Volumes[at].EmptyDir == nil:
					c.invalid(p, volume, "referenced volume must be of type emptyDir")
				}
			}
		}
	}
}

func (c *checker) envFrom(p *field.Path, from []v1.EnvFromSource) {
	for i, source := range from {
		item := p.Index(i)
		if source.Prefix != "" {
			c.invalid(item.Child("prefix"), source.Prefix, validation.IsRelaxedEnvVarName(source.Prefix)...)
		}
		ref := func(name, of string) {
			if of == "" {
				c.required(item.Child(name, "name"), "")
				return
			}
			// The API server takes an unfinished name here (dashes at its end), which no object has.
			c.invalid(item.Child(name, "name"), of, validation.IsDNS1123Subdomain(strings.TrimRight(of, "-"))...)
		}
		if source.ConfigMapRef != nil {
			ref("configMapRef", source.ConfigMapRef.Name)
		}
		if source.SecretRef != nil {
			ref("secretRef", source.SecretRef.Name)
		}
		switch {
		case source.ConfigMapRef == nil && source.SecretRef == nil:
			c.invalid(p, "", "must specify one of: `configMapRef` or `secretRef`")
		case source.ConfigMapRef != nil && source.SecretRef != nil:
			c.invalid(p, "", "may not have more than one field specified at a time")
		}
	}
}

// Where fields of the pod may be asked for: in a variable, and in a volume's file.
const (
	envFields = iota
	fileFields
)

func supportedFields(where int) []string {
	if where == fileFields {
		return []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	}
	return []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
}

func (c *checker) fieldRef(p *field.Path, ref *v1.ObjectFieldSelector, where int) {
	if ref.FieldPath == "" {
		c.required(p.Child("fieldPath"), "")
		return
	}
	if ref.APIVersion != "v1" {
		c.invalid(p.Child("fieldPath"), ref.FieldPath, "error converting fieldPath: unsupported pod version: "+ref.APIVersion)
		return
	}
	if base, key, ok := subscript(ref.FieldPath); ok {
		switch base {
		case "metadata.annotations":
			c.invalid(p, strings.ToLower(key), validation.IsQualifiedName(strings.ToLower(key))...)
		case "metadata.labels":
			c.invalid(p, key, validation.IsQualifiedName(key)...)
		default:
			c.invalid(p.Child("fieldPath"), ref.FieldPath, "error converting fieldPath: field label does not support subscript: "+ref.FieldPath)
		}
		return
	}
	known := append(supportedFields(envFields), "metadata.annotations", "metadata.labels", "spec.host", "spec.restartPolicy", "spec.schedulerName", "status.phase")
	if !slices.Contains(known, ref.FieldPath) {
		c.invalid(p.Child("fieldPath"), ref.FieldPath, "error converting fieldPath: field label not supported: "+ref.FieldPath)
		return
	}
	if supported := supportedFields(where); !slices.Contains(supported, ref.FieldPath) {
		c.add(field.NotSupported(p.Child("fieldPath"), ref.FieldPath, supported))
	}
}

// subscript parts metadata.labels['key'].
func subscript(path string) (base, key string, ok bool) {
	inner, ok := strings.CutSuffix(path, "']")
	if !ok {
		return "", "", false
	}
	base, key, ok = strings.Cut(inner, "['")
	return base, key, ok && base != ""
}

func (c *checker) resourceRef(p *field.Path, ref *v1.ResourceFieldSelector, file bool) {
	supported := []string{
		"limits.cpu", "limits.ephemeral-storage", "limits.memory",
		"requests.cpu", "requests.ephemeral-storage", "requests.memory",
	}
	switch {
	case file && ref.ContainerName == "":
		c.required(p.Child("containerName"), "")
	case ref.Resource == "":
		c.required(p.Child("resource"), "")
	case strings.HasPrefix(ref.Resource, "limits.hugepages-"), strings.HasPrefix(ref.Resource, "requests.hugepages-"): // refused
	case !slices.Contains(supported, ref.Resource):
		c.add(field.NotSupported(p.Child("resource"), ref.Resource, supported))
	}
	if ref.Divisor.Cmp(resource.Quantity{}) == 0 {
		return
	}
	_, of, _ := strings.Cut(ref.Resource, ".")
	allowed := []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}
	text := "only divisor's values " + strings.Join(allowed, ", ") + " are supported with the "
	switch of {
	case "cpu":
		allowed, text = []string{"1m", "1"}, "only divisor's values 1m and 1 are supported with the cpu resource"
	case "memory":
		text += "memory resource"
	case "ephemeral-storage":
		text += "local ephemeral storage resource"
	default:
		return
	}
	if !slices.Contains(allowed, ref.Divisor.String()) {
		c.invalid(p.Child("divisor"), ref.Resource, text)
	}
}

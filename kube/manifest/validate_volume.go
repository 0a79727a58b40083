package manifest

import (
	"path"
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// volumeSources counts the sources of a volume that are set.
func volumeSources(v *v1.VolumeSource) (n int) {
	for _, f := range reflect.ValueOf(v).Elem().Fields() {
		if !f.IsNil() {
			n++
		}
	}
	return n
}

// volumes checks a pod's and returns the names of those that are right.
func (c *checker) volumes(p *field.Path, volumes []v1.Volume) map[string]bool {
	right := map[string]bool{}
	for i := range volumes {
		v, p, before := &volumes[i], p.Index(i), len(c.errs)
		c.volume(p, &v.VolumeSource)
		if v.Name == "" {
			c.required(p.Child("name"), "")
		} else {
			c.invalid(p.Child("name"), v.Name, validation.IsDNS1123Label(v.Name)...)
		}
		if right[v.Name] {
			c.add(field.Duplicate(p.Child("name"), v.Name))
		}
		right[v.Name] = right[v.Name] || len(c.errs) == before
	}
	return right
}

func (c *checker) volume(p *field.Path, v *v1.VolumeSource) {
	if volumeSources(v) > 1 {
		first := true
		for f, value := range reflect.ValueOf(v).Elem().Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !value.IsNil() && !first {
				c.forbidden(p.Child(name), "may not specify more than 1 volume type")
			}
			first = first && value.IsNil()
		}
		return
	}
	switch {
	case v.EmptyDir != nil:
		if limit := v.EmptyDir.SizeLimit; limit != nil && limit.Sign() < 0 {
			c.forbidden(p.Child("emptyDir", "sizeLimit"), "SizeLimit field must be a valid resource quantity")
		}
		if mode := v.EmptyDir.Mode; mode != nil && (*mode < 0 || *mode > 0o1777) {
			c.invalid(p.Child("emptyDir", "mode"), *mode, "must be a number between 0 and 01777 (octal), both inclusive")
		}
		if medium := v.EmptyDir.Medium; !strings.HasPrefix(string(medium), "HugePages") && medium != "" { // a kubelet finds this out
			oneOf(c, p.Child("emptyDir", "medium"), medium, v1.StorageMediumMemory)
		}
	case v.Image != nil:
		if v.Image.Reference == "" {
			c.required(p.Child("image", "reference"), "")
		}
		oneOf(c, p.Child("image", "pullPolicy"), v.Image.PullPolicy, v1.PullAlways, v1.PullIfNotPresent, v1.PullNever)
	case v.HostPath != nil:
		c.hostPath(p.Child("hostPath"), v.HostPath)
	case v.Secret != nil:
		p := p.Child("secret")
		if v.Secret.SecretName == "" {
			c.required(p.Child("secretName"), "")
		}
		c.mode(p.Child("defaultMode"), v.Secret.DefaultMode)
		c.items(p.Child("items"), v.Secret.Items)
	case v.ConfigMap != nil:
		p := p.Child("configMap")
		if v.ConfigMap.Name == "" {
			c.required(p.Child("name"), "")
		}
		c.mode(p.Child("defaultMode"), v.ConfigMap.DefaultMode)
		c.items(p.Child("items"), v.ConfigMap.Items)
	case v.DownwardAPI != nil:
		p := p.Child("downwardAPI")
		c.mode(p.Child("defaultMode"), v.DownwardAPI.DefaultMode)
		for _, f := range v.DownwardAPI.Items {
			c.file(p, f)
		}
	case v.Projected != nil:
		c.mode(p.Child("projected", "defaultMode"), v.Projected.DefaultMode)
		c.projected(p.Child("projected"), v.Projected)
	case v.PersistentVolumeClaim != nil:
		if v.PersistentVolumeClaim.ClaimName == "" {
			c.required(p.Child("persistentVolumeClaim", "claimName"), "")
		}
	}
}

func (c *checker) hostPath(p *field.Path, h *v1.HostPathVolumeSource) {
	if h.Path == "" {
		c.required(p.Child("path"), "")
		return
	}
	c.noBackSteps(p.Child("path"), h.Path)
	if !path.IsAbs(h.Path) { // a kubelet's would be looked for below its own working directory
		c.invalid(p.Child("path"), h.Path, "must be an absolute path")
	}
	supported := []v1.HostPathType{
		v1.HostPathUnset, v1.HostPathBlockDev, v1.HostPathCharDev, v1.HostPathDirectory, v1.HostPathDirectoryOrCreate, v1.HostPathFile,
		v1.HostPathFileOrCreate, v1.HostPathSocket,
	}
	if !slices.Contains(supported, *h.Type) {
		c.add(field.NotSupported(p.Child("type"), *h.Type, supported))
	}
}

func (c *checker) items(p *field.Path, items []v1.KeyToPath) {
	for i, item := range items {
		p := p.Index(i)
		if item.Key == "" {
			c.required(p.Child("key"), "")
		}
		c.localPath(p.Child("path"), item.Path)
		c.mode(p.Child("mode"), item.Mode)
	}
}

func (c *checker) file(p *field.Path, f v1.DownwardAPIVolumeFile) {
	c.localPath(p.Child("path"), f.Path)
	switch {
	case f.FieldRef != nil:
		c.fieldRef(p.Child("fieldRef"), f.FieldRef, fileFields)
		if f.ResourceFieldRef != nil {
			c.invalid(p, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
		}
	case f.ResourceFieldRef != nil:
		c.resourceRef(p.Child("resourceFieldRef"), f.ResourceFieldRef, true)
	default:
		c.required(p, "one of fieldRef and resourceFieldRef is required")
	}
	c.mode(p.Child("mode"), f.Mode)
}

func (c *checker) projected(p *field.Path, v *v1.ProjectedVolumeSource) {
	paths := map[string]bool{}
	unique := func(value, path string) {
		if path != "" && paths[path] {
			c.invalid(p, value, "conflicting duplicate paths")
		}
		paths[path] = true
	}
	for i, source := range v.Sources {
		p, sources := p.Child("sources").Index(i), 0
		if s := source.Secret; s != nil {
			sources++
			if s.Name == "" {
				c.required(p.Child("secret", "name"), "")
			}
			c.items(p.Child("secret", "items"), s.Items)
			for _, item := range s.Items {
				unique(s.Name, item.Path)
			}
		}
		if s := source.ConfigMap; s != nil {
			sources++
			if s.Name == "" {
				c.required(p.Child("configMap", "name"), "")
			}
			c.items(p.Child("configMap", "items"), s.Items)
			for _, item := range s.Items {
				unique(s.Name, item.Path)
			}
		}
		if s := source.DownwardAPI; s != nil {
			sources++
			for _, f := range s.Items {
				c.file(p.Child("downwardAPI"), f)
				unique(f.Path, f.Path)
			}
		}
		for _, refused := range []bool{source.ServiceAccountToken != nil, source.ClusterTrustBundle != nil, source.PodCertificate != nil} {
			if refused {
				sources++
			}
		}
		if sources > 1 {
			c.forbidden(p, "may not specify more than 1 volume type per source")
		}
	}
}

// localPath is a file's in a volume, whose own names begin with two dots (..data).
func (c *checker) localPath(p *field.Path, name string) {
	if name == "" {
		c.required(p, "")
	}
	c.descending(p, name)
	if strings.HasPrefix(name, "..") && !strings.HasPrefix(name, "../") {
		c.invalid(p, name, "must not start with '..'")
	}
}

// descending is a path that stays below where it begins.
func (c *checker) descending(p *field.Path, name string) {
	if path.IsAbs(name) {
		c.invalid(p, name, "must be a relative path")
	}
	c.noBackSteps(p, name)
}

func (c *checker) noBackSteps(p *field.Path, name string) {
	if slices.Contains(strings.Split(name, "/"), "..") {
		c.invalid(p, name, "must not contain '..'")
	}
}

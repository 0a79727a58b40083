package print

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/pod"
)

// The rest of a container's description, and that of volumes and of the objects that are no pods.

func (d *description) environment(p *Pod, c *pod.Container) {
	if len(c.EnvFrom) > 0 {
		d.line(2, "Environment Variables from:")
	}
	for _, from := range c.EnvFrom {
		kind, ref := "ConfigMap", from.ConfigMapRef
		if ref == nil {
			kind, ref = "Secret", cmp.Or(from.SecretRef, &pod.ObjectRef{})
		}
		if from.Prefix != "" {
			kind += " with prefix '" + from.Prefix + "'"
		}
		d.line(3, "%s\t%s\tOptional: %t", ref.Name, kind, isSet(ref.Optional))
	}
	if len(c.Env) == 0 {
		d.line(2, "Environment:\t<none>")
		return
	}
	d.line(2, "Environment:")
	for _, e := range c.Env {
		from := e.ValueFrom
		switch {
		case from == nil:
			name := e.Name + ":"
			for line := range strings.SplitSeq(e.Value, "\n") {
				d.line(3, "%s\t%s", name, line)
				name = ""
			}
		case from.FieldRef != nil:
			d.line(3, "%s:\t%s (%s:%s)", e.Name, field(p, from.FieldRef.FieldPath), cmp.Or(from.FieldRef.APIVersion, "v1"), from.FieldRef.FieldPath)
		case from.ResourceFieldRef != nil:
			d.line(3, "%s:\t%s (%s)", e.Name, resource(c, from.ResourceFieldRef), from.ResourceFieldRef.Resource)
		case from.SecretKeyRef != nil:
			d.line(3, "%s:\t<set to the key '%s' in secret '%s'>\tOptional: %t", e.Name, from.SecretKeyRef.Key, from.SecretKeyRef.Name, isSet(from.SecretKeyRef.Optional))
		case from.ConfigMapKeyRef != nil:
			d.line(3, "%s:\t<set to the key '%s' of config map '%s'>\tOptional: %t", e.Name, from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Name, isSet(from.ConfigMapKeyRef.Optional))
		}
	}
}

func isSet(truth *bool) bool { return truth != nil && *truth }

// field is the value of one of the fields that the downward API knows, where it is one text.
func field(p *Pod, path string) string {
	for _, m := range []struct {
		prefix string
		of     map[string]string
	}{{"metadata.labels['", p.Metadata.Labels}, {"metadata.annotations['", p.Metadata.Annotations}} {
		if key, ok := strings.CutPrefix(path, m.prefix); ok {
			return m.of[strings.TrimSuffix(key, "']")]
		}
	}
	return map[string]string{
		"metadata.name": p.Metadata.Name, "metadata.namespace": p.Metadata.Namespace, "metadata.uid": p.Metadata.UID,
		"spec.serviceAccountName": "default", "status.hostIP": p.Status.HostIP, "status.podIP": p.Status.PodIP,
	}[path]
}

func resource(c *pod.Container, ref *pod.ResourceRef) string {
	which, name, _ := strings.Cut(ref.Resource, ".")
	list := c.Resources.Limits
	if which == "requests" {
		list = c.Resources.Requests
	}
	quantity, ok := list[name]
	if !ok && which == "limits" {
		return "node allocatable"
	}
	divisor := cmp.Or(ref.Divisor, "1").MilliValue()
	if divisor <= 0 {
		divisor = 1000
	}
	return fmt.Sprint((quantity.MilliValue() + divisor - 1) / divisor)
}

func (d *description) mounts(mounts []pod.VolumeMount) {
	if len(mounts) == 0 {
		d.line(2, "Mounts:\t<none>")
		return
	}
	d.line(2, "Mounts:")
	for _, m := range slices.SortedFunc(slices.Values(mounts), func(a, b pod.VolumeMount) int { return strings.Compare(a.MountPath, b.MountPath) }) {
		flags := "rw"
		if m.ReadOnly {
			flags = "ro"
		}
		if m.SubPath != "" {
			flags += fmt.Sprintf(",path=%q", m.SubPath)
		}
		d.line(3, "%s from %s (%s)", m.MountPath, m.Name, flags)
	}
}

func (d *description) volumes(volumes []pod.Volume) {
	if len(volumes) == 0 {
		d.line(0, "Volumes:\t<none>")
		return
	}
	d.line(0, "Volumes:")
	for _, v := range volumes {
		d.line(1, "%s:", v.Name)
		switch {
		case v.EmptyDir != nil:
			limit := "<unset>"
			if v.EmptyDir.SizeLimit != nil && v.EmptyDir.SizeLimit.Value() > 0 {
				limit = string(*v.EmptyDir.SizeLimit)
			}
			d.line(2, "Type:\tEmptyDir (a temporary directory that shares a pod's lifetime)")
			d.line(2, "Medium:\t%s", v.EmptyDir.Medium)
			d.line(2, "SizeLimit:\t%s", limit)
		case v.HostPath != nil:
			d.line(2, "Type:\tHostPath (bare host directory volume)")
			d.line(2, "Path:\t%s", v.HostPath.Path)
			d.line(2, "HostPathType:\t%s", deref(v.HostPath.Type))
		case v.ConfigMap != nil:
			d.line(2, "Type:\tConfigMap (a volume populated by a ConfigMap)")
			d.line(2, "Name:\t%s", v.ConfigMap.Name)
			d.line(2, "Optional:\t%t", isSet(v.ConfigMap.Optional))
		case v.Secret != nil:
			d.line(2, "Type:\tSecret (a volume populated by a Secret)")
			d.line(2, "SecretName:\t%s", v.Secret.SecretName)
			d.line(2, "Optional:\t%t", isSet(v.Secret.Optional))
		case v.DownwardAPI != nil:
			d.line(2, "Type:\tDownwardAPI (a volume populated by information about the pod)")
			d.downward(v.DownwardAPI.Items)
		case v.Projected != nil:
			d.line(2, "Type:\tProjected (a volume that contains injected data from multiple sources)")
			d.projected(v.Projected.Sources)
		case v.PersistentVolumeClaim != nil:
			d.line(2, "Type:\tPersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)")
			d.line(2, "ClaimName:\t%s", v.PersistentVolumeClaim.ClaimName)
			d.line(2, "ReadOnly:\t%t", v.PersistentVolumeClaim.ReadOnly)
		}
	}
}

func (d *description) downward(items []pod.DownwardFile) {
	d.line(2, "Items:")
	for _, item := range items {
		switch {
		case item.FieldRef != nil:
			d.line(3, "%s -> %s", item.FieldRef.FieldPath, item.Path)
		case item.ResourceFieldRef != nil:
			d.line(3, "%s -> %s", item.ResourceFieldRef.Resource, item.Path)
		}
	}
}

func (d *description) projected(sources []pod.Projection) {
	for _, s := range sources {
		switch {
		case s.Secret != nil:
			d.line(2, "SecretName:\t%s", s.Secret.Name)
			d.line(2, "Optional:\t%t", isSet(s.Secret.Optional))
		case s.ConfigMap != nil:
			d.line(2, "ConfigMapName:\t%s", s.ConfigMap.Name)
			d.line(2, "Optional:\t%t", isSet(s.ConfigMap.Optional))
		case s.DownwardAPI != nil:
			d.line(2, "DownwardAPI:\ttrue")
		}
	}
}

// DescribeConfigMap is `describe configmap`.
func DescribeConfigMap(o *Object) string {
	d := o.describe()
	d.line(0, "\nData\n====")
	for _, key := range slices.Sorted(maps.Keys(o.Data)) {
		var value string
		if json.Unmarshal(o.Data[key], &value) != nil {
			value = string(o.Data[key])
		}
		d.line(0, "%s:\n----\n%s\n", key, value)
	}
	d.line(0, "\nBinaryData\n====")
	for _, key := range slices.Sorted(maps.Keys(o.BinaryData)) {
		d.line(0, "%s: %d bytes", key, decodedLength(o.BinaryData[key]))
	}
	d.line(0, "")
	d.line(0, "Events:\t<none>") // of which there are none: nothing happens to it
	return d.String()
}

// DescribeSecret is `describe secret`: how long each value is, and no more of it.
func DescribeSecret(o *Object) string {
	d := o.describe()
	d.line(0, "\nType:\t%s\n\nData\n====", cmp.Or(o.Type, "Opaque"))
	for _, key := range slices.Sorted(maps.Keys(o.Data)) {
		var value string
		_ = json.Unmarshal(o.Data[key], &value) // a Secret's values are texts, or it was never stored
		d.line(0, "%s:\t%d bytes", key, decodedLength(value))
	}
	return d.String()
}

// decodedLength is how many bytes a base64 text stands for.
func decodedLength(text string) int { return len(strings.TrimRight(text, "=")) * 3 / 4 }

// DescribeClaim is `describe persistentvolumeclaim`; users are the pods that mount it.
func DescribeClaim(o *Object, users []string) string {
	d := newDescription()
	row := Claims([]Object{*o}, o.Metadata.Created).Rows[0]
	d.line(0, "Name:\t%s", o.Metadata.Name)
	d.line(0, "Namespace:\t%s", o.Metadata.Namespace)
	d.line(0, "StorageClass:\t%s", row[5])
	d.line(0, "Status:\t%s", row[1])
	d.line(0, "Volume:\t%s", row[2])
	d.labels("Labels", o.Metadata.Labels)
	d.annotations(o.Metadata.Annotations)
	d.line(0, "Capacity:\t%s", row[3])
	d.line(0, "Access Modes:\t%s", row[4])
	d.line(0, "VolumeMode:\t%s", cmp.Or(deref(o.Spec.VolumeMode), "Filesystem"))
	name := "Used By:"
	for _, user := range users {
		d.line(0, "%s\t%s", name, user)
		name = ""
	}
	if len(users) == 0 {
		d.line(0, "Used By:\t<none>")
	}
	d.line(0, "Events:\t<none>")
	return d.String()
}

func (o *Object) describe() *description {
	d := newDescription()
	d.line(0, "Name:\t%s", o.Metadata.Name)
	d.line(0, "Namespace:\t%s", o.Metadata.Namespace)
	d.labels("Labels", o.Metadata.Labels)
	d.annotations(o.Metadata.Annotations)
	return d
}

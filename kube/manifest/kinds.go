package manifest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/nearest"
)

// An object is one of Kubernetes' types that we take.
type object interface{ GetObjectMeta() metav1.Object }

// newObject returns an empty object of a kind, nil where minipod has no such kind.
func newObject(kind string) object {
	switch kind {
	case "Pod":
		return &v1.Pod{}
	case "ConfigMap":
		return &v1.ConfigMap{}
	case "Secret":
		return &v1.Secret{}
	case "PersistentVolumeClaim":
		return &v1.PersistentVolumeClaim{}
	}
	return nil
}

func kinds() []string { return []string{"Pod", "ConfigMap", "Secret", "PersistentVolumeClaim"} }

// meta is the metadata of any kind.
func meta(o object) *metav1.ObjectMeta { return o.GetObjectMeta().(*metav1.ObjectMeta) }

// one decodes, defaults, validates and converts one object.
func (o Options) one(d document, data []byte, kind, version string) (*Object, error) {
	into := newObject(kind)
	if into == nil || version != "v1" {
		return nil, noMatch(d, kind, version)
	}
	if err := strict(d, data, kind, into); err != nil {
		return nil, fmt.Errorf("%s: %w", d.source, err)
	}
	m := meta(into)
	version = m.ResourceVersion
	scrub(into)
	if err := o.name(m); err != nil {
		return nil, fmt.Errorf("%s: %w", d.source, err)
	}
	warnings := withoutToken(into)
	refused, more := support(into) // before the defaults, of which nobody needs to hear
	warnings = slices.Concat(warnings, more, doubles(into))
	setDefaults(into)
	if errs := append(validate(into), refused...); len(errs) > 0 {
		return nil, fmt.Errorf("%s: %w", d.source, &Invalid{Kind: kind, Name: m.Name, Errors: errs})
	}
	made, err := newlyMade(d.source, kind, into, warnings)
	if err == nil {
		made.version = version
		made.written, err = written(data, kind, into)
	}
	return made, err
}

// newlyMade is the Object of a typed one that is valid and has its defaults.
func newlyMade(source, kind string, typed object, warnings []string) (*Object, error) {
	object := &Object{Kind: kind, Source: source, Warnings: warnings, typed: typed}
	if err := object.render(); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return object, nil
}

// render makes everything else out of o.typed.
func (o *Object) render() error {
	m := meta(o.typed)
	o.Namespace, o.Name, o.UID, o.Labels, o.Annotations = m.Namespace, m.Name, string(m.UID), m.Labels, m.Annotations
	data, err := json.Marshal(o.typed)
	if err != nil {
		return fmt.Errorf("encode %s %q: %w", o.Kind, o.Name, err)
	}
	value, err := withoutEmpty(data)
	if err != nil {
		return err
	}
	value["apiVersion"], value["kind"] = "v1", o.Kind
	if o.JSON, err = json.Marshal(value); err != nil {
		return err
	}
	if p, ok := o.typed.(*v1.Pod); ok {
		o.Pod, err = convert(p)
	}
	return err
}

// withoutEmpty drops what Go writes for lack of a value: an empty status, a zero time, resources without any.
func withoutEmpty(data []byte) (map[string]any, error) {
	var value map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &value); err != nil {
		return nil, err
	}
	var drop func(v any)
	drop = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, value := range v {
				drop(value)
				empty, isMap := value.(map[string]any)
				if value == nil || isMap && len(empty) == 0 && (name == "status" || name == "resources") {
					delete(v, name)
				}
			}
		case []any:
			for _, value := range v {
				drop(value)
			}
		}
	}
	drop(value)
	return value, nil
}

// noMatch is kubectl's answer to a kind or a version that the API server doesn't have.
func noMatch(d document, kind, version string) error {
	err := fmt.Errorf("%s: no matches for kind %q in version %q: minipod takes %s and %s of apiVersion v1",
		d.source, kind, version, strings.Join(kinds()[:len(kinds())-1], ", "), kinds()[len(kinds())-1])
	templates := []string{"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController"}
	near := kind
	if newObject(kind) == nil {
		near = nearest.Name(strings.ToLower(kind), lowered(kinds()))
		near = nearestCase(near, kinds())
	}
	switch {
	case near == kind:
		return hint.Wrap(err, "write apiVersion: v1")
	case near != "":
		return hint.Wrap(err, "write kind: "+near)
	case slices.Contains(templates, kind):
		return hint.Wrap(err, "make a Pod of its spec.template: add apiVersion: v1, kind: Pod and a metadata.name")
	}
	return err
}

func lowered(names []string) []string {
	var lower []string
	for _, name := range names {
		lower = append(lower, strings.ToLower(name))
	}
	return lower
}

// nearestCase is the one of names that lower stands for.
func nearestCase(lower string, names []string) string {
	for _, name := range names {
		if strings.EqualFold(name, lower) {
			return name
		}
	}
	return ""
}

// name settles an object's name and namespace.
func (o Options) name(m *metav1.ObjectMeta) error {
	namespace := o.Namespace
	if namespace == "" {
		namespace = "default"
	}
	if m.Namespace == "" {
		m.Namespace = namespace
	} else if o.Enforce && m.Namespace != namespace {
		err := fmt.Errorf("the namespace from the provided object %q does not match the namespace %q", m.Namespace, namespace)
		return hint.Wrap(err, "pass --namespace="+m.Namespace)
	}
	if m.Name != "" || m.GenerateName == "" {
		return nil
	}
	if !o.Generate {
		return hint.Wrap(fmt.Errorf("from %s: cannot use generate name with apply", m.GenerateName), "use create, or give it a metadata.name")
	}
	m.Name = generate(m.GenerateName)
	return nil
}

package pod

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Objects are the ConfigMaps and Secrets of the pod's namespace, and the files in its volumes. One that is missing is an error that is fs.ErrNotExist.
type Objects interface {
	ConfigMap(name string) (data map[string]string, binary map[string][]byte, err error)
	Secret(name string) (map[string][]byte, error)
	// File reads a file in one of the pod's volumes.
	File(volume, path string) ([]byte, error)
}

// Facts are what a pod's fields say that is not in its manifest.
type Facts struct {
	PodIP, HostIP, NodeName string
	CPUs                    int64 // of the machine: what a container without a limit may use
	Memory                  int64 // bytes
}

// An Environment is a container's variables, in their order, each name once.
type Environment struct {
	names  []string
	values map[string]string
}

// List is the environment as programs have it.
func (e *Environment) List() []string {
	list := make([]string, len(e.names))
	for i, name := range e.names {
		list[i] = name + "=" + e.values[name]
	}
	return list
}

func (e *Environment) set(name, value string) {
	if _, known := e.values[name]; !known {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

// NewEnvironment finds out the container's variables as the kubelet does (makeEnvironmentVariables): what envFrom names first, then env, of which
// each may use those before it.
func NewEnvironment(p *Pod, c *Container, f Facts, o Objects) (*Environment, error) {
	e := &Environment{values: map[string]string{}}
	for _, from := range c.EnvFrom {
		if err := e.from(&from, o); err != nil {
			return nil, err
		}
	}
	for i := range c.Env {
		v := &c.Env[i]
		if v.ValueFrom == nil {
			e.set(v.Name, e.Expand(v.Value))
			continue
		}
		value, found, err := v.ValueFrom.value(p, c, f, o)
		if err != nil {
			return nil, err
		}
		if found {
			e.set(v.Name, value)
		}
	}
	return e, nil
}

func (e *Environment) from(from *EnvFrom, o Objects) error {
	values := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		data, _, err := o.ConfigMap(from.ConfigMapRef.Name)
		if err := lacks(err, "configmap", from.ConfigMapRef.Name, from.ConfigMapRef.Optional); err != nil {
			return err
		}
		values = data
	case from.SecretRef != nil:
		data, err := o.Secret(from.SecretRef.Name)
		if err := lacks(err, "secret", from.SecretRef.Name, from.SecretRef.Optional); err != nil {
			return err
		}
		for k, v := range data {
			values[k] = string(v)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if name := from.Prefix + key; name != "" && !strings.ContainsAny(name, "=\x00") { // what can't be a variable is none
			e.set(name, values[key])
		}
	}
	return nil
}

// lacks is the error of an object that is missing, unless it may be.
func lacks(err error, kind, name string, optional *bool) error {
	if err == nil || IsMissing(err) && optional != nil && *optional {
		return nil
	}
	if IsMissing(err) {
		return fmt.Errorf("%s %q not found", kind, name)
	}
	return err
}

// value is where a variable comes from; found is false for what is missing and may be.
func (s *EnvSource) value(p *Pod, c *Container, f Facts, o Objects) (value string, found bool, err error) {
	switch {
	case s.FieldRef != nil:
		value, err = Field(p, s.FieldRef.FieldPath, f)
		return value, true, err
	case s.ResourceFieldRef != nil:
		value, err = Resource(p, c, s.ResourceFieldRef, f)
		return value, true, err
	case s.ConfigMapKeyRef != nil:
		r := s.ConfigMapKeyRef
		data, _, err := o.ConfigMap(r.Name)
		if err := lacks(err, "configmap", r.Name, r.Optional); err != nil {
			return "", false, err
		}
		value, ok := data[r.Key]
		return value, ok, r.missing(ok, "ConfigMap", p.Metadata.Namespace)
	case s.SecretKeyRef != nil:
		r := s.SecretKeyRef
		data, err := o.Secret(r.Name)
		if err := lacks(err, "secret", r.Name, r.Optional); err != nil {
			return "", false, err
		}
		value, ok := data[r.Key]
		return string(value), ok, r.missing(ok, "Secret", p.Metadata.Namespace)
	case s.FileKeyRef != nil:
		return s.FileKeyRef.value(o)
	}
	return "", false, nil
}

func (r *KeyRef) missing(found bool, kind, namespace string) error {
	if found || r.Optional != nil && *r.Optional {
		return nil
	}
	return fmt.Errorf("couldn't find key %s in %s %s/%s", r.Key, kind, namespace, r.Name)
}

// Field is the value of one of the pod's fields: those that the downward API has.
func Field(p *Pod, path string, f Facts) (string, error) {
	if base, key, ok := strings.Cut(strings.TrimSuffix(path, "']"), "['"); ok {
		switch base {
		case "metadata.labels":
			return p.Metadata.Labels[key], nil
		case "metadata.annotations":
			return p.Metadata.Annotations[key], nil
		}
		return "", fmt.Errorf("unsupported fieldPath: %s", path)
	}
	switch path {
	case "metadata.name":
		return p.Metadata.Name, nil
	case "metadata.namespace":
		return p.Metadata.Namespace, nil
	case "metadata.uid":
		return p.Metadata.UID, nil
	case "metadata.labels":
		return quoted(p.Metadata.Labels), nil
	case "metadata.annotations":
		return quoted(p.Metadata.Annotations), nil
	case "spec.nodeName":
		return f.NodeName, nil
	case "spec.serviceAccountName":
		return "default", nil
	case "status.hostIP", "status.hostIPs":
		return f.HostIP, nil
	case "status.podIP", "status.podIPs":
		return f.PodIP, nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %s", path)
}

// quoted writes a map as the downward API does, a line each.
func quoted(m map[string]string) string {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, key+"="+strconv.Quote(m[key]))
	}
	return strings.Join(lines, "\n")
}

// Resource is a limit or request of a container, in units of the divisor, rounded up. One without a limit may use the whole machine.
func Resource(p *Pod, c *Container, r *ResourceRef, f Facts) (string, error) {
	if r.ContainerName != "" {
		if c = p.find(r.ContainerName); c == nil {
			return "", fmt.Errorf("container %s not found", r.ContainerName)
		}
	}
	if c == nil {
		return "", fmt.Errorf("resource %s: it names no container", r.Resource)
	}
	list, name, _ := strings.Cut(r.Resource, ".")
	quantities := c.Resources.Limits
	if list == "requests" {
		quantities = c.Resources.Requests
	}
	q, known := quantities[name]
	divisor := r.Divisor
	if divisor == "" || divisor.MilliValue() == 0 {
		divisor = "1"
	}
	if name == "cpu" {
		value := q.MilliValue()
		if list == "limits" && (!known || value == 0) {
			value = f.CPUs * 1000
		}
		return divide(value, divisor.MilliValue()), nil
	}
	value := q.Value()
	if list == "limits" && name == "memory" && (!known || value == 0) {
		value = f.Memory
	}
	return divide(value, divisor.Value()), nil
}

func divide(value, by int64) string {
	by = max(by, 1)
	whole := value / by
	if value%by > 0 {
		whole++
	}
	return strconv.FormatInt(whole, 10)
}

// Expand replaces $(NAME) by the variable's value, where there is one; $$ is a dollar.
func (e *Environment) Expand(text string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		switch name, after, closed := strings.Cut(strings.TrimPrefix(rest, "("), ")"); {
		case strings.HasPrefix(rest, "$"):
			out.WriteByte('$')
			text = rest[1:]
			continue
		case strings.HasPrefix(rest, "(") && closed:
			value, known := e.values[name]
			if !known {
				value = "$(" + name + ")"
			}
			out.WriteString(value)
			text = after
			continue
		}
		out.WriteByte('$')
		text = rest
	}
}

// IsMissing tells whether an error is that of an object that is not there.
func IsMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

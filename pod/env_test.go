package pod

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

type objects struct {
	maps    map[string]map[string]string
	secrets map[string]map[string][]byte
	files   map[string]string
}

func (o objects) ConfigMap(name string) (map[string]string, map[string][]byte, error) {
	if data, ok := o.maps[name]; ok {
		return data, nil, nil
	}
	return nil, nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (o objects) Secret(name string) (map[string][]byte, error) {
	if data, ok := o.secrets[name]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (o objects) File(volume, name string) ([]byte, error) {
	if data, ok := o.files[volume+"/"+name]; ok {
		return []byte(data), nil
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func TestEnvironment(t *testing.T) {
	yes := true
	p := &Pod{Metadata: Metadata{Name: "p", Namespace: "ns", UID: "u", Labels: map[string]string{"app": "x", "b": `q"`}}}
	o := objects{maps: map[string]map[string]string{"m": {"K": "from map", "a=b": "no"}}, secrets: map[string]map[string][]byte{"s": {"PW": []byte("hush")}}}
	f := Facts{PodIP: "10.88.0.2", NodeName: "here", CPUs: 4, Memory: 1 << 30}
	c := &Container{
		EnvFrom: []EnvFrom{{ConfigMapRef: &ObjectRef{Name: "m"}}, {Prefix: "S_", SecretRef: &ObjectRef{Name: "s"}}, {SecretRef: &ObjectRef{Name: "none", Optional: &yes}}},
		Env: []EnvVar{
			{Name: "A", Value: "1"},
			{Name: "B", Value: "$(A)-$(K)-$(C)-$$(A)-$A-$"},
			{Name: "A", Value: "2"},
			{Name: "IP", ValueFrom: &EnvSource{FieldRef: &FieldRef{FieldPath: "status.podIP"}}},
			{Name: "APP", ValueFrom: &EnvSource{FieldRef: &FieldRef{FieldPath: "metadata.labels['app']"}}},
			{Name: "CPU", ValueFrom: &EnvSource{ResourceFieldRef: &ResourceRef{Resource: "limits.cpu"}}},
			{Name: "MI", ValueFrom: &EnvSource{ResourceFieldRef: &ResourceRef{Resource: "requests.memory", Divisor: "1Mi"}}},
			{Name: "PW", ValueFrom: &EnvSource{SecretKeyRef: &KeyRef{Name: "s", Key: "PW"}}},
			{Name: "NOT", ValueFrom: &EnvSource{ConfigMapKeyRef: &KeyRef{Name: "m", Key: "none", Optional: &yes}}},
		},
		Resources: Resources{Requests: map[string]Quantity{"memory": "1500Ki"}},
	}
	e, err := NewEnvironment(p, c, f, o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"K=from map", "S_PW=hush", "A=2", "B=1-from map-$(C)-$(A)-$A-$", "IP=10.88.0.2", "APP=x", "CPU=4", "MI=2", "PW=hush"}
	if !slices.Equal(e.List(), want) {
		t.Errorf("%q\nwant %q", e.List(), want)
	}
	if text, _ := Field(p, "metadata.labels", f); text != "app=\"x\"\nb=\"q\\\"\"" {
		t.Errorf("%s", text)
	}
	for message, v := range map[string]EnvSource{
		`configmap "none" not found`:             {ConfigMapKeyRef: &KeyRef{Name: "none", Key: "k"}},
		`couldn't find key k in ConfigMap ns/m`:  {ConfigMapKeyRef: &KeyRef{Name: "m", Key: "k"}},
		`secret "none" not found`:                {SecretKeyRef: &KeyRef{Name: "none", Key: "k"}},
		`couldn't find key k in Secret ns/s`:     {SecretKeyRef: &KeyRef{Name: "s", Key: "k"}},
		`unsupported fieldPath: spec.containers`: {FieldRef: &FieldRef{FieldPath: "spec.containers"}},
		`container other not found`:              {ResourceFieldRef: &ResourceRef{ContainerName: "other", Resource: "limits.cpu"}},
	} {
		_, err := NewEnvironment(p, &Container{Env: []EnvVar{{Name: "X", ValueFrom: &v}}}, f, o)
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%v, want %s", err, message)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("$(A)$$$(B)$(")
	e := &Environment{values: map[string]string{"A": "1"}}
	f.Fuzz(func(t *testing.T, text string) {
		if !strings.Contains(text, "$") && e.Expand(text) != text {
			t.Errorf("%q became %q", text, e.Expand(text))
		}
	})
}

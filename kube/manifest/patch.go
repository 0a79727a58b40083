package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	v1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"

	"codeberg.org/minipod/minipod/internal/hint"
)

// A PatchType is a language in which a change is written: kubectl's --type.
type PatchType string

// Strategic merges lists as Kubernetes' types say it, Merge (RFC 7396) replaces them, and JSON (RFC 6902) is a list of operations.
const (
	Strategic PatchType = "strategic"
	Merge     PatchType = "merge"
	JSON      PatchType = "json"
)

// PatchTypes are all of them.
func PatchTypes() []PatchType { return []PatchType{JSON, Merge, Strategic} }

// A Patch is a change that has been read.
type Patch struct {
	how    PatchType
	text   []byte // JSON
	fields any    // the same, decoded, but for JSON's operations
}

// ReadPatch reads a patch, which is YAML or JSON.
func ReadPatch(how PatchType, text []byte) (*Patch, error) {
	data, err := toJSON(document{text: text})
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("it has more than %d MiB", maxDocument>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("unable to parse %.80q: %w", text, err)
	}
	p := &Patch{how: how, text: data}
	if how == JSON {
		return p, nil
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &p.fields); err != nil {
		return nil, fmt.Errorf("unable to parse %.80q: %w", text, err)
	}
	if _, ok := p.fields.(map[string]any); !ok {
		err := fmt.Errorf("unable to parse %.80q: a %s patch is an object", text, how)
		return nil, hint.Wrap(err, `write -p '{"spec": …}', or say --type=json for a list of operations`)
	}
	return p, nil
}

// Apply makes of old, the JSON of an object as it is now, what the patch makes of it, and tells whether that is anything else. Who the object is can't be
// changed, and the rest only as Update has it.
func (p *Patch) Apply(kind string, old []byte) (o *Object, changed bool, err error) {
	live, err := fieldsOf(kind, old)
	if err != nil {
		return nil, false, err
	}
	var patched any
	switch p.how {
	case Strategic:
		patched, err = strategicPatch(reflect.TypeOf(newObject(kind)).Elem(), p.fields.(map[string]any), live)
	case Merge:
		patched = jsonMergePatch(p.fields, live)
	case JSON:
		patched, err = jsonPatch(p.text, live)
	default:
		err = fmt.Errorf("unknown patch type %q", p.how)
	}
	if err != nil {
		return nil, false, fmt.Errorf("apply the patch: %w", err)
	}
	fields, ok := patched.(map[string]any)
	if !ok {
		return nil, false, errors.New("apply the patch: what it makes is no object")
	}
	return remade(kind, fields, old)
}

// Edit makes of old, the JSON of an object as it is now, what somebody means who has made after of before: what others changed meanwhile stays.
func Edit(kind string, before, after, old []byte) (o *Object, changed bool, err error) {
	live, err := fieldsOf(kind, old)
	if err != nil {
		return nil, false, err
	}
	was, err := fieldsOf(kind, before)
	if err != nil {
		return nil, false, err
	}
	data, err := toJSON(document{text: after})
	if err != nil {
		return nil, false, err
	}
	var edited map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &edited); err != nil {
		return nil, false, fmt.Errorf("it is not an object: %w", err)
	}
	if edited["kind"] != any(kind) || edited["apiVersion"] != any("v1") {
		return nil, false, fmt.Errorf("apiVersion and kind can't be changed: they were v1 and %s", kind)
	}
	return remade(kind, jsonMergePatch(difference(was, edited), live).(map[string]any), old)
}

// difference is the JSON merge patch that makes after of before.
func difference(before, after map[string]any) map[string]any {
	patch := map[string]any{}
	for name := range before {
		if _, ok := after[name]; !ok {
			patch[name] = nil
		}
	}
	for name, value := range after {
		is, isObject := value.(map[string]any)
		was, wasObject := before[name].(map[string]any)
		switch {
		case isObject && wasObject:
			if inner := difference(was, is); len(inner) > 0 {
				patch[name] = inner
			}
		case !reflect.DeepEqual(before[name], value):
			patch[name] = value
		}
	}
	return patch
}

func fieldsOf(kind string, data []byte) (fields map[string]any, err error) {
	if newObject(kind) == nil {
		return nil, hint.Wrap(fmt.Errorf("a %s can't be changed", kind), "name a pod, a configmap, a secret or a persistentvolumeclaim")
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &fields); err != nil {
		return nil, fmt.Errorf("decode a %s: %w", kind, err)
	}
	return fields, nil
}

// remade is the object of what was made of old.
func remade(kind string, fields map[string]any, old []byte) (*Object, bool, error) {
	before := newObject(kind)
	if err := json.Unmarshal(old, before); err != nil {
		return nil, false, fmt.Errorf("decode a %s: %w", kind, err)
	}
	was := meta(before)
	if m, _ := fields["metadata"].(map[string]any); m["name"] != any(was.Name) || m["namespace"] != any(was.Namespace) {
		return nil, false, hint.Wrap(errors.New("the name and the namespace of an object can't be changed"), "make another, and delete this one")
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, false, fmt.Errorf("encode %s %q: %w", kind, was.Name, err)
	}
	version, _ := fields["apiVersion"].(string)
	named, _ := fields["kind"].(string)
	if named != kind || version != "v1" {
		return nil, false, fmt.Errorf("apiVersion and kind can't be changed: they are v1 and %s", kind)
	}
	o, err := Options{Namespace: was.Namespace}.one(document{source: fmt.Sprintf("%s %q, changed", kind, was.Name)}, data, kind, version)
	if err != nil {
		return nil, false, bare(err)
	}
	changed, err := o.replace(before, old)
	return o, changed, bare(err)
}

// bare is an error about an object without where it stands: in no file.
func bare(err error) error {
	var invalid *Invalid
	if errors.As(err, &invalid) {
		return invalid
	}
	return err
}

// ErrConflict is what errors.Is finds where an object names a resourceVersion that is no longer the one that there is.
var ErrConflict = errors.New("the object has been modified; please apply your changes to the latest version and try again")

// Replace makes o, which has just been read, the next version of old whatever that was, as far as Update lets it.
func (o *Object) Replace(old []byte) (changed bool, err error) {
	before := newObject(o.Kind)
	if err := json.Unmarshal(old, before); err != nil {
		return false, fmt.Errorf("decode %s %q: %w", o.Kind, o.Name, err)
	}
	return o.replace(before, old)
}

func (o *Object) replace(before object, old []byte) (changed bool, err error) {
	if is := meta(before).ResourceVersion; o.version != "" && is != "" && o.version != is {
		return false, ErrConflict
	}
	if now, ok := o.typed.(*v1.Pod); ok && before.(*v1.Pod).Spec.NodeName == "" {
		now.Spec.NodeName = "" // of a file that `get -o yaml` has written: there is one machine
	}
	return o.Update(old)
}

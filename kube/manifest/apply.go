package manifest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"

	kjson "sigs.k8s.io/json"

	"codeberg.org/minipod/minipod/internal/hint"
)

// LastApplied is the annotation in which `apply` keeps the file, to know the next time what that doesn't say any more.
const LastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// written is what a file says of an object, without what only a server writes: the beginning of what LastApplied holds.
func written(data []byte, kind string, named object) (map[string]any, error) {
	var fields map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &fields); err != nil {
		return nil, err
	}
	delete(fields, "status")
	m, ok := fields["metadata"].(map[string]any)
	if !ok {
		m = map[string]any{}
		fields["metadata"] = m
	}
	for _, name := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink"} {
		delete(m, name)
	}
	annotations, ok := m["annotations"].(map[string]any)
	if !ok {
		annotations = map[string]any{}
		m["annotations"] = annotations
	}
	delete(annotations, LastApplied) // of a file that `get -o yaml` has written
	m["name"], m["namespace"] = meta(named).Name, meta(named).Namespace
	fields["apiVersion"], fields["kind"] = "v1", kind
	return fields, nil
}

// SaveConfig gives an object that has just been read the annotation LastApplied.
func (o *Object) SaveConfig() error {
	text, err := json.Marshal(o.written)
	if err != nil {
		return fmt.Errorf("encode %s %q: %w", o.Kind, o.Name, err)
	}
	m := meta(o.typed)
	m.Annotations = maps.Clone(m.Annotations)
	if m.Annotations == nil {
		m.Annotations = map[string]string{}
	}
	m.Annotations[LastApplied] = string(text) + "\n" // kubectl's encoder ends a line
	var c checker
	c.metadata(m)
	if len(c.errs) > 0 {
		err := fmt.Errorf("%s: %w", o.Source, &Invalid{Kind: o.Kind, Name: o.Name, Errors: c.errs})
		return hint.Wrap(err, "apply keeps the file in an annotation; what is too large for that can be made with: minipod create -f")
	}
	return o.render()
}

// Apply makes o, which has just been read and has LastApplied by SaveConfig, what `apply` makes of old, the JSON of the same object as it is
// now: what the file says, without what the file applied before said and this one doesn't, and with all that others gave it. It tells whether
// that changes anything, and whether old had no LastApplied, in which case nothing is known to be no longer said. It is Invalid where an API
// server would not let it be: o is then still what the file says.
func (o *Object) Apply(old []byte) (changed, unknown bool, err error) {
	var live, last map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(old, &live); err != nil {
		return false, false, fmt.Errorf("decode %s %q: %w", o.Kind, o.Name, err)
	}
	if text, ok := annotation(live, LastApplied); !ok {
		unknown = true
	} else if err := kjson.UnmarshalCaseSensitivePreserveInts([]byte(text), &last); err != nil {
		err = fmt.Errorf("%s: read the annotation %s of %s %q: %w", o.Source, LastApplied, o.Kind, o.Name, err)
		return false, false, hint.Wrap(err, "take it away with: minipod annotate "+o.Kind+" "+o.Name+" "+LastApplied+"-")
	}
	file, err := copied(o.written)
	if err != nil {
		return false, false, err
	}
	file["metadata"].(map[string]any)["annotations"].(map[string]any)[LastApplied] = meta(o.typed).Annotations[LastApplied]
	if spec, _ := live["spec"].(map[string]any); spec["nodeName"] == nil {
		wanted, _ := file["spec"].(map[string]any)
		delete(wanted, "nodeName") // of a file that `get -o yaml` has written: there is one machine
	}
	if o.Kind == "Secret" {
		encodeStrings(last)
		encodeStrings(file)
	}
	data, err := json.Marshal(threeWay(reflect.TypeOf(o.typed).Elem(), last, file, live))
	if err != nil {
		return false, false, fmt.Errorf("merge %s %q: %w", o.Kind, o.Name, err)
	}
	merged, err := Options{Namespace: o.Namespace}.one(document{source: o.Source}, data, o.Kind, "v1")
	if err != nil {
		return false, false, err
	}
	saved := o.typed
	o.typed = merged.typed
	if changed, err = o.Update(old); err != nil {
		o.typed = saved
	}
	return changed, unknown, err
}

func annotation(fields map[string]any, key string) (string, bool) {
	m, _ := fields["metadata"].(map[string]any)
	annotations, _ := m["annotations"].(map[string]any)
	text, ok := annotations[key].(string)
	return text, ok
}

func copied(fields map[string]any) (to map[string]any, err error) {
	data, err := json.Marshal(fields)
	if err == nil {
		err = kjson.UnmarshalCaseSensitivePreserveInts(data, &to)
	}
	return to, err
}

// encodeStrings makes a Secret's stringData its data, as a server does. kubectl compares the two as they are, and so never removes what a file
// had in its stringData; here it is removed as all else.
func encodeStrings(secret map[string]any) {
	texts, _ := secret["stringData"].(map[string]any)
	delete(secret, "stringData")
	if len(texts) == 0 {
		return
	}
	data, ok := secret["data"].(map[string]any)
	if !ok {
		data = map[string]any{}
		secret["data"] = data
	}
	for key, value := range texts {
		if text, ok := value.(string); ok {
			data[key] = base64.StdEncoding.EncodeToString([]byte(text))
		}
	}
}

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	kjson "sigs.k8s.io/json"
)

// jsonMergePatch is RFC 7396: what is null goes, objects merge, and all else is replaced.
func jsonMergePatch(patch, live any) any {
	object, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	now, _ := live.(map[string]any)
	merged := maps.Clone(now)
	if merged == nil {
		merged = map[string]any{}
	}
	for name, value := range object {
		if value == nil {
			delete(merged, name)
			continue
		}
		merged[name] = jsonMergePatch(value, merged[name])
	}
	return merged
}

// An operation is one of a JSON patch's (RFC 6902).
type operation struct {
	Op    string          `json:"op"`
	Path  *string         `json:"path"`
	From  *string         `json:"from"`
	Value json.RawMessage `json:"value"` // nil: there is none; a null is one
}

// The API server's limits. A patch of a few copies of copies would be larger than the machine.
const (
	maxOperations = 10_000
	maxCopied     = 3 << 20 // bytes, of all copies of a patch together
)

// jsonPatch does the operations one after the other, all of them or none. live is changed.
func jsonPatch(patch []byte, live any) (any, error) {
	var operations []operation
	if err := json.Unmarshal(patch, &operations); err != nil {
		return nil, fmt.Errorf("a JSON patch is a list of operations: %w", err)
	}
	if len(operations) > maxOperations {
		return nil, fmt.Errorf("the JSON patch has %d operations, and %d are the most", len(operations), maxOperations)
	}
	copied := 0
	for i, o := range operations {
		var err error
		if live, err = o.apply(live, &copied); err != nil {
			return nil, fmt.Errorf("operation %d, %s: %w", i+1, o, err)
		}
	}
	return live, nil
}

func (o operation) String() string {
	path := "no path"
	if o.Path != nil {
		path = *o.Path
	}
	return strings.TrimSpace(o.Op + " " + path)
}

// apply does it to live. copied counts the bytes that operations have copied.
func (o operation) apply(live any, copied *int) (any, error) {
	if o.Path == nil {
		return nil, errors.New(`it has no "path"`)
	}
	at, err := parsePointer(*o.Path)
	if err != nil {
		return nil, err
	}
	var value any
	switch o.Op {
	case "add", "replace", "test":
		if o.Value == nil && o.Op != "test" {
			return nil, errors.New(`it has no "value"`)
		}
		if o.Value != nil {
			if err := kjson.UnmarshalCaseSensitivePreserveInts(o.Value, &value); err != nil {
				return nil, err
			}
		}
	case "move", "copy":
		if o.From == nil {
			return nil, errors.New(`it has no "from"`)
		}
		from, err := parsePointer(*o.From)
		if err != nil {
			return nil, err
		}
		if value, err = lookUp(live, from); err != nil {
			return nil, err
		}
		if o.Op == "copy" {
			if value, err = copiedValue(value, copied); err != nil { // else two places had one object
				return nil, err
			}
			break
		}
		if len(at) > len(from) && slices.Equal(at[:len(from)], from) {
			return nil, fmt.Errorf("%s can't be moved into itself", *o.From)
		}
		if live, err = change(live, from, "remove", nil); err != nil {
			return nil, err
		}
	case "remove":
	default:
		return nil, fmt.Errorf("unexpected kind %q: use add, remove, replace, move, copy or test", o.Op)
	}
	switch o.Op {
	case "test":
		is, err := lookUp(live, at)
		if err == nil && !sameJSON(is, value) {
			err = fmt.Errorf("testing value %s failed: it is %s", *o.Path, short(is))
		}
		return live, err
	case "move", "copy":
		return change(live, at, "add", value)
	}
	return change(live, at, o.Op, value)
}

// sameJSON takes 1 and 1.0 for the same.
func sameJSON(a, b any) bool {
	var x, y any
	one, err1 := json.Marshal(a)
	other, err2 := json.Marshal(b)
	if err1 != nil || err2 != nil || json.Unmarshal(one, &x) != nil || json.Unmarshal(other, &y) != nil {
		return bytes.Equal(one, other)
	}
	return reflect.DeepEqual(x, y)
}

func copiedValue(value any, copied *int) (to any, err error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	if *copied += len(data); *copied > maxCopied {
		return nil, fmt.Errorf("the patch copies more than %d MiB", maxCopied>>20)
	}
	err = kjson.UnmarshalCaseSensitivePreserveInts(data, &to)
	return to, err
}

// parsePointer reads a JSON pointer (RFC 6901): "/a~1b/0" is the field "a/b", and of that the first item.
func parsePointer(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	if text[0] != '/' {
		return nil, fmt.Errorf("%q is no JSON pointer: it begins with /", text)
	}
	names := strings.Split(text[1:], "/")
	for i, name := range names {
		names[i] = strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")
	}
	return names, nil
}

func lookUp(value any, at []string) (any, error) {
	for i, name := range at {
		switch now := value.(type) {
		case map[string]any:
			member, ok := now[name]
			if !ok {
				return nil, missingAt(at[:i+1])
			}
			value = member
		case []any:
			index, err := indexOf(name, len(now))
			if err != nil {
				return nil, err
			}
			value = now[index]
		default:
			return nil, missingAt(at[:i+1])
		}
	}
	return value, nil
}

func missingAt(at []string) error {
	return fmt.Errorf("doc is missing path: /%s", strings.Join(at, "/"))
}

// indexOf reads the place of an item of a list of that length.
func indexOf(name string, length int) (int, error) {
	index, err := strconv.Atoi(name)
	if err != nil || strconv.Itoa(index) != name {
		return 0, fmt.Errorf("%q is no index of a list", name)
	}
	if index < 0 || index >= length {
		return 0, fmt.Errorf("index %d is out of bounds: the list has %d items", index, length)
	}
	return index, nil
}

// change does "add", "remove" or "replace" at a place below live, and returns live as it is then.
func change(live any, at []string, how string, value any) (any, error) {
	if len(at) == 0 {
		if how == "remove" {
			return nil, errors.New("the whole object can't be removed")
		}
		return value, nil
	}
	name := at[0]
	switch now := live.(type) {
	case map[string]any:
		member, ok := now[name]
		if !ok && (len(at) > 1 || how != "add") {
			return nil, missingAt(at[:1])
		}
		if len(at) == 1 && how == "remove" {
			delete(now, name)
			return now, nil
		}
		changed, err := change(member, at[1:], how, value)
		if err != nil {
			return nil, err
		}
		now[name] = changed
		return now, nil
	case []any:
		if len(at) == 1 && how == "add" {
			index := len(now)
			if name != "-" {
				var err error
				if index, err = indexOf(name, len(now)+1); err != nil {
					return nil, err
				}
			}
			return slices.Insert(now, index, value), nil
		}
		index, err := indexOf(name, len(now))
		if err != nil {
			return nil, err
		}
		if len(at) == 1 && how == "remove" {
			return slices.Delete(now, index, index+1), nil
		}
		if now[index], err = change(now[index], at[1:], how, value); err != nil {
			return nil, err
		}
		return now, nil
	}
	return nil, missingAt(at[:1])
}

package manifest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// What a strategic merge patch says beside values. It may stand in an object, and the two in front of a slash name a list beside it.
const (
	directive    = "$patch"      // replace or delete: of an object, or of an item of a list
	retainKeys   = "$retainKeys" // the only fields that stay
	deleteFrom   = "$deleteFromPrimitiveList/"
	setOrder     = "$setElementOrder/"
	patchDelete  = "delete"
	patchReplace = "replace"
)

// strategicPatch is what a strategic merge patch makes of an object of type t: StrategicMergePatch of k8s.io/apimachinery, which threeWay tells
// why we do not link. testdata/patch.json holds what that makes of the same input. Neither patch nor live is changed.
func strategicPatch(t reflect.Type, patch, live map[string]any) (map[string]any, error) {
	switch how, ok := patch[directive]; {
	case ok && how == patchDelete:
		return map[string]any{}, nil
	case ok && how == patchReplace:
		whole := maps.Clone(patch)
		delete(whole, directive)
		return whole, nil
	case ok:
		return nil, fmt.Errorf("unknown patch type '%v' in map: %v", how, patch)
	}
	merged := maps.Clone(live)
	if merged == nil {
		merged = map[string]any{}
	}
	if err := retain(merged, patch); err != nil {
		return nil, err
	}
	for _, name := range sortedKeys(patch) { // $ comes before all letters: what is taken out of a list is not what the same patch adds to it
		value := patch[name]
		field, taken := strings.CutPrefix(name, deleteFrom)
		switch {
		case taken:
			from, _ := merged[field].([]any)
			away, ok := value.([]any)
			if !ok {
				return nil, fmt.Errorf("%s is no list", name)
			}
			if from != nil {
				merged[field] = slices.DeleteFunc(slices.Clone(from), func(item any) bool {
					return isPrimitive(item) && slices.ContainsFunc(away, func(other any) bool { return isPrimitive(other) && other == item })
				})
			}
			continue
		case isDirective(name):
			continue
		case value == nil:
			delete(merged, name)
			continue
		}
		m := memberOf(t, name)
		now, err := m.patched(value, merged[name], patch[setOrder+name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if merged[name] = now; now == nil { // it was a directive, and nothing else
			delete(merged, name)
		}
	}
	for name, order := range patch {
		field, ok := strings.CutPrefix(name, setOrder)
		if _, also := patch[field]; !ok || also {
			continue
		}
		list, ok := merged[field].([]any)
		if !ok {
			continue
		}
		now, err := memberOf(t, field).inOrder(list, list, order)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		merged[field] = now
	}
	return merged, nil
}

// retain takes away what $retainKeys does not name.
func retain(live, patch map[string]any) error {
	value, ok := patch[retainKeys]
	if !ok {
		return nil
	}
	names, ok := value.([]any)
	if !ok {
		return errors.New("$retainKeys is no list")
	}
	for name, value := range patch {
		if value != nil && !strings.HasPrefix(name, "$") && !slices.Contains(names, any(name)) {
			return fmt.Errorf("$retainKeys has not %q, which the patch sets", name)
		}
	}
	maps.DeleteFunc(live, func(name string, _ any) bool { return !slices.Contains(names, any(name)) })
	return nil
}

// patched is what becomes of one field.
func (m member) patched(patch, live, order any) (any, error) {
	switch patch := patch.(type) {
	case map[string]any:
		now, ok := live.(map[string]any)
		if !ok {
			return plainOf(patch), nil
		}
		if slices.Contains(m.strategy, "replace") || isLeaf(m.of) {
			return patch, nil
		}
		return strategicPatch(m.of, patch, now)
	case []any:
		now, ok := live.([]any)
		if !ok {
			return plainOf(patch), nil
		}
		if !slices.Contains(m.strategy, "merge") {
			return patch, nil
		}
		list, err := m.patchList(patch, now)
		if err != nil || order == nil {
			return list, err
		}
		return m.inOrder(list, now, order)
	}
	return patch, nil
}

// patchList merges a list item by item.
func (m member) patchList(patch, live []any) ([]any, error) {
	var items []any
	whole := false
	live = slices.Clone(live)
	for _, item := range patch {
		object, isObject := item.(map[string]any)
		if isObject != (m.key != "") {
			return nil, fmt.Errorf("%v is no item of this list", item)
		}
		how, directed := object[directive]
		if directed && how == patchReplace {
			whole = true
			continue
		}
		if isObject && object[m.key] == nil {
			return nil, fmt.Errorf("map: %v does not contain declared merge key: %s", object, m.key)
		}
		switch {
		case directed && how == patchDelete:
			live = slices.DeleteFunc(live, func(item any) bool {
				is, _ := item.(map[string]any)
				return is[m.key] == object[m.key]
			})
		case directed:
			return nil, fmt.Errorf("unknown patch type '%v' in map: %v", how, object)
		default:
			items = append(items, item)
		}
	}
	if whole {
		return items, nil
	}
	wanted, is := m.keys(items), m.keys(live)
	if wanted == nil || is == nil { // nobody knows which item is meant
		return nil, fmt.Errorf("two items have the same %s", m.key)
	}
	var others []string
	for _, key := range is {
		if !slices.Contains(wanted, key) {
			others = append(others, key)
		}
	}
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			continue
		}
		now := itemAt(live, is, wanted[i])
		if now == nil {
			items[i] = plainOf(object)
			continue
		}
		var err error
		if items[i], err = strategicPatch(element(m.of), object, now); err != nil {
			return nil, err
		}
	}
	return interleave(items, wanted, live, is, others), nil
}

// inOrder is the list in the order that $setElementOrder asks for; what that does not name keeps its place in live.
func (m member) inOrder(list, live []any, order any) ([]any, error) {
	names, ok := order.([]any)
	if !ok {
		return nil, errors.New("$setElementOrder is no list")
	}
	first, have, is := m.keys(names), m.keys(list), m.keys(live)
	if first == nil || have == nil || is == nil {
		return nil, errors.New("$setElementOrder of a list whose items have not a name each")
	}
	var items []any
	var keys, others []string
	for _, key := range first {
		if i := slices.Index(have, key); i >= 0 {
			items, keys = append(items, list[i]), append(keys, key)
		}
	}
	for _, key := range have {
		switch {
		case slices.Contains(keys, key):
		case !slices.Contains(is, key):
			return nil, fmt.Errorf("$setElementOrder has not %q, which the patch adds", key)
		default:
			others = append(others, key)
		}
	}
	return interleave(items, keys, live, is, others), nil
}

// plainOf is a value of a patch where there was nothing before: without nulls and directives.
func plainOf(value any) any {
	switch value := value.(type) {
	case map[string]any:
		if _, ok := value[directive]; ok {
			return nil
		}
		plain := map[string]any{}
		for name, item := range value {
			if now := plainOf(item); now != nil && !isDirective(name) {
				plain[name] = now
			}
		}
		return plain
	case []any:
		plain := []any{}
		for _, item := range value {
			if now := plainOf(item); now != nil {
				plain = append(plain, now)
			}
		}
		return plain
	}
	return value
}

// isPrimitive tells of the values that == compares: of others it panics.
func isPrimitive(value any) bool {
	switch value.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

func isDirective(name string) bool {
	return name == retainKeys || strings.HasPrefix(name, deleteFrom) || strings.HasPrefix(name, setOrder)
}

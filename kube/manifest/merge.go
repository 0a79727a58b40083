package manifest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// threeWay is Kubernetes' strategic merge of three versions of an object of type t, each as decoded from JSON: last, which was applied before;
// file, which is applied now; and live, what there is. What file says holds. What last said and file doesn't is taken away. All else, which
// others gave to live, stays. How a list merges is in the tags of Kubernetes' types (patchStrategy, patchMergeKey): by a key, as containers by
// their name; as a set; or not at all.
//
// k8s.io/apimachinery/pkg/util/strategicpatch does the same by way of a patch, which we need not send anywhere. It reads OpenAPI, too: with
// protobuf, gnostic-models and go-openapi it makes the binary 4.3 MB larger, and each command initialises 28 packages more.
// testdata/merge.json holds what it makes of the same input.
func threeWay(t reflect.Type, last, file, live map[string]any) map[string]any {
	merged := maps.Clone(live)
	if merged == nil {
		merged = map[string]any{}
	}
	for name := range last {
		if _, still := file[name]; !still {
			delete(merged, name)
		}
	}
	for name, value := range file {
		if value == nil { // a null in a file takes away, as in a patch
			delete(merged, name)
			continue
		}
		merged[name] = mergeMember(memberOf(t, name), last[name], value, live[name])
	}
	return merged
}

// A member is a field of a struct, or a value of a map, and how it merges.
type member struct {
	of       reflect.Type // without pointers
	strategy []string     // merge, replace, retainKeys
	key      string       // of a list's items
}

func memberOf(t reflect.Type, name string) member {
	if t.Kind() == reflect.Map {
		return member{of: t.Elem()}
	}
	f, ok := fieldNamed(t, name)
	if !ok { // apiVersion and kind have no field that is named by itself
		return member{of: reflect.TypeFor[string]()}
	}
	of := f.Type
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	return member{of, strings.Split(f.Tag.Get("patchStrategy"), ","), f.Tag.Get("patchMergeKey")}
}

func mergeMember(m member, last, file, live any) any {
	switch file := file.(type) {
	case map[string]any:
		if slices.Contains(m.strategy, "replace") || isLeaf(m.of) {
			return file
		}
		now, _ := live.(map[string]any)
		before, _ := last.(map[string]any)
		return m.mergeObject(m.of, before, file, now)
	case []any:
		if !slices.Contains(m.strategy, "merge") {
			return file
		}
		now, _ := live.([]any)
		before, _ := last.([]any)
		return m.mergeList(before, file, now)
	}
	return file
}

// mergeObject merges what has a volume's kind of choice, too: retainKeys lets only what the file names stay, once anything differs. Else a volume that
// was an emptyDir and shall be a hostPath would be both.
func (m member) mergeObject(t reflect.Type, last, file, live map[string]any) map[string]any {
	merged := threeWay(t, last, file, live)
	if slices.Contains(m.strategy, "retainKeys") && !reflect.DeepEqual(merged, live) {
		maps.DeleteFunc(merged, func(name string, _ any) bool {
			_, named := file[name]
			return !named
		})
	}
	return merged
}

// mergeList merges item by item, in the file's order; those that only live has keep their places between them.
func (m member) mergeList(last, file, live []any) []any {
	was, wanted, is := m.keys(last), m.keys(file), m.keys(live)
	// With a key that stands twice (a port 53 for TCP and one for UDP) nobody knows which item is meant: the list is then one value.
	if was == nil || wanted == nil || is == nil {
		return file
	}
	var others []string // which stay, though the file has them not
	for _, key := range is {
		if !slices.Contains(wanted, key) && !slices.Contains(was, key) {
			others = append(others, key)
		}
	}
	items := slices.Clone(file)
	for i, item := range file {
		if object, ok := item.(map[string]any); ok {
			items[i] = m.mergeObject(element(m.of), itemAt(last, was, wanted[i]), object, itemAt(live, is, wanted[i]))
		}
	}
	return interleave(items, wanted, live, is, others)
}

// itemAt is the object of a list that has this key, nil if there is none.
func itemAt(list []any, keys []string, key string) map[string]any {
	if i := slices.Index(keys, key); i >= 0 {
		item, _ := list[i].(map[string]any)
		return item
	}
	return nil
}

// interleave puts items in their order, and between them the others of live, which keep their places.
func interleave(items []any, wanted []string, live []any, is, others []string) []any {
	merged := make([]any, 0, len(items)+len(others))
	for i, item := range items {
		place := slices.Index(is, wanted[i])
		for len(others) > 0 && place >= 0 && slices.Index(is, others[0]) < place {
			merged, others = append(merged, live[slices.Index(is, others[0])]), others[1:]
		}
		merged = append(merged, item)
	}
	for _, key := range others {
		merged = append(merged, live[slices.Index(is, key)])
	}
	return merged
}

// keys are what the items of a list are known by, nil where that doesn't tell them apart.
func (m member) keys(list []any) []string {
	keys := make([]string, 0, len(list))
	for _, item := range list {
		value := item
		if m.key != "" {
			object, _ := item.(map[string]any)
			value = object[m.key]
		}
		key := fmt.Sprint(value)
		if value == nil || slices.Contains(keys, key) {
			return nil
		}
		keys = append(keys, key)
	}
	return keys
}

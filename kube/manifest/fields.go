package manifest

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What minipod does about a field.
const (
	Done    = "done"    // what it says
	Warned  = "warned"  // nothing, which harms nobody; `apply` says so
	Refused = "refused" // nothing, so the object is refused
)

// A Field is a row of the table: what minipod does about a field of one of Kubernetes' types, or about one value of it.
type Field struct {
	Type, Name string // as in Kubernetes' API reference: PodSpec, nodeSelector
	Value      string // a pattern of path.Match for one value, or for a key of a map; "" is the field itself
	Support    string // Done, Warned, Refused
	Note       string // to a person: what happens instead, or what to do

	// Harmless are values that ask for nothing beyond what minipod does anyway: nothing is said about them.
	Harmless []string
	// Here is set where this package alone does what the field says, and package pod has no such field.
	Here bool
}

// Fields is the table, in the order of Kubernetes' API reference.
func Fields() []Field {
	return slices.Concat(objectFields(), podFields(), containerFields(), volumeFields())
}

// index finds rows: by type and name, those about values apart from the field's own.
type index struct {
	fields map[[2]string]Field
	values map[[2]string][]Field
}

// table is the index, made when the first object is read: it is the same for all.
var table = sync.OnceValue(func() index {
	x := index{map[[2]string]Field{}, map[[2]string][]Field{}}
	for _, f := range Fields() {
		key := [2]string{f.Type, f.Name}
		if f.Value == "" {
			x.fields[key] = f
		} else {
			x.values[key] = append(x.values[key], f)
		}
	}
	return x
})

// support says what minipod will not do of an object: what is refused, as errors, and what is left out, as warnings.
func support(o object) (refused field.ErrorList, warnings []string) {
	w := walker{index: table()}
	w.fields(reflect.ValueOf(o).Elem(), nil)
	return w.errs, w.warnings
}

type walker struct {
	index
	checker
	warnings []string
}

// fields looks at the fields of a struct that are set.
func (w *walker) fields(v reflect.Value, p *field.Path) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() || v.Field(i).IsZero():
		case name == "" && f.Anonymous:
			if f.Name != "TypeMeta" {
				w.fields(v.Field(i), p)
			}
		default:
			w.field(w.index.fields[[2]string{v.Type().Name(), name}], w.values[[2]string{v.Type().Name(), name}], v.Field(i), child(p, name))
		}
	}
}

func (w *walker) field(row Field, values []Field, v reflect.Value, p *field.Path) {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if isLeaf(v.Type()) || v.Kind() != reflect.Struct && v.Kind() != reflect.Slice && v.Kind() != reflect.Map {
		text := fmt.Sprint(v.Interface())
		if slices.Contains(row.Harmless, text) {
			return
		}
		for _, value := range values {
			if ok, err := path.Match(value.Value, text); err == nil && ok {
				w.tell(value, p)
				return
			}
		}
	}
	switch {
	case row.Support != Done: // "" as well: a field without a row is refused, whatever it is
		w.tell(row, p)
	case v.Kind() == reflect.Map:
		w.keys(values, v, p)
	case v.Kind() == reflect.Struct && !isLeaf(v.Type()):
		w.fields(v, p)
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			w.field(Field{Support: Done}, values, v.Index(i), p.Index(i))
		}
	}
}

// keys looks for rows about the keys of a map: resources.
func (w *walker) keys(values []Field, v reflect.Value, p *field.Path) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		for _, value := range values {
			if ok, err := path.Match(value.Value, key.String()); err == nil && ok {
				w.tell(value, p.Key(key.String()))
				break
			}
		}
	}
}

func (w *walker) tell(row Field, p *field.Path) {
	switch row.Support {
	case Done:
	case Warned:
		w.warnings = append(w.warnings, fmt.Sprintf("%s: %s", p, row.Note))
	default:
		note := row.Note
		if note == "" {
			note = "minipod doesn't know this field"
		}
		w.forbidden(p, note)
	}
}

package manifest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/nearest"
)

// strict decodes data as the API server does with fieldValidation=Strict: a field that is not the type's, or stands twice, is an error.
func strict(d document, data []byte, kind string, into object) error {
	unknown, err := kjson.UnmarshalStrict(data, into)
	if err != nil {
		if wrong := typeErrors(reflect.TypeOf(into).Elem(), data); len(wrong) > 0 {
			var texts []string
			for _, e := range wrong {
				texts = append(texts, d.at(lastName(e.Field))+e.Error())
			}
			err := fmt.Errorf("%s in version \"v1\" cannot be handled as a %s: %s", kind, kind, listed(texts))
			return hint.Wrap(err, typeAdvice(wrong[0]))
		}
		return fmt.Errorf("%s in version \"v1\" cannot be handled as a %s: %w", kind, kind, err)
	}
	if len(unknown) == 0 {
		return nil
	}
	var texts []string
	advice := ""
	for _, err := range unknown {
		text := err.Error()
		if path, ok := quoted(text); ok {
			if advice == "" && strings.HasPrefix(text, "unknown") {
				advice = nearField(reflect.TypeOf(into).Elem(), path)
			}
			text = d.at(lastName(path)) + text
		}
		texts = append(texts, text)
	}
	err = fmt.Errorf("%s in version \"v1\" cannot be handled as a %s: strict decoding error: %s", kind, kind, strings.Join(texts, ", "))
	if advice == "" {
		return err
	}
	return hint.Wrap(err, advice)
}

// quoted returns the path out of `unknown field "spec.containers[0].imag"`.
func quoted(text string) (string, bool) {
	for _, prefix := range []string{"unknown field ", "duplicate field "} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			path, err := strconv.Unquote(rest)
			return path, err == nil
		}
	}
	return "", false
}

// atLines makes the line numbers of an error about a document those of its file.
func atLines(text string, offset int) string {
	return regexp.MustCompile(`\bline (\d+):`).ReplaceAllStringFunc(text, func(found string) string {
		n, err := strconv.Atoi(strings.Trim(found, "line :"))
		if err != nil {
			return found
		}
		return fmt.Sprintf("line %d:", n+offset)
	})
}

// at is "line 7: " where the document has one line with that key, and nothing where it has more: decoded values have no lines.
func (d document) at(key string) string {
	found, line := 0, d.line
	for text := range strings.Lines(string(d.text)) {
		line++
		text = strings.TrimLeft(text, " \t-{,")
		rest, ok := strings.CutPrefix(strings.TrimLeft(text, `"'`), key)
		if !ok || key == "" {
			continue
		}
		if rest = strings.TrimLeft(rest, `"' `); strings.HasPrefix(rest, ":") {
			if found != 0 {
				return ""
			}
			found = line
		}
	}
	if found == 0 {
		return ""
	}
	return fmt.Sprintf("line %d: ", found)
}

// lastName is the last field's name in a path: "env" of spec.containers[0].env[1].
func lastName(path string) string {
	name := path[strings.LastIndexByte(path, '.')+1:]
	name, _, _ = strings.Cut(name, "[")
	return name
}

// nearField is the advice about an unknown field: the name that was probably meant, or where a field of that name is.
func nearField(t reflect.Type, path string) string {
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		name, _, _ := strings.Cut(part, "[")
		f, ok := fieldNamed(t, name)
		if !ok {
			return ""
		}
		t = element(f.Type)
	}
	names, wrong := fieldNames(t), lastName(path)
	if near := nearest.Name(strings.ToLower(wrong), lowered(names)); near != "" {
		return fmt.Sprintf("did you mean %q?", nearestCase(near, names))
	}
	// A field that stands one level too high or too low is the other usual mistake.
	for _, inner := range names {
		f, _ := fieldNamed(t, inner)
		if slices.Contains(fieldNames(element(f.Type)), wrong) {
			return fmt.Sprintf("%q belongs into %q: indent it", wrong, inner)
		}
	}
	return ""
}

// element is what is inside pointers, lists and maps.
func element(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t
}

// fields lists a struct's fields by their JSON names, those of embedded structs as its own. A type whose JSON is one value has none.
func fields(t reflect.Type, each func(name string, f reflect.StructField, owner reflect.Type)) {
	if t.Kind() != reflect.Struct || isLeaf(t) {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case name == "" && f.Anonymous:
			fields(f.Type, each)
		case name != "":
			each(name, f, t)
		}
	}
}

func fieldNames(t reflect.Type) (names []string) {
	fields(t, func(name string, _ reflect.StructField, _ reflect.Type) { names = append(names, name) })
	return names
}

func fieldNamed(t reflect.Type, name string) (found reflect.StructField, ok bool) {
	fields(t, func(n string, f reflect.StructField, _ reflect.Type) {
		if n == name {
			found, ok = f, true
		}
	})
	return found, ok
}

// isLeaf tells of the structs whose JSON is one value.
func isLeaf(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[resource.Quantity](), reflect.TypeFor[intstr.IntOrString](), reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime](),
		reflect.TypeFor[metav1.FieldsV1]():
		return true
	}
	return false
}

// typeErrors finds every value of the wrong type, where a decoder stops at the first, and says of a quantity not even where.
func typeErrors(t reflect.Type, data []byte) field.ErrorList {
	var value any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &value); err != nil {
		return nil
	}
	var c checker
	c.types(t, value, nil)
	return c.errs
}

func (c *checker) types(t reflect.Type, value any, p *field.Path) {
	if value == nil {
		return // null is the zero value of any type
	}
	wrong := func(what string) {
		shown := value
		switch value.(type) {
		case map[string]any:
			shown = "an object"
		case []any:
			shown = "a list"
		}
		c.invalid(p, shown, "must be "+what)
	}
	switch {
	case t.Kind() == reflect.Pointer:
		c.types(t.Elem(), value, p)
	case isLeaf(t):
		c.leaf(t, value, p)
	case t == reflect.TypeFor[[]byte]():
		text, ok := value.(string)
		if !ok {
			c.add(field.Invalid(p, "<contents redacted>", "must be a base64-encoded string"))
		} else if _, err := base64.StdEncoding.DecodeString(text); err != nil {
			c.add(field.Invalid(p, "<contents redacted>", err.Error()))
		}
	case t.Kind() == reflect.Struct:
		object, ok := value.(map[string]any)
		if !ok {
			wrong("an object")
			return
		}
		fields(t, func(name string, f reflect.StructField, _ reflect.Type) {
			c.types(f.Type, object[name], child(p, name))
		})
	case t.Kind() == reflect.Map:
		object, ok := value.(map[string]any)
		if !ok {
			wrong("an object")
			return
		}
		for _, key := range sortedKeys(object) {
			c.types(t.Elem(), object[key], p.Key(key))
		}
	case t.Kind() == reflect.Slice:
		list, ok := value.([]any)
		if !ok {
			wrong("a list")
			return
		}
		for i, item := range list {
			c.types(t.Elem(), item, p.Index(i))
		}
	case t.Kind() == reflect.String:
		if _, ok := value.(string); !ok {
			wrong("a string")
		}
	case t.Kind() == reflect.Bool:
		if _, ok := value.(bool); !ok {
			wrong("true or false")
		}
	default:
		if n, ok := value.(int64); !ok {
			wrong("a whole number")
		} else if t.Kind() == reflect.Int32 && n != int64(int32(n)) {
			wrong("a whole number of 32 bits")
		}
	}
}

// leaf tries a value on the type's own decoder.
func (c *checker) leaf(t reflect.Type, value any, p *field.Path) {
	data, err := json.Marshal(value)
	if err != nil {
		return
	}
	into := reflect.New(t)
	err = json.Unmarshal(data, into.Interface())
	if err == nil {
		return
	}
	switch t {
	case reflect.TypeFor[resource.Quantity]():
		err = errors.New("must be a quantity, such as 500m or 64Mi: " + err.Error())
	case reflect.TypeFor[intstr.IntOrString]():
		err = errors.New("must be a whole number of 32 bits or a string")
	}
	c.add(field.Invalid(p, value, err.Error()))
}

func child(p *field.Path, name string) *field.Path {
	if p == nil {
		return field.NewPath(name)
	}
	return p.Child(name)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// typeAdvice says how to write what was probably meant.
func typeAdvice(wrong *field.Error) string {
	if strings.Contains(wrong.Detail, "base64") {
		return "encode it (base64 -w0), or write it as it is under stringData"
	}
	switch value := wrong.BadValue.(type) {
	case bool:
		if strings.Contains(wrong.Detail, "a string") {
			return "write it in quotes: YAML reads y, n, yes, no, on and off as true and false"
		}
	case int64, float64:
		if strings.Contains(wrong.Detail, "a string") {
			return fmt.Sprintf("write it in quotes: %q", fmt.Sprint(value))
		}
	case string:
		switch {
		case strings.Contains(wrong.Detail, "whole number"), strings.Contains(wrong.Detail, "true or false"):
			return "write it without quotes"
		case value == "a list":
			return "leave out the dash: it is one object"
		}
	}
	if strings.Contains(wrong.Detail, "a list") {
		return "begin each item with a dash"
	}
	return "see docs/kubernetes.md for a pod's fields"
}

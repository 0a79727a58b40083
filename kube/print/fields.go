package print

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/template"

	"k8s.io/client-go/util/jsonpath"
)

// Decode reads an object's JSON into maps and lists, in which JSONPath and templates look. Whole numbers stay whole.
func Decode(data []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, err
	}
	return whole(object).(map[string]any), nil
}

// whole turns json.Numbers into int64 or float64: JSONPath compares numbers, not their text.
func whole(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = whole(v[key])
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		n, _ := v.Float64()
		return n
	}
	return v
}

// relaxed is the spelling of a JSONPath that kubectl takes where it wants just one field: with or without braces, with or without
// the first dot.
var relaxed = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\{\.?([^{}]+)\}$|^\.?([^{}]+)$`) })

// Path parses a JSONPath of one field: metadata.name, .metadata.name and {.metadata.name} are the same.
func Path(text string) (*jsonpath.JSONPath, error) {
	m := relaxed().FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}': %s", text)
	}
	path := jsonpath.New("path").AllowMissingKeys(true)
	if err := path.Parse("{." + cmp.Or(m[1], m[2]) + "}"); err != nil {
		return nil, fmt.Errorf("parse the path %s: %w", text, err)
	}
	return path, nil
}

// Values are what path finds in the object, as text.
func Values(path *jsonpath.JSONPath, object any) ([]string, error) {
	found, err := path.FindResults(object)
	if err != nil {
		return nil, err
	}
	var values []string
	for _, results := range found {
		for _, result := range results {
			values = append(values, text(result.Interface()))
		}
	}
	return values, nil
}

// text is a value as JSONPath prints it: what is not plain is JSON.
func text(v any) string {
	switch v.(type) {
	case map[string]any, []any:
		if data, err := json.Marshal(v); err == nil {
			return string(data)
		}
	case nil:
		return "<none>"
	}
	return fmt.Sprint(v)
}

// JSONPath writes what a template such as {.items[*].metadata.name} finds in the object.
func JSONPath(w io.Writer, template string, object any) error {
	if template == "" {
		return errors.New("template format specified but no template given")
	}
	path := jsonpath.New("out").AllowMissingKeys(true)
	if err := path.Parse(template); err != nil {
		return fmt.Errorf("parse the JSONPath %s: %w", template, err)
	}
	var found bytes.Buffer
	if err := path.Execute(&found, object); err != nil {
		return fmt.Errorf("run the JSONPath %s: %w", template, err)
	}
	_, err := w.Write(found.Bytes())
	return err
}

// Template writes the object by a Go template, as -o go-template does.
func Template(w io.Writer, source string, object any) error {
	if source == "" {
		return errors.New("template format specified but no template given")
	}
	t, err := template.New("output").Funcs(template.FuncMap{"exists": exists, "base64decode": decode64}).Parse(source)
	if err != nil {
		return fmt.Errorf("parse the template: %w", err)
	}
	var written bytes.Buffer
	if err := t.Execute(&written, object); err != nil {
		return fmt.Errorf("run the template: %w", err)
	}
	_, err = w.Write(written.Bytes())
	return err
}

// exists tells whether an object has the field that the keys lead to.
func exists(object any, keys ...string) bool {
	for _, key := range keys {
		fields, ok := object.(map[string]any)
		if !ok {
			return false
		}
		if object, ok = fields[key]; !ok {
			return false
		}
	}
	return true
}

// Custom is the table of -o custom-columns=NAME:.metadata.name,IP:.status.podIP.
func Custom(spec string, objects []map[string]any) (Table, error) {
	var t Table
	var paths []*jsonpath.JSONPath
	if spec == "" {
		return t, errors.New("custom-columns format specified but no custom columns given")
	}
	for part := range strings.SplitSeq(spec, ",") {
		title, path, ok := strings.Cut(part, ":")
		if !ok || title == "" || path == "" {
			return t, fmt.Errorf("unexpected custom-columns spec: %s, expected <header>:<json-path-expr>", part)
		}
		parsed, err := Path(path)
		if err != nil {
			return t, err
		}
		t.Columns, paths = append(t.Columns, Column{Title: title}), append(paths, parsed)
	}
	for _, object := range objects {
		var row []string
		for _, path := range paths {
			values, err := Values(path, object)
			if err != nil || len(values) == 0 {
				values = []string{"<none>"}
			}
			row = append(row, strings.Join(values, ","))
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// SortBy sorts the objects by the field that the path leads to: numbers by their value, all else by its text, and those without the
// field come first.
func SortBy[O any](objects []O, path string, fields func(O) map[string]any) error {
	parsed, err := Path(path)
	if err != nil {
		return err
	}
	key := func(o O) any {
		found, err := parsed.FindResults(fields(o))
		if err != nil || len(found) == 0 || len(found[0]) == 0 {
			return nil
		}
		return found[0][0].Interface()
	}
	slices.SortStableFunc(objects, func(a, b O) int { return compare(key(a), key(b)) })
	return nil
}

func compare(a, b any) int {
	switch {
	case a == nil || b == nil:
		return cmp.Compare(presence(a), presence(b))
	case isNumber(a) && isNumber(b):
		return cmp.Compare(number(a), number(b))
	}
	return cmp.Compare(text(a), text(b))
}

func presence(v any) int {
	if v == nil {
		return 0
	}
	return 1
}

func isNumber(v any) bool {
	switch v.(type) {
	case int64, float64:
		return true
	}
	return false
}

func number(v any) float64 {
	if n, ok := v.(int64); ok {
		return float64(n)
	}
	n, _ := v.(float64)
	return n
}

// decode64 is kubectl's template function: a Secret's value is base64.
func decode64(v string) (string, error) {
	data, err := base64.StdEncoding.DecodeString(v)
	if err != nil {
		return "", fmt.Errorf("base64 decode failed: %w", err)
	}
	return string(data), nil
}

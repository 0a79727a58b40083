package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/pod"
)

// The most that Decode reads, and that one document may have: the latter is the API server's own limit.
const (
	maxInput    = 64 << 20
	maxDocument = 3 << 20
)

// An Object is one of a manifest's.
type Object struct {
	Kind        string // Pod, ConfigMap, Secret, PersistentVolumeClaim
	Namespace   string
	Name        string
	UID         string // "" before Created or Update
	Labels      map[string]string
	Annotations map[string]string

	// JSON is the object as an API server would keep it: with its defaults, without a status.
	JSON []byte
	// Pod is what minipod runs; nil for other kinds.
	Pod *pod.Pod
	// Warnings name what the manifest asks for and minipod doesn't do, a line each.
	Warnings []string
	// Source says where it stands: "pod.yaml: document 2".
	Source string

	typed   object
	version string         // the resourceVersion that the file names
	written map[string]any // as the file has it, for SaveConfig and Apply
}

// Options are kubectl's that concern reading.
type Options struct {
	Namespace string // of objects that name none; "" is "default"
	Enforce   bool   // Namespace was asked for: objects of another one are errors
	Generate  bool   // give names to objects that have a generateName: for `create`; else they are errors
}

// Decode reads the objects of a file, one document after the other, with the default Options. Source is the name that errors call it by.
// Documents are independent of each other: the objects of those that are right are returned beside the errors of all others, joined.
func Decode(r io.Reader, source string) ([]*Object, error) { return Options{}.Decode(r, source) }

// Decode is the function Decode with options.
func (o Options) Decode(r io.Reader, source string) ([]*Object, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", source, err)
	}
	if len(data) > maxInput {
		return nil, fmt.Errorf("read %s: it has more than %d MiB", source, maxInput>>20)
	}
	var objects []*Object
	var errs []error
	documents := split(data)
	for i, d := range documents {
		d.source = source
		if len(documents) > 1 {
			d.source = fmt.Sprintf("%s: document %d", source, i+1)
		}
		found, err := o.document(d)
		objects = append(objects, found...)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil || len(objects) > 0 {
		return objects, joinedHint(err, errs)
	}
	return nil, hint.Wrap(fmt.Errorf("read %s: no objects in it", source), "write a Pod into it: apiVersion: v1, kind: Pod, metadata.name, spec.containers")
}

// joinedHint gives err the advice of the first of errs that has one: errors.As looks through a join in this order anyway.
func joinedHint(err error, errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return err
}

// A document is one part of a file.
type document struct {
	source string
	text   []byte
	line   int // of the file, at which text begins; from 0
}

// split parts a file at the lines --- and ..., which end a document wherever they stand, and leaves out what has no content.
func split(data []byte) []document {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var found []document
	text, first, at := []byte(nil), 0, 0
	end := func() {
		if hasContent(text) {
			found = append(found, split1(document{text: text, line: first})...)
		}
		text, first = nil, at+1
	}
	for line := range bytes.Lines(data) {
		bare := bytes.TrimRight(line, "\r\n")
		rest, separator := bytes.CutPrefix(bare, []byte("---"))
		switch {
		case separator && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t'):
			end()
			text = append(append(text, rest...), '\n') // "--- {kind: Pod}" is a document, too
			first = at
		case string(bare) == "...":
			end()
		default:
			text = append(text, line...)
		}
		at++
	}
	end()
	return found
}

// split1 parts JSON objects that follow each other without a separator.
func split1(d document) []document {
	if trimmed := bytes.TrimSpace(d.text); len(trimmed) == 0 || trimmed[0] != '{' || json.Valid(trimmed) {
		return []document{d}
	}
	var found []document
	decoder := json.NewDecoder(bytes.NewReader(d.text))
	for {
		var one json.RawMessage
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			return []document{d} // YAML in braces, or nothing at all: the YAML parser says what is wrong
		}
		before := d.text[:decoder.InputOffset()-int64(len(one))]
		found = append(found, document{text: one, line: d.line + bytes.Count(before, []byte{'\n'})})
	}
}

// hasContent tells whether there is anything but comments and directives.
func hasContent(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}

// document returns the objects of one document: one, or those of a List.
func (o Options) document(d document) ([]*Object, error) {
	if len(d.text) > maxDocument {
		return nil, fmt.Errorf("%s: it has more than %d MiB: request entity too large", d.source, maxDocument>>20)
	}
	data, err := toJSON(d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.source, err)
	}
	return o.value(d, data, "", "")
}

// toJSON converts YAML; keys that stand twice are errors.
func toJSON(d document) ([]byte, error) {
	if json.Valid(d.text) {
		return d.text, nil // not by way of YAML, which takes no tabs; double keys are found later
	}
	data, err := yaml.YAMLToJSONStrict(d.text)
	if err == nil {
		return data, nil
	}
	text := atLines(err.Error(), d.line)
	if rest, ok := strings.CutPrefix(text, "yaml: unmarshal errors:\n"); ok {
		var errs []string
		for line := range strings.Lines(rest) {
			errs = append(errs, strings.TrimSpace(line))
		}
		return nil, fmt.Errorf("strict decoding error: yaml: %s", strings.Join(errs, ", "))
	}
	err = fmt.Errorf("error parsing YAML: %s", text)
	if bytes.Contains(d.text, []byte{'\t'}) && strings.Contains(text, "cannot start any token") {
		return nil, hint.Wrap(err, "indent with spaces: YAML takes no tabs")
	}
	return nil, err
}

// value decodes one JSON value. A list's items need no kind and version of their own where the list says them.
func (o Options) value(d document, data []byte, kind, version string) ([]*Object, error) {
	var head struct {
		APIVersion any `json:"apiVersion"`
		Kind       any `json:"kind"`
	}
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, fmt.Errorf("%s: it is not an object: %.40s", d.source, trimmed)
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%s: %w", d.source, err)
	}
	if head.Kind == nil && head.APIVersion == nil {
		head.Kind, head.APIVersion = kind, version
	}
	gotKind, _ := head.Kind.(string)
	gotVersion, _ := head.APIVersion.(string)
	var missing []string
	if gotVersion == "" {
		missing = append(missing, "apiVersion not set")
	}
	if gotKind == "" {
		missing = append(missing, "kind not set")
	}
	if len(missing) > 0 {
		err := fmt.Errorf("%s: error validating data: %s", d.source, strings.Join(missing, ", "))
		return nil, hint.Wrap(err, "begin it with: apiVersion: v1, and kind: "+strings.Join(kinds(), ", or "))
	}
	if of, ok := strings.CutSuffix(gotKind, "List"); ok && gotVersion == "v1" && (of == "" || newObject(of) != nil) {
		return o.list(d, data, of)
	}
	object, err := o.one(d, data, gotKind, gotVersion)
	if err != nil {
		return nil, err
	}
	return []*Object{object}, nil
}

// list returns the objects of a List, PodList, …
func (o Options) list(d document, data []byte, kind string) ([]*Object, error) {
	var envelope struct {
		APIVersion any               `json:"apiVersion"`
		Kind       any               `json:"kind"`
		Metadata   any               `json:"metadata"`
		Items      []json.RawMessage `json:"items"`
	}
	unknown, err := kjson.UnmarshalStrict(data, &envelope)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.source, err)
	}
	var objects []*Object
	var errs []error
	for _, err := range unknown {
		errs = append(errs, fmt.Errorf("%s: %sList in version \"v1\" cannot be handled as a %sList: strict decoding error: %w", d.source, kind, kind, err))
	}
	version := "v1"
	if kind == "" {
		version = ""
	}
	for i, item := range envelope.Items {
		within := d
		within.source = fmt.Sprintf("%s: items[%d]", d.source, i)
		found, err := o.value(within, item, kind, version)
		objects = append(objects, found...)
		errs = append(errs, err)
	}
	return objects, errors.Join(errs...)
}

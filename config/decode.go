package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decode is json.Unmarshal, but an unknown field, a second value and anything of the wrong type are errors that
// name their path or line.
func decode(data []byte, into any) error {
	var raw any
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&raw); err != nil {
		return atLine(data, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("line %d: something follows the object's end", line(data, dec.InputOffset()))
	}
	if err := unknown(raw, reflect.TypeOf(into).Elem(), ""); err != nil {
		return err
	}
	return atLine(data, json.Unmarshal(data, into))
}

// unknown finds the first key in raw that type t has no field for. encoding/json's DisallowUnknownFields finds it
// too, but gives neither path nor neighbour.
func unknown(raw any, t reflect.Type, path string) error {
	object, ok := raw.(map[string]any)
	if !ok {
		return nil // of the wrong type: Unmarshal says so
	}
	keys := make([]string, 0, len(object))
	for k := range object {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		at := strings.TrimPrefix(path+"."+k, ".")
		var child reflect.Type
		switch t.Kind() {
		case reflect.Map:
			child = t.Elem()
		case reflect.Struct:
			known := fields(t)
			if child = known[k]; child == nil {
				return fmt.Errorf("unknown field %s%s", at, nearest(k, known))
			}
		default:
			return nil
		}
		if err := unknown(object[k], child, at); err != nil {
			return err
		}
	}
	return nil
}

func fields(t reflect.Type) map[string]reflect.Type {
	known := map[string]reflect.Type{}
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("json"); name != "" {
			known[name] = t.Field(i).Type
		}
	}
	return known
}

// nearest offers the fields that exist: the one that k likely meant, or all of them.
func nearest(k string, known map[string]reflect.Type) string {
	var names []string
	for name := range known {
		if strings.EqualFold(name, k) || (len(k) > 3 && (strings.HasPrefix(name, k[:3]) || strings.HasSuffix(name, k[len(k)-3:]))) {
			return fmt.Sprintf(" (did you mean %s?)", name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return " (known here: " + strings.Join(names, ", ") + ")"
}

func atLine(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", line(data, syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: %s: a %s where %s is wanted", line(data, kind.Offset), kind.Field, kind.Value, kind.Type)
	case errors.Is(err, io.EOF):
		return errors.New("the file is empty")
	}
	return err
}

func line(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
}

// A Size is a number of bytes. In JSON it is a number or a string with a unit: "512MiB", "2GB", "1.5TiB".
type Size int64

// UnmarshalJSON implements json.Unmarshaler.
func (s *Size) UnmarshalJSON(data []byte) error {
	var n int64
	if err := json.Unmarshal(data, &n); err == nil {
		*s = Size(n)
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("a size is a number of bytes or a string such as %q, not %s", "32GiB", data)
	}
	digits := strings.TrimRight(text, "KMGTiB ")
	f, err := strconv.ParseFloat(digits, 64)
	unit := scale(strings.TrimSpace(text[len(digits):]))
	if bytes := f * unit; err == nil && unit > 0 && bytes >= 0 && bytes < math.MaxInt64 {
		*s = Size(bytes)
		return nil
	}
	return fmt.Errorf("%q is no size; write a number of bytes or one with KB, MB, GB, TB, KiB, MiB, GiB or TiB", text)
}

func scale(unit string) float64 {
	switch unit {
	case "", "B":
		return 1
	case "KB":
		return 1e3
	case "MB":
		return 1e6
	case "GB":
		return 1e9
	case "TB":
		return 1e12
	case "KiB":
		return 1 << 10
	case "MiB":
		return 1 << 20
	case "GiB":
		return 1 << 30
	case "TiB":
		return 1 << 40
	}
	return 0
}

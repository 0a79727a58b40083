// Package selector chooses objects: by their labels, app=web,tier!=db, and by their fields, status.phase=Running. It also knows how a
// label may be spelt. The grammar is Kubernetes' own, by its own parser.
package selector

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// A Selector says which labels and fields an object must have. The zero one chooses all.
type Selector struct {
	labels labels.Selector
	fields fields.Selector
}

// Parse reads what -l and --field-selector say; "" says nothing.
func Parse(ofLabels, ofFields string) (Selector, error) {
	l, err := labels.Parse(ofLabels)
	if err != nil {
		return Selector{}, err
	}
	f, err := fields.ParseSelector(ofFields)
	return Selector{l, f}, err
}

// Everything tells whether all objects are chosen.
func (s Selector) Everything() bool {
	return (s.labels == nil || s.labels.Empty()) && !s.AsksFields()
}

// AsksFields tells whether the fields matter.
func (s Selector) AsksFields() bool { return s.fields != nil && !s.fields.Empty() }

// Match tells whether an object with these labels and fields is chosen. A field that is asked for and not among them is an error.
func (s Selector) Match(ofLabels, ofFields map[string]string) (bool, error) {
	if s.AsksFields() {
		for _, r := range s.fields.Requirements() {
			if _, ok := ofFields[r.Field]; !ok {
				return false, fmt.Errorf("field label not supported: %s", r.Field)
			}
		}
		if !s.fields.Matches(fields.Set(ofFields)) {
			return false, nil
		}
	}
	return s.labels == nil || s.labels.Matches(labels.Set(ofLabels)), nil
}

// CheckKey says what is wrong with the key of a label or an annotation.
func CheckKey(key string) error { return problems(validation.IsQualifiedName(key)) }

// CheckValue says what is wrong with the value of a label; those of annotations are free.
func CheckValue(value string) error { return problems(validation.IsValidLabelValue(value)) }

func problems(list []string) error {
	if len(list) == 0 {
		return nil
	}
	return errors.New(strings.Join(list, "; "))
}

package manifest

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Created gives an object what a server gives a new one: an id, its time, its first version.
func (o *Object) Created(uid string, now time.Time) error {
	m := meta(o.typed)
	m.UID, m.CreationTimestamp, m.ResourceVersion = types.UID(uid), metav1.NewTime(now.UTC().Truncate(time.Second)), "1"
	if o.Kind == "Pod" {
		m.Generation = 1
	}
	return o.render()
}

// Update makes o, which has just been read, the next version of old, the JSON that was kept of the same object. It tells whether anything
// changed, and is Invalid where an API server would not let it: most of a pod can't be changed while it lives.
func (o *Object) Update(old []byte) (changed bool, err error) {
	before := newObject(o.Kind)
	if err := json.Unmarshal(old, before); err != nil {
		return false, fmt.Errorf("decode %s %q: %w", o.Kind, o.Name, err)
	}
	var c checker
	switch now := o.typed.(type) {
	case *v1.Pod:
		c.podUpdate(now, before.(*v1.Pod))
	case *v1.ConfigMap:
		was := before.(*v1.ConfigMap)
		c.immutable(was.Immutable, now.Immutable, map[string]bool{
			"data": reflect.DeepEqual(was.Data, now.Data), "binaryData": reflect.DeepEqual(was.BinaryData, now.BinaryData),
		})
	case *v1.Secret:
		was := before.(*v1.Secret)
		if now.Type != was.Type {
			c.invalid(field.NewPath("type"), now.Type, "field is immutable")
		}
		c.immutable(was.Immutable, now.Immutable, map[string]bool{"data": reflect.DeepEqual(was.Data, now.Data)})
	case *v1.PersistentVolumeClaim:
		c.claimUpdate(now, before.(*v1.PersistentVolumeClaim))
	}
	if len(c.errs) > 0 {
		return false, fmt.Errorf("%s: %w", o.Source, &Invalid{Kind: o.Kind, Name: o.Name, Errors: c.errs})
	}
	m, was := meta(o.typed), meta(before)
	m.UID, m.CreationTimestamp, m.ResourceVersion, m.Generation = was.UID, was.CreationTimestamp, was.ResourceVersion, was.Generation
	m.DeletionTimestamp, m.DeletionGracePeriodSeconds = was.DeletionTimestamp, was.DeletionGracePeriodSeconds
	m.GenerateName = was.GenerateName
	if err := o.render(); err != nil {
		return false, err
	}
	previous := Object{Kind: o.Kind, typed: before}
	if err := previous.render(); err != nil {
		return false, err
	}
	if string(previous.JSON) == string(o.JSON) {
		return false, nil
	}
	version, _ := strconv.Atoi(was.ResourceVersion)
	m.ResourceVersion = strconv.Itoa(version + 1)
	if m.Generation > 0 {
		m.Generation++
	}
	return true, o.render()
}

func (c *checker) immutable(was, now *bool, equal map[string]bool) {
	if was == nil || !*was {
		return
	}
	if now == nil || !*now {
		c.forbidden(field.NewPath("immutable"), "field is immutable when `immutable` is set")
	}
	for _, name := range sortedKeys(equal) {
		if !equal[name] {
			c.forbidden(field.NewPath(name), "field is immutable when `immutable` is set")
		}
	}
}

func (c *checker) claimUpdate(now, was *v1.PersistentVolumeClaim) {
	is := was.DeepCopy()
	is.Spec.Resources = now.Spec.Resources // a folder is as large as it is
	if was.Spec.VolumeName == "" {
		is.Spec.VolumeName = now.Spec.VolumeName
	}
	if differing := differences(is.Spec, now.Spec); len(differing) > 0 {
		c.forbidden(field.NewPath("spec"), "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"+
			strings.Join(differing, "\n"))
	}
	size, old := now.Spec.Resources.Requests[v1.ResourceStorage], was.Spec.Resources.Requests[v1.ResourceStorage]
	if size.Cmp(old) < 0 {
		c.forbidden(field.NewPath("spec", "resources", "requests", "storage"), "field can not be less than previous value")
	}
}

// podUpdate is ValidatePodUpdate: a pod that lives may get other images, an earlier deadline and more tolerations.
func (c *checker) podUpdate(now, was *v1.Pod) {
	p := field.NewPath("spec")
	for _, containers := range []struct {
		name     string
		now, was []v1.Container
	}{{"containers", now.Spec.Containers, was.Spec.Containers}, {"initContainers", now.Spec.InitContainers, was.Spec.InitContainers}} {
		if len(containers.now) != len(containers.was) {
			c.forbidden(p.Child(containers.name), "pod updates may not add or remove containers")
			return
		}
	}
	c.deadline(p.Child("activeDeadlineSeconds"), now.Spec.ActiveDeadlineSeconds, was.Spec.ActiveDeadlineSeconds)
	for _, old := range was.Spec.Tolerations {
		if !slices.ContainsFunc(now.Spec.Tolerations, func(t v1.Toleration) bool {
			t.TolerationSeconds = old.TolerationSeconds
			return reflect.DeepEqual(t, old)
		}) {
			c.forbidden(p.Child("tolerations"), "existing toleration can not be modified except its tolerationSeconds")
			return
		}
	}
	is := now.Spec.DeepCopy()
	for i := range is.Containers {
		is.Containers[i].Image = was.Spec.Containers[i].Image
	}
	for i := range is.InitContainers {
		is.InitContainers[i].Image = was.Spec.InitContainers[i].Image
	}
	for i, gate := range now.Spec.SchedulingGates {
		if !slices.Contains(was.Spec.SchedulingGates, gate) {
			c.forbidden(p.Child("schedulingGates").Index(i), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", gate.Name))
		}
	}
	is.SchedulingGates = was.Spec.SchedulingGates
	is.ActiveDeadlineSeconds, is.Tolerations = was.Spec.ActiveDeadlineSeconds, was.Spec.Tolerations
	if differing := differences(was.Spec, *is); len(differing) > 0 {
		c.forbidden(p, "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"+
			"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"+
			"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"+strings.Join(differing, "\n"))
	}
}

func (c *checker) deadline(p *field.Path, now, was *int64) {
	switch {
	case now == nil && was == nil:
	case now == nil:
		c.invalid(p, nil, "must not update from a positive integer to nil value")
	case *now < 0 || *now > math.MaxInt32:
		c.invalid(p, *now, validation.InclusiveRangeError(0, math.MaxInt32))
	case was != nil && *was < *now:
		c.invalid(p, *now, "must be less than or equal to previous value")
	}
}

// differences says which values differ, a line each: spec.containers[0].env[1].value: "a" → "b".
func differences(was, now any) []string {
	var lines []string
	var compare func(p *field.Path, a, b any)
	compare = func(p *field.Path, a, b any) {
		if reflect.DeepEqual(a, b) {
			return
		}
		objectA, isA := a.(map[string]any)
		objectB, isB := b.(map[string]any)
		listA, isListA := a.([]any)
		listB, isListB := b.([]any)
		switch {
		case isA && isB:
			names := map[string]bool{}
			for name := range objectA {
				names[name] = true
			}
			for name := range objectB {
				names[name] = true
			}
			for _, name := range sortedKeys(names) {
				compare(p.Child(name), objectA[name], objectB[name])
			}
		case isListA && isListB && len(listA) == len(listB):
			for i := range listA {
				compare(p.Index(i), listA[i], listB[i])
			}
		default:
			lines = append(lines, fmt.Sprintf("  %s: %s → %s", p, short(a), short(b)))
		}
	}
	compare(field.NewPath("spec"), plain(was), plain(now))
	return lines
}

// plain is a value as its JSON has it.
func plain(v any) (value any) {
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &value)
	}
	if err != nil {
		return nil // it came out of JSON before
	}
	return value
}

func short(v any) string {
	if v == nil {
		return "nothing"
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // a > of a shell's stays one: this is no web page
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	line := strings.TrimSuffix(text.String(), "\n")
	if len(line) > 80 {
		return line[:77] + "..."
	}
	return line
}

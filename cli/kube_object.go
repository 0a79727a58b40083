package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/kube/manifest"
	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/kube/selector"
	"codeberg.org/minipod/minipod/kube/store"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/volume"
)

// A kubeObject is an object that was read. Of pod, object and event, that of its kind is set.
type kubeObject struct {
	kind   kubeKind
	meta   pod.Metadata
	fields map[string]any // as -o json shows it

	pod    *print.Pod
	object *print.Object
	event  *print.Event
}

// String is the object as people name it: pod/web.
func (o *kubeObject) String() string { return o.kind.singular() + "/" + o.meta.Name }

// A query says which objects are wanted.
type query struct {
	namespace string // "": all
	selector  selector.Selector
}

// parseQuery reads -n, -A, -l and --field-selector.
func parseQuery(c *urfave.Context) (q query, err error) {
	q.namespace = c.String("namespace")
	if c.Bool("all-namespaces") {
		q.namespace = ""
	}
	if q.selector, err = selector.Parse(c.String("selector"), c.String("field-selector")); err != nil {
		return q, badUsage(err, "write -l KEY=VALUE, -l 'KEY in (A,B)' or -l '!KEY', and --field-selector status.phase=Running")
	}
	return q, nil
}

// selects tells whether q says more than which namespace.
func (q query) selects() bool { return !q.selector.Everything() }

func (q query) match(o *kubeObject) (bool, error) {
	ok, err := q.selector.Match(o.meta.Labels, o.selectable())
	if err != nil {
		err = hint.Wrap(serverError("BadRequest", "%v", err), "use metadata.name, metadata.namespace, or for pods status.phase, status.podIP, spec.nodeName, spec.restartPolicy")
	}
	return ok, err
}

// selectable are the fields that the API server knows in a field selector.
func (o *kubeObject) selectable() map[string]string {
	known := map[string]string{"metadata.name": o.meta.Name, "metadata.namespace": o.meta.Namespace}
	switch {
	case o.pod != nil:
		maps.Copy(known, map[string]string{
			"spec.nodeName": o.pod.On(nodeName()), "spec.restartPolicy": o.pod.Spec.RestartPolicy, "spec.hostNetwork": fmt.Sprint(o.pod.Spec.HostNetwork),
			"spec.schedulerName": "default-scheduler", "spec.serviceAccountName": "", "status.phase": o.pod.Status.Phase, "status.podIP": o.pod.Status.PodIP, "status.nominatedNodeName": "",
		})
	case o.event != nil:
		e := o.event
		maps.Copy(known, map[string]string{
			"involvedObject.kind": e.Object.Kind, "involvedObject.namespace": e.Object.Namespace, "involvedObject.name": e.Object.Name, "involvedObject.uid": e.Object.UID,
			"involvedObject.fieldPath": e.Object.FieldPath, "reason": e.Reason, "type": e.Type, "source": e.Source.Component, "reportingComponent": e.Controller,
		})
	case o.kind.kind == store.KindSecret:
		known["type"] = o.object.Type
	}
	return known
}

// findObjects reads all objects of the kinds that q wants, or those that are named: then each that is not there is an error beside the
// others that were found.
func (a *app) findObjects(kinds []kubeKind, named []target, q query) ([]*kubeObject, error) {
	var found []*kubeObject
	if len(named) > 0 {
		if q.namespace == "" {
			return nil, badUsage(errors.New("a resource cannot be retrieved by name across all namespaces"), "say which one with -n NAMESPACE")
		}
		if q.selects() {
			return nil, badUsage(errors.New("name cannot be provided when a selector is specified"), "leave out one of them")
		}
		var failed error
		for _, t := range named {
			o, err := a.findObject(t, q.namespace)
			if err != nil {
				failed = a.said(failed, err)
				continue
			}
			found = append(found, o)
		}
		return found, failed
	}
	for _, kind := range kinds {
		all, err := a.listObjects(kind, q.namespace)
		if err != nil {
			return found, err
		}
		for _, o := range all {
			ok, err := q.match(o)
			if err != nil {
				return found, err
			}
			if ok {
				found = append(found, o)
			}
		}
	}
	return found, nil
}

// said prints an error before the one that the verb will end with.
func (a *app) said(before, err error) error {
	if before != nil {
		a.report(before)
	}
	return err
}

func (a *app) findObject(t target, namespace string) (*kubeObject, error) {
	switch t.kind.kind {
	case kindPod:
		s, err := pod.Find(a.dirs, namespace, t.name)
		if errors.Is(err, pod.ErrNotFound) {
			return nil, missing(t.kind, t.name)
		}
		if err != nil {
			return nil, err
		}
		return readPod(a, s)
	case kindEvent:
		all, err := a.listObjects(t.kind, namespace)
		for _, o := range all {
			if o.meta.Name == t.name {
				return o, nil
			}
		}
		if err == nil {
			err = missing(t.kind, t.name)
		}
		return nil, err
	}
	data, err := store.Get(a.dirs, t.kind.kind, namespace, t.name)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrName):
		return nil, missing(t.kind, t.name)
	case err != nil:
		return nil, err
	}
	o, err := readObject(t.kind, data)
	if err == nil && t.kind.kind == store.KindClaim {
		err = a.bind(o)
	}
	return o, err
}

// bind says of a claim that it is bound, once its volume is there: it is made for the first pod that mounts it.
func (a *app) bind(claim *kubeObject) error {
	name, err := store.Claim(a.dirs, claim.meta.Namespace, claim.meta.Name)
	if err != nil {
		return err
	}
	o := claim.object
	o.Status = print.ClaimStatus{Phase: pod.Pending}
	if _, err := volume.Open(a.dirs).Get(name); err == nil {
		o.Spec.VolumeName, o.Status = name, print.ClaimStatus{Phase: "Bound", Capacity: o.Spec.Resources.Requests}
		if spec, ok := claim.fields["spec"].(map[string]any); ok {
			spec["volumeName"] = name
		}
	}
	status := map[string]any{"phase": o.Status.Phase}
	if size, ok := o.Status.Capacity["storage"]; ok {
		status["capacity"], status["accessModes"] = map[string]any{"storage": string(size)}, o.Spec.AccessModes
	}
	claim.fields["status"] = status
	return nil
}

// listObjects reads the objects of a kind. One that is removed meanwhile is left out.
func (a *app) listObjects(kind kubeKind, namespace string) ([]*kubeObject, error) {
	var found []*kubeObject
	add := func(o *kubeObject, err error) error {
		if err == nil {
			found = append(found, o)
		}
		if errors.Is(err, pod.ErrNotFound) || errors.Is(err, errMissing) {
			return nil
		}
		return err
	}
	switch kind.kind {
	case kindPod:
		pods, err := pod.List(a.dirs, namespace)
		for i := 0; i < len(pods) && err == nil; i++ {
			err = add(readPod(a, pods[i]))
		}
		return found, err
	case kindEvent:
		events, err := event.List(a.dirs)
		for i := 0; i < len(events) && err == nil; i++ {
			if namespace == "" || events[i].Metadata.Namespace == namespace {
				err = add(readEvent(&events[i]))
			}
		}
		return found, err
	}
	keys, err := store.List(a.dirs, kind.kind, namespace)
	for i := 0; i < len(keys) && err == nil; i++ {
		err = add(a.findObject(target{kind, keys[i].Name}, keys[i].Namespace))
	}
	return found, err
}

func readObject(kind kubeKind, data []byte) (*kubeObject, error) {
	o := &kubeObject{kind: kind, object: &print.Object{}}
	err := json.Unmarshal(data, o.object)
	if err == nil {
		o.fields, err = print.Decode(data)
	}
	if err != nil {
		return nil, fmt.Errorf("read a %s: %w", kind.kind, err)
	}
	o.meta = o.object.Metadata
	o.fields["apiVersion"], o.fields["kind"] = "v1", kind.kind
	return o, nil
}

func readEvent(e *event.Event) (*kubeObject, error) {
	o := &kubeObject{event: e, meta: pod.Metadata{Name: e.Metadata.Name, Namespace: e.Metadata.Namespace, Created: e.Metadata.Created}}
	var err error
	if o.kind, err = findKind(kindEvent); err != nil {
		return nil, err
	}
	if o.fields, err = asFields(e); err != nil {
		return nil, fmt.Errorf("read event %s: %w", e.Metadata.Name, err)
	}
	o.fields["apiVersion"], o.fields["kind"] = "v1", kindEvent
	return o, nil
}

// readPod puts a pod together: as it was applied, as it is wanted by now, and as it is.
func readPod(a *app, s *pod.Stored) (*kubeObject, error) {
	status, err := pod.ReadStatus(a.dirs, s.Metadata.UID)
	if err != nil {
		return nil, err
	}
	return assemblePod(s, status)
}

func assemblePod(s *pod.Stored, status *pod.Status) (*kubeObject, error) {
	o := &kubeObject{kind: podKind(), meta: s.Metadata, pod: &print.Pod{Pod: s.Pod, Status: *status}}
	applied, err := s.Manifest()
	if err == nil {
		applied, err = manifest.Live(applied, &s.Pod, status)
	}
	if err == nil {
		o.fields, err = print.Decode(applied)
	}
	if err != nil {
		return nil, fmt.Errorf("read pod %s: %w", s.Metadata.Name, err)
	}
	if spec, ok := o.fields["spec"].(map[string]any); ok {
		if node := o.pod.On(nodeName()); node != "" {
			spec["nodeName"] = node
		}
	}
	return o, nil
}

// asFields is a value of ours as Kubernetes writes it: times have whole seconds.
func asFields(v any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	fields, err := print.Decode(data)
	if err != nil {
		return nil, err
	}
	wholeSeconds(fields)
	return fields, nil
}

func wholeSeconds(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			wholeSeconds(item)
		}
	case map[string]any:
		for name, value := range v {
			if text, ok := value.(string); ok && (strings.HasSuffix(name, "Time") || strings.HasSuffix(name, "Timestamp") || strings.HasSuffix(name, "At")) {
				if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
					v[name] = t.UTC().Format(time.RFC3339)
				}
			}
			wholeSeconds(value)
		}
	}
}

// tableOf is what `get` shows of objects of one kind.
func tableOf(kind kubeKind, list []*kubeObject, now time.Time) print.Table {
	var pods []print.Pod
	var objects []print.Object
	var events []print.Event
	for _, o := range list {
		switch {
		case o.pod != nil:
			pods = append(pods, *o.pod)
		case o.event != nil:
			events = append(events, *o.event)
		default:
			objects = append(objects, *o.object)
		}
	}
	switch kind.kind {
	case kindPod:
		return print.Pods(pods, nodeName(), now)
	case kindEvent:
		return print.Events(events, now)
	case store.KindConfigMap:
		return print.ConfigMaps(objects, now)
	case store.KindSecret:
		return print.Secrets(objects, now)
	}
	return print.Claims(objects, now)
}

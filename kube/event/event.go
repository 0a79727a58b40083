// Package event is what happened to pods and other objects, in Kubernetes' words: Scheduled, Pulled, Started, BackOff, Unhealthy.
//
// The events are lines of a file, kube/events.jsonl in the data folder, to which any process appends. What happens again and again is
// one event with a count, as in Kubernetes: each time a line is appended that has the event's name, and a reader takes the last of
// them. A Recorder sees to the counts, and that nobody floods the file.
package event

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"codeberg.org/minipod/minipod/internal/jsonl"
	"codeberg.org/minipod/minipod/state"
)

// The two types of event.
const (
	Normal  = "Normal"
	Warning = "Warning"
)

// An Event has core/v1's fields; its JSON is a v1.Event's.
type Event struct {
	Metadata   Metadata  `json:"metadata"`
	Object     Object    `json:"involvedObject"`
	Reason     string    `json:"reason"`
	Message    string    `json:"message"`
	Source     Source    `json:"source"`
	First      time.Time `json:"firstTimestamp,omitzero"`
	Last       time.Time `json:"lastTimestamp,omitzero"`
	Count      int32     `json:"count,omitempty"`
	Type       string    `json:"type"`
	Controller string    `json:"reportingComponent"`
	Instance   string    `json:"reportingInstance"`
}

// Metadata is what the event itself is known by: the object's name, a dot and a number.
type Metadata struct {
	Name      string    `json:"name"`
	Namespace string    `json:"namespace"`
	Created   time.Time `json:"creationTimestamp,omitzero"`
}

// An Object is whom it happened to. FieldPath names the container: spec.containers{web}.
type Object struct {
	Kind       string `json:"kind,omitempty"`
	APIVersion string `json:"apiVersion,omitempty"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name,omitempty"`
	UID        string `json:"uid,omitempty"`
	FieldPath  string `json:"fieldPath,omitempty"`
}

// A Source is who tells.
type Source struct {
	Component string `json:"component,omitempty"`
	Host      string `json:"host,omitempty"`
}

// maxSize is how long a part of the file may grow, in bytes.
const maxSize = 4 << 20

// longest is how many bytes of a message are kept: Kubernetes' own limit.
const longest = 1024

func file(dirs state.Dirs) string { return path.Join(dirs.Data, "kube", "events.jsonl") }

// Append writes e down. Its name, times and count are made up where it has none.
func Append(dirs state.Dirs, e Event) error {
	if e.Last.IsZero() {
		e.Last = time.Now()
	}
	e.Last = e.Last.UTC()
	if e.First.IsZero() {
		e.First = e.Last
	}
	if e.Metadata.Name == "" {
		e.Metadata.Name = fmt.Sprintf("%s.%x", e.Object.Name, e.First.UnixNano())
	}
	e.Metadata.Namespace = cmp.Or(e.Metadata.Namespace, e.Object.Namespace)
	if e.Metadata.Created.IsZero() {
		e.Metadata.Created = e.First
	}
	e.Count = max(e.Count, 1)
	e.Message = clip(e.Message)
	line, err := json.Marshal(e)
	if err == nil {
		err = state.Make(path.Dir(file(dirs)))
	}
	if err == nil {
		err = jsonl.Append(file(dirs), maxSize, append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("append to the events: %w", err)
	}
	return nil
}

// clip cuts a message at a letter's end.
func clip(text string) string {
	if len(text) <= longest {
		return text
	}
	end := longest - len("…")
	for end > 0 && text[end]&0xc0 == 0x80 {
		end--
	}
	return text[:end] + "…"
}

// List returns the events, those that happened last at the end. One that happened several times is there once, with its count.
func List(dirs state.Dirs) ([]Event, error) {
	files, err := jsonl.Open(file(dirs))
	if err != nil {
		return nil, fmt.Errorf("read the events: %w", err)
	}
	defer files.Close()
	at, list := map[string]int{}, []Event{}
	err = files.Read(func(line []byte) error {
		e, ok := parse(line)
		if !ok {
			return nil
		}
		key := e.Metadata.Namespace + "/" + e.Metadata.Name
		if i, found := at[key]; found {
			list[i] = e
			return nil
		}
		at[key] = len(list)
		list = append(list, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the events: %w", err)
	}
	slices.SortStableFunc(list, func(a, b Event) int { return a.Last.Compare(b.Last) })
	return list, nil
}

// Follow calls do with each event that is written from now on, until do answers an error, which Follow returns as it is, or ctx ends.
func Follow(ctx context.Context, dirs state.Dirs, do func(Event) error) error {
	if err := state.Make(path.Dir(file(dirs))); err != nil { // or there is nothing to watch
		return fmt.Errorf("follow the events: %w", err)
	}
	files, err := jsonl.Open(file(dirs))
	if err != nil {
		return fmt.Errorf("follow the events: %w", err)
	}
	defer files.Close()
	if err := files.Rewind(func([]byte) bool { return false }); err != nil {
		return fmt.Errorf("follow the events: %w", err)
	}
	var refused error
	err = files.Follow(ctx, nil, func(line []byte) error {
		if e, ok := parse(line); ok {
			refused = do(e)
		}
		return refused
	}, func() error { return nil })
	if refused != nil || err == nil || errors.Is(err, ctx.Err()) {
		return cmp.Or(refused, err)
	}
	return fmt.Errorf("follow the events: %w", err)
}

// parse reads a line, which its owner may have edited.
func parse(line []byte) (e Event, ok bool) {
	return e, json.Unmarshal(line, &e) == nil && e.Metadata.Name != "" && e.Reason != ""
}

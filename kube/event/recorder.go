package event

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"codeberg.org/minipod/minipod/state"
)

// The bounds of client-go's event correlator: how many events at once an object (here: each part of it, each container) may have, and how fast that many come back; and how many
// that differ in their message alone are told apart, within which time.
const (
	burst        = 25
	refill       = 5 * time.Minute
	similarLimit = 10
	similarSpan  = 10 * time.Minute
	remembered   = 4096
)

// combined begins the message of an event that stands for many similar ones.
const combined = "(combined from similar events): "

// A Recorder tells events of one object: what repeats gets a count, what floods is dropped. It is safe for any number of goroutines.
type Recorder struct {
	Object Object
	Source Source
	Now    func() time.Time
	Write  func(Event) error // an error is nobody's to hear: events are for those who look

	mu      sync.Mutex
	known   map[string]*Event
	similar map[string]*crowd
	buckets map[string]*bucket // by field path
}

// A bucket has a token for each event that may be told.
type bucket struct {
	tokens float64
	filled time.Time
}

// A crowd are events that differ in their messages alone.
type crowd struct {
	messages map[string]bool
	last     time.Time
}

// NewRecorder returns a recorder that writes to dirs.
func NewRecorder(dirs state.Dirs, o Object, s Source) *Recorder {
	return &Recorder{Object: o, Source: s, Now: time.Now, Write: func(e Event) error { return Append(dirs, e) }}
}

// Tell records that something happened to the object, or to a part of it.
func (r *Recorder) Tell(kind, reason, fieldPath, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, message := r.Now(), clip(fmt.Sprintf(format, args...))
	if !r.allow(fieldPath, now) {
		return
	}
	group := kind + "\x00" + reason + "\x00" + fieldPath
	key := group + "\x00" + message
	if r.crowded(group, message, now) {
		key, message = group, clip(combined+message)
	}
	e := r.known[key]
	if e == nil {
		object := r.Object
		object.FieldPath = fieldPath
		e = &Event{
			Metadata: Metadata{Name: fmt.Sprintf("%s.%x", object.Name, now.UnixNano()+int64(len(r.known))), Namespace: object.Namespace},
			Object:   object, Reason: reason, Source: r.Source, First: now, Type: kind, Controller: r.Source.Component, Instance: r.Source.Host,
		}
		r.remember(key, e)
	}
	e.Message, e.Last = message, now
	e.Count++
	_ = r.Write(*e)
}

// remember keeps an event to count it, and forgets the oldest where there are too many.
func (r *Recorder) remember(key string, e *Event) {
	if r.known == nil {
		r.known = map[string]*Event{}
	}
	if len(r.known) >= remembered {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(r.known)), func(a, b string) int { return r.known[a].Last.Compare(r.known[b].Last) })
		delete(r.known, oldest)
	}
	r.known[key] = e
}

// crowded tells whether so many events of a group differ that they are one.
func (r *Recorder) crowded(group, message string, now time.Time) bool {
	if r.similar == nil {
		r.similar = map[string]*crowd{}
	}
	c := r.similar[group]
	if c == nil || now.Sub(c.last) > similarSpan {
		c = &crowd{messages: map[string]bool{}}
		r.similar[group] = c
	}
	c.last = now
	if len(c.messages) >= similarLimit {
		return !c.messages[message]
	}
	c.messages[message] = true
	return false
}

// allow takes a token out of the bucket.
func (r *Recorder) allow(fieldPath string, now time.Time) bool {
	if r.buckets == nil {
		r.buckets = map[string]*bucket{}
	}
	b := r.buckets[fieldPath]
	if b == nil {
		b = &bucket{tokens: burst, filled: now}
		r.buckets[fieldPath] = b
	}
	b.tokens = min(burst, b.tokens+now.Sub(b.filled).Seconds()/refill.Seconds())
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

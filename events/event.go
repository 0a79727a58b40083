package events

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Types of what an event happens to, in docker's words.
const (
	TypeContainer = "container"
	TypeImage     = "image"
	TypeVolume    = "volume"
	TypeNetwork   = "network"
)

// An Event has docker's fields, and prints docker's JSON. The first three repeat others: they are what docker once had alone.
type Event struct {
	Status   string `json:"status,omitempty"`
	ID       string `json:"id,omitempty"`
	From     string `json:"from,omitempty"`
	Type     string
	Action   string // "start", "die", "exec_create: sh"
	Actor    Actor
	Scope    string `json:"scope,omitempty"` // "local"
	Time     int64  `json:"time,omitempty"`  // seconds since 1970
	TimeNano int64  `json:"timeNano,omitempty"`
}

// An Actor is what it happened to.
type Actor struct {
	ID         string // of a volume: its name
	Attributes map[string]string
}

// Container makes an event of a container. Its attributes are, as docker's, its labels, its image and its name; and what more
// has beyond those: exitCode, signal.
func Container(action, id, name, image string, labels, more map[string]string) Event {
	attributes := map[string]string{}
	maps.Copy(attributes, labels)
	maps.Copy(attributes, more)
	attributes["image"], attributes["name"] = image, name
	return Event{Status: action, ID: id, From: image, Type: TypeContainer, Action: action, Actor: Actor{id, attributes}}
}

// Image makes an event of an image: pull, tag, untag, delete, load, save, import.
func Image(action, id, name string) Event {
	return Event{Status: action, ID: id, Type: TypeImage, Action: action, Actor: Actor{id, map[string]string{"name": name}}}
}

// Volume makes an event of a volume: create, mount, unmount, destroy. The container is that which mounts it, or "".
func Volume(action, name, container string) Event {
	attributes := map[string]string{"driver": "local"}
	if container != "" {
		attributes["container"] = container
	}
	return Event{Type: TypeVolume, Action: action, Actor: Actor{name, attributes}}
}

// Network makes an event of a network: disconnect. The container is that which was in it.
func Network(action, name, container string) Event {
	return Event{Type: TypeNetwork, Action: action, Actor: Actor{name, map[string]string{"container": container, "name": name, "type": "bridge"}}}
}

// at answers when it happened.
func (e Event) at() time.Time {
	if e.TimeNano != 0 {
		return time.Unix(0, e.TimeNano)
	}
	return time.Unix(e.Time, 0)
}

// String is docker's line for people, its time in the local zone:
//
//	2026-11-27T11:22:33.123456789+01:00 container start <id> (image=alpine, name=x)
//
// A label comes from an image, which anybody may have made: it can't end the line or command the terminal.
func (e Event) String() string { return e.in(time.Local) }

func (e Event) in(zone *time.Location) string {
	line := e.at().In(zone).Format("2006-01-02T15:04:05.000000000Z07:00") + " " + e.Type + " " + e.Action + " " + e.Actor.ID
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(e.Actor.Attributes)) {
		pairs = append(pairs, key+"="+e.Actor.Attributes[key])
	}
	if len(pairs) > 0 {
		line += " (" + strings.Join(pairs, ", ") + ")"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || 0x7f <= r && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, line)
}

// A Filter is docker's: different names must all match; of one name's values any may, but of labels all. See FilterNames.
type Filter map[string][]string

// FilterNames are the names that a Filter may have.
func FilterNames() []string {
	return []string{"container", "event", "image", "label", "type", "volume"}
}

// Match tells whether e passes the filter.
func (f Filter) Match(e Event) bool {
	of := func(kind string, values ...string) []string { // only events of that kind have such a value
		if e.Type == kind {
			return values
		}
		return nil
	}
	attributes := e.Actor.Attributes
	image := of(TypeImage, e.Actor.ID, attributes["name"])
	image = append(image, of(TypeContainer, attributes["image"])...)
	for _, name := range image {
		image = append(image, withoutTag(name))
	}
	action, _, _ := strings.Cut(e.Action, ":") // "exec_create: sh", "health_status: healthy"
	return f.any("type", equal, e.Type) &&
		f.any("event", equal, e.Action, action) &&
		f.any("container", strings.HasPrefix, slices.Concat(of(TypeContainer, e.Actor.ID, attributes["name"]), of(TypeVolume, attributes["container"]), of(TypeNetwork, attributes["container"]))...) &&
		f.any("image", equal, image...) &&
		f.any("volume", strings.HasPrefix, of(TypeVolume, e.Actor.ID)...) &&
		f.labels(attributes)
}

// any tells whether one of the filter's values of that name fits one of the event's, or there are none to fit.
func (f Filter) any(name string, fits func(have, want string) bool, have ...string) bool {
	return len(f[name]) == 0 || slices.ContainsFunc(f[name], func(want string) bool {
		return want != "" && slices.ContainsFunc(have, func(have string) bool { return fits(have, want) })
	})
}

func equal(have, want string) bool { return have == want }

func (f Filter) labels(have map[string]string) bool {
	return !slices.ContainsFunc(f["label"], func(want string) bool {
		key, value, given := strings.Cut(want, "=")
		v, ok := have[key]
		return !ok || given && v != value
	})
}

// withoutTag takes ":tag" and "@sha256:…" from an image's name; a colon before the last slash is a port's.
func withoutTag(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		return name[:colon]
	}
	return name
}

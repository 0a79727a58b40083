package labs

import (
	"slices"
	"strconv"
	"strings"
)

// eventOrder passes where these things happened in this order, whatever else did in between: "die box exitCode=137"; but for what is told in `not`,
// which may not have happened at all. From `last`, what was before the last of the first kind does not count: that was another container of that
// name, or another attempt.
func eventOrder(j *Judge, a Args) Verdict {
	events, err := j.World.Events()
	if err != nil {
		return *unreadable(err)
	}
	order := a["order"]
	if a.one("from") == "last" {
		for i := range slices.Backward(events) {
			if events[i].fits(order[0]) {
				events = events[i:]
				break
			}
		}
	}
	var seen []string
	next, instead, spoilt := 0, "", false
	for _, e := range events {
		if next < len(order) && e.fits(order[next]) {
			seen, instead = append(seen, order[next]), ""
			next++
		} else if next < len(order) && e.is(order[next]) {
			instead = e.like(order[next])
		}
		if i := slices.IndexFunc(a["not"], e.fits); i >= 0 {
			seen, spoilt = append(seen, a["not"][i]), true
		}
	}
	if instead != "" {
		seen = append(seen, instead)
	}
	got, want := "none of it", strings.Join(order, j.say(", then "))
	if len(seen) > 0 {
		got = strings.Join(seen, j.say(", then "))
	}
	if len(a["not"]) > 0 {
		want += j.say("; without %s", strings.Join(a["not"], j.say(", ")))
	}
	return verdict(next == len(order) && !spoilt, Evidence{"minipod events --since 0 --until 0s", got, want})
}

// is tells whether that happened to that one, whatever its attributes.
func (e Event) is(pattern string) bool {
	words := strings.Fields(pattern)
	return len(words) > 1 && words[0] == e.Action && (words[1] == e.Name || words[1] == e.podContainer())
}

func (e Event) fits(pattern string) bool { return e.is(pattern) && e.like(pattern) == pattern }

// like is the event as the pattern has it, with the attributes that the pattern asks for.
func (e Event) like(pattern string) string {
	words := strings.Fields(pattern)
	for i, word := range words {
		if key, _, ok := strings.Cut(word, "="); ok {
			words[i] = key + "=" + e.Attributes[key]
		}
	}
	return strings.Join(words, " ")
}

// podContainer is pod:POD/CONTAINER for a container that belongs to a pod.
func (e Event) podContainer() string {
	return "pod:" + e.Attributes["io.kubernetes.pod.name"] + "/" + e.Attributes["io.kubernetes.container.name"]
}

// podRestarts compares how often the containers of a pod were started again, all together: RESTARTS of `minipod get pods`.
func podRestarts(j *Judge, a Args) Verdict {
	total := 0
	var parts []string
	for _, role := range a["of"] {
		kind, name, _ := strings.Cut(j.Lab.Roles[role], ":")
		if kind == "pod" {
			name = "pod:" + name
		}
		c, err := j.World.Container(name)
		if err != nil {
			_, refused := j.contained(name, false) // which says what is not there
			return *refused
		}
		total += c.Restarts
		parts = append(parts, j.who(role)+" "+strconv.Itoa(c.Restarts))
	}
	ok, want := j.compare(a, strconv.Itoa(total))
	return verdict(ok, Evidence{"minipod get pods", j.say("RESTARTS %d (%s)", total, strings.Join(parts, j.say(", "))), want})
}

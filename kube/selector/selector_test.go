package selector_test

import (
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/kube/selector"
)

func TestSelector(t *testing.T) {
	labels := map[string]string{"app": "web", "tier": "front"}
	fields := map[string]string{"status.phase": "Running", "metadata.name": "web"}
	for _, c := range []struct {
		labels, fields string
		want           bool
	}{
		{"", "", true},
		{"app=web", "", true},
		{"app==web,tier=front", "", true},
		{"app=db", "", false},
		{"app!=db", "", true},
		{"none!=x", "", true},
		{"app in (web, db)", "", true},
		{"app notin (web)", "", false},
		{"app", "", true},
		{"!app", "", false},
		{"!none", "", true},
		{"", "status.phase=Running", true},
		{"", "status.phase!=Running", false},
		{"app=web", "metadata.name=web,status.phase=Failed", false},
	} {
		s, err := selector.Parse(c.labels, c.fields)
		if err != nil {
			t.Errorf("%q, %q: %v", c.labels, c.fields, err)
			continue
		}
		if got, err := s.Match(labels, fields); got != c.want || err != nil {
			t.Errorf("%q, %q: %t, %v; want %t", c.labels, c.fields, got, err, c.want)
		}
		if s.Everything() != (c.labels+c.fields == "") {
			t.Errorf("%q, %q: everything is %t", c.labels, c.fields, s.Everything())
		}
	}
	if ok, err := (selector.Selector{}).Match(nil, nil); !ok || err != nil {
		t.Error("the zero one does not choose all")
	}
	for _, c := range [][2]string{{"a==b==c", ""}, {"app in web", ""}, {"-x=y", ""}, {"", "phase"}} {
		if _, err := selector.Parse(c[0], c[1]); err == nil {
			t.Errorf("%q was taken", c)
		}
	}
	s, err := selector.Parse("", "spec.unknown=x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Match(labels, fields); err == nil || err.Error() != "field label not supported: spec.unknown" {
		t.Error(err)
	}
}

func TestSpelling(t *testing.T) {
	for key, good := range map[string]bool{"app": true, "example.com/app": true, "a/b/c": false, "": false, "-a": false, strings.Repeat("x", 64): false} {
		if err := selector.CheckKey(key); (err == nil) != good {
			t.Errorf("key %q: %v", key, err)
		}
	}
	for value, good := range map[string]bool{"": true, "web": true, "a b": false, strings.Repeat("x", 64): false} {
		if err := selector.CheckValue(value); (err == nil) != good {
			t.Errorf("value %q: %v", value, err)
		}
	}
}

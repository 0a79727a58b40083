package print_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/kube/print"
)

func decoded(t *testing.T) map[string]any {
	t.Helper()
	data, err := os.ReadFile("testdata/pod.json")
	if err != nil {
		t.Fatal(err)
	}
	object, err := print.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func TestJSONPath(t *testing.T) {
	object := decoded(t)
	for template, want := range map[string]string{
		`{.metadata.name}`: "web",
		`{.status.containerStatuses[*].restartCount}`:     "2 0",
		`{.status.containerStatuses[0].lastState}`:        `{"terminated":{"exitCode":137,"finishedAt":"2026-11-27T11:00:04Z","message":"too much","reason":"OOMKilled","signal":9,"startedAt":"2026-11-27T11:00:03Z"}}`,
		`{.spec.containers[?(@.name=="log")].image}`:      "busybox",
		`{range .spec.containers[*]}{.name}{"\n"}{end}`:   "nginx\nlog\n",
		`{.status.conditions[?(@.type=="Ready")].status}`: "False",
		`{.nothing.there}`: "",
		`{.spec.containers[?(@.restartCount>1)].name} ok`:                  " ok",
		`{.status.containerStatuses[?(@.restartCount>1)]['name','ready']}`: "log false",
	} {
		var out strings.Builder
		if err := print.JSONPath(&out, template, object); err != nil || out.String() != want {
			t.Errorf("%s is %q, %v; want %q", template, out.String(), err, want)
		}
	}
	for _, template := range []string{"", "{.a", "{.a[?(]}"} {
		var out strings.Builder
		if err := print.JSONPath(&out, template, object); err == nil {
			t.Errorf("%s is %q", template, out.String())
		}
	}
}

func TestTemplate(t *testing.T) {
	for source, want := range map[string]string{
		`{{.metadata.name}} {{range .spec.containers}}{{.name}},{{end}}`:        "web nginx,log,",
		`{{exists . "metadata" "labels"}} {{exists . "metadata" "finalizers"}}`: "true false",
		`{{base64decode "aHVudGVyMg=="}}`:                                       "hunter2",
	} {
		var out strings.Builder
		if err := print.Template(&out, source, decoded(t)); err != nil || out.String() != want {
			t.Errorf("%s is %q, %v; want %q", source, out.String(), err, want)
		}
	}
	for _, source := range []string{"", "{{", "{{base64decode \"?\"}}", "{{.metadata.name.x}}"} {
		var out strings.Builder
		if err := print.Template(&out, source, decoded(t)); err == nil || out.Len() > 0 {
			t.Errorf("%s is %q, %v", source, out.String(), err)
		}
	}
}

func TestCustomColumns(t *testing.T) {
	objects := []map[string]any{decoded(t), {"metadata": map[string]any{"name": "bare"}}}
	got, err := print.Custom("NAME:.metadata.name,IMAGES:{.spec.containers[*].image},IP:status.podIP", objects)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := table(t, &print.Printer{}, got), ""+
		"NAME   IMAGES               IP\n"+
		"web    nginx:1.27,busybox   10.88.0.2\n"+
		"bare   <none>               <none>\n"; got != want {
		t.Errorf("\n%s, want\n%s", got, want)
	}
	for _, spec := range []string{"", "NAME", "NAME:", ":.a", "A:{.b", "A:{.a}{.b}"} {
		if _, err := print.Custom(spec, objects); err == nil {
			t.Errorf("%q was taken", spec)
		}
	}
}

func TestSortBy(t *testing.T) {
	object := func(name string, n any) map[string]any { return map[string]any{"name": name, "n": n} }
	given := []map[string]any{object("c", int64(10)), object("b", int64(9)), {"name": "a"}, object("d", 9.5)}
	for path, want := range map[string]string{"{.n}": "abdc", ".name": "abcd", "name": "abcd", ".none": "cbad"} {
		objects := slices.Clone(given)
		if err := print.SortBy(objects, path, func(o map[string]any) map[string]any { return o }); err != nil {
			t.Fatal(err)
		}
		var got string
		for _, o := range objects {
			got += o["name"].(string)
		}
		if got != want {
			t.Errorf("by %s: %s, want %s", path, got, want)
		}
	}
	if err := print.SortBy(given, "{.a}{.b}", func(o map[string]any) map[string]any { return o }); err == nil {
		t.Error("two paths are one")
	}
}

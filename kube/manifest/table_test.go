package manifest

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"codeberg.org/minipod/minipod/pod"
)

var update = flag.Bool("update", false, "write what the tests compare with: docs/kubernetes.md's table, testdata/errors.txtar")

// A use is a type that can be reached from an object, and where it stands there.
type use struct {
	t     reflect.Type
	paths []string
}

// reachable lists the types whose fields people can set, in the order in which an object has them.
func reachable(t *testing.T, x index) []*use {
	t.Helper()
	var order []*use
	found := map[reflect.Type]*use{}
	var visit func(of reflect.Type, path string, depth int)
	visit = func(of reflect.Type, path string, depth int) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
			if of.Kind() == reflect.Slice && of != reflect.TypeFor[[]byte]() {
				path += "[*]"
			}
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || isLeaf(of) {
			return
		}
		u := found[of]
		if u == nil {
			u = &use{t: of}
			found[of] = u
			order = append(order, u)
		}
		if slices.Contains(u.paths, path) || depth > 12 {
			return
		}
		u.paths = append(u.paths, path)
		for i := range of.NumField() {
			f := of.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Name == "TypeMeta" || name == "-":
			case name == "":
				visit(f.Type, path, depth+1)
			default:
				row := x.fields[[2]string{of.Name(), name}]
				// Nobody looks into what only a server writes, or what does nothing anyway.
				if row.Support == Done && name != "status" && name != "managedFields" {
					visit(f.Type, strings.TrimPrefix(path+"."+name, "."), depth+1)
				}
			}
		}
	}
	for _, kind := range kinds() {
		visit(reflect.TypeOf(newObject(kind)).Elem(), "", 0)
	}
	return order
}

// TestEveryFieldIsInTheTable holds the table to Kubernetes' types: with a newer k8s.io/api, a new field needs a decision.
func TestEveryFieldIsInTheTable(t *testing.T) {
	x := table()
	rows := map[[2]string]bool{}
	for _, u := range reachable(t, x) {
		for i := range u.t.NumField() {
			f := u.t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			key := [2]string{u.t.Name(), name}
			rows[key] = true
			row, ok := x.fields[key]
			if !ok {
				t.Errorf("%s.%s (%s) is not in the table", u.t.Name(), name, u.paths[0])
			}
			if ok && row.Support != Done && row.Note == "" {
				t.Errorf("%s.%s is %s without a reason", u.t.Name(), name, row.Support)
			}
		}
	}
	seen := map[[3]string]bool{}
	for _, f := range Fields() {
		if !rows[[2]string{f.Type, f.Name}] {
			t.Errorf("%s.%s is in the table and not in Kubernetes", f.Type, f.Name)
		}
		key := [3]string{f.Type, f.Name, f.Value}
		if seen[key] {
			t.Errorf("%v is in the table twice", key)
		}
		seen[key] = true
		if !slices.Contains([]string{Done, Warned, Refused}, f.Support) {
			t.Errorf("%v is %q", key, f.Support)
		}
	}
}

// TestPodHasWhatIsDone holds package pod to the table, and the table to package pod.
func TestPodHasWhatIsDone(t *testing.T) {
	x := table()
	seen := map[[2]reflect.Type]bool{}
	var compare func(theirs, ours reflect.Type, path string)
	compare = func(theirs, ours reflect.Type, path string) {
		theirs, ours = element(theirs), element(ours)
		if theirs.Kind() != reflect.Struct || isLeaf(theirs) || seen[[2]reflect.Type{theirs, ours}] {
			return
		}
		seen[[2]reflect.Type{theirs, ours}] = true
		if ours.Kind() != reflect.Struct {
			t.Errorf("%s is a %s in package pod and a struct in Kubernetes", path, ours)
			return
		}
		fields(theirs, func(name string, f reflect.StructField, owner reflect.Type) {
			row := x.fields[[2]string{owner.Name(), name}]
			our, ok := fieldNamed(ours, name)
			switch done := row.Support == Done && !row.Here; {
			case done && !ok:
				t.Errorf("%s.%s: done, and package pod's %s has no such field", path, name, ours)
			case !done && ok:
				t.Errorf("%s.%s: %s, and package pod's %s has this field", path, name, row.Support, ours)
			case done:
				compare(f.Type, our.Type, path+"."+name)
			}
		})
		for _, name := range fieldNames(ours) {
			// Package pod has one type where Kubernetes has two: of handlers, and of files.
			if _, ok := fieldNamed(theirs, name); !ok && !slices.Contains([]string{"sleep", "grpc", "defaultMode"}, name) {
				t.Errorf("%s.%s: package pod's %s has a field that Kubernetes doesn't", path, name, ours)
			}
		}
	}
	compare(reflect.TypeFor[v1.PodSpec](), reflect.TypeFor[pod.Spec](), "spec")
	for name := range map[string]bool{"name": true, "namespace": true, "uid": true, "labels": true, "annotations": true} {
		if _, ok := fieldNamed(reflect.TypeFor[pod.Metadata](), name); !ok {
			t.Errorf("package pod's metadata has no %s", name)
		}
	}
}

const (
	page  = "../../docs/kubernetes.md"
	begin = "<!-- The rest is generated from kube/manifest's table: go test ./kube/manifest -run TestPage -update -->\n"
)

// TestPage holds docs/kubernetes.md to the table.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(text), begin)
	if !ok {
		t.Fatalf("%s has no line %s", page, begin)
	}
	want := markdown(t)
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if after != want {
		t.Errorf("%s is not what kube/manifest's table says: run go test ./kube/manifest -run TestPage -update", page)
	}
}

// markdown is the table, a section for each type.
func markdown(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, u := range reachable(t, table()) {
		var plain []string
		var rows strings.Builder
		for _, f := range Fields() {
			switch name := "`" + f.Name + "`"; {
			case f.Type != u.t.Name():
			case f.Support == Done && f.Note == "" && f.Value == "":
				plain = append(plain, name)
			default:
				if f.Value != "" {
					name += " of `" + f.Value + "`"
				}
				note := f.Note
				var harmless []string
				for _, value := range f.Harmless {
					harmless = append(harmless, fmt.Sprintf("`%q`", value))
				}
				if len(harmless) > 0 {
					note += " (not said of " + strings.Join(harmless, ", ") + ")"
				}
				fmt.Fprintf(&rows, "| %s | %s | %s |\n", name, f.Support, strings.ReplaceAll(note, "|", "\\|"))
			}
		}
		if len(plain) == 0 && rows.Len() == 0 {
			continue // made of embedded types alone
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n| Field | | |\n|---|---|---|\n", u.t.Name(), where(u.paths))
		if len(plain) > 0 {
			fmt.Fprintf(&b, "| %s | done | |\n", strings.Join(plain, ", "))
		}
		b.WriteString(rows.String())
	}
	return b.String()
}

// where tells the first of the places of a type.
func where(paths []string) string {
	if paths[0] == "" {
		return "The object itself."
	}
	var quoted []string
	for _, path := range paths[:min(3, len(paths))] {
		quoted = append(quoted, "`"+path+"`")
	}
	if len(paths) > 3 {
		quoted = append(quoted, "…")
	}
	return "At " + strings.Join(quoted, ", ") + "."
}

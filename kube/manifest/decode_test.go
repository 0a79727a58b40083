package manifest

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	v1 "k8s.io/api/core/v1"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/pod"
)

const tiny = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

func TestOptions(t *testing.T) {
	in := func(namespace string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: " + namespace + "}\n"
	}
	for _, c := range []struct {
		text    string
		options Options
		want    string // the namespace, or an error
	}{
		{tiny, Options{}, "default"},
		{tiny, Options{Namespace: "x", Enforce: true}, "x"},
		{in("other"), Options{}, "other"},
		{in("other"), Options{Namespace: "x"}, "other"},
		{in("x"), Options{Namespace: "x", Enforce: true}, "x"},
		{in("other"), Options{Namespace: "x", Enforce: true}, `f: the namespace from the provided object "other" does not match the namespace "x"; pass --namespace=other`},
	} {
		var got string
		objects, err := c.options.Decode(strings.NewReader(c.text), "f")
		if err != nil {
			got = err.Error() + "; " + hint.Of(err)
		} else {
			got = objects[0].Namespace
		}
		if got != c.want {
			t.Errorf("%q with %+v: %s, want %s", c.text, c.options, got, c.want)
		}
	}
}

func TestGenerateName(t *testing.T) {
	text := strings.Replace(tiny, "name: a", "generateName: "+strings.Repeat("x", 70), 1)
	names := map[string]bool{}
	for range 3 {
		objects, err := Options{Generate: true}.Decode(strings.NewReader(text), "f")
		if err != nil {
			t.Fatal(err)
		}
		name := objects[0].Name
		if !strings.HasPrefix(name, strings.Repeat("x", 58)) || len(name) != 63 || strings.Trim(name[58:], nameLetters) != "" {
			t.Errorf("the name is %q", name)
		}
		names[name] = true
	}
	if len(names) != 3 {
		t.Errorf("names came twice: %v", names)
	}
}

// TestSplit: where a document begins, and on which line.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		text  string
		lines []int // of the documents, from 0
	}{
		{"", nil},
		{"a: b", []int{0}},
		{"---\na: b\n---\n", []int{0}},
		{"# x\n---\n# y\n--- # z\na: b\n...\n%YAML 1.1\n---\nc: d\n", []int{3, 7}},
		{"a: b\r\n---\r\nc: d\r\n", []int{0, 1}},
		{"\ufeffa: b\n---\tc\n", []int{0, 1}},
		{"text: |\n  ---\n  x\n----\n", []int{0}},
		{"{\"a\": 1}\n{\"b\": 2}\n\n{\"c\":\n3} ", []int{0, 1, 3}},
		{"{\"a\": 1}\n{\"b\"", []int{0}},
		{"{a: 1}\n", []int{0}},
	} {
		var lines []int
		for _, d := range split([]byte(c.text)) {
			lines = append(lines, d.line)
		}
		if asJSON(t, lines) != asJSON(t, c.lines) {
			t.Errorf("%q has documents at %v, want %v", c.text, lines, c.lines)
		}
	}
}

func TestTooMuch(t *testing.T) {
	large := tiny + "data: {a: " + strings.Repeat("x", 2<<20) + "}\n"
	_, err := Decode(strings.NewReader(large), "f")
	if want := `f: The ConfigMap "a" is invalid: data: Too long: may not be more than 1048576 bytes`; err == nil || err.Error() != want {
		t.Errorf("a large ConfigMap: %.200v, want %s", err, want)
	}
	large = tiny + "data: {a: " + strings.Repeat("x", maxDocument) + "}\n"
	if _, err := Decode(strings.NewReader(large), "f"); err == nil || err.Error() != "f: it has more than 3 MiB: request entity too large" {
		t.Errorf("a large document: %.200v", err)
	}
	if _, err := Decode(endless{}, "f"); err == nil || err.Error() != "read f: it has more than 64 MiB" {
		t.Errorf("an endless file: %.200v", err)
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n" +
		"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n"
	if _, err := Decode(strings.NewReader(bomb), "f"); err == nil || !strings.Contains(err.Error(), "excessive aliasing") {
		t.Errorf("a bomb of aliases: %.200v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

// TestLive: what `get -o yaml` shows is a v1.Pod to the last field of its status.
func TestLive(t *testing.T) {
	o := decodeOne(t, oldPod)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := *o.Pod
	p.Metadata.UID, p.Metadata.Created, p.Metadata.Deleted, p.Metadata.Grace = "u", at, &at, new(int64(30))
	status := &pod.Status{
		Phase: "Running", Message: "m", Reason: "r", HostIP: "10.0.0.1", HostIPs: []pod.IP{{IP: "10.0.0.1"}}, PodIP: "10.88.0.2", PodIPs: []pod.IP{{IP: "10.88.0.2"}},
		StartTime: at, QOSClass: "Burstable", ObservedGeneration: 1,
		Conditions: []pod.Condition{{Type: "Ready", Status: "False", Reason: "ContainersNotReady", Message: "m", Transition: at}},
		InitContainerStatuses: []pod.ContainerStatus{{Name: "init", State: pod.ContainerState{Terminated: &pod.Terminated{
			ExitCode: 137, Signal: 9, Reason: "OOMKilled", Message: "m", StartedAt: at, FinishedAt: at, ContainerID: "minipod://x",
		}}}},
		ContainerStatuses: []pod.ContainerStatus{{
			Name: "web", Ready: true, RestartCount: 2, Image: "web:1", ImageID: "sha256:1", ContainerID: "minipod://y", Started: new(true),
			State:     pod.ContainerState{Running: &pod.RunningSince{StartedAt: at}},
			LastState: pod.ContainerState{Waiting: &pod.Waiting{Reason: "CrashLoopBackOff", Message: "m"}},
		}},
	}
	data, err := Live(o.JSON, &p, status)
	if err != nil {
		t.Fatal(err)
	}
	var theirs v1.Pod
	if err := strict(document{}, data, "Pod", &theirs); err != nil {
		t.Fatal(err)
	}
	var ours struct {
		Status   json.RawMessage
		Metadata pod.Metadata
	}
	if err := json.Unmarshal(data, &ours); err != nil {
		t.Fatal(err)
	}
	if asJSON(t, ours.Metadata) != asJSON(t, p.Metadata) {
		t.Errorf("its metadata is %s, want %s", asJSON(t, ours.Metadata), asJSON(t, p.Metadata))
	}
	var got, want any
	if err := json.Unmarshal(ours.Status, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(asJSON(t, status)), &want); err != nil {
		t.Fatal(err)
	}
	withoutNothing(got)
	withoutNothing(want)
	if asJSON(t, got) != asJSON(t, want) {
		t.Errorf("its status is\n%s\nwant\n%s", asJSON(t, got), asJSON(t, want))
	}
	text, err := YAML(data)
	if err != nil || !strings.HasPrefix(string(text), "apiVersion: v1\nkind: Pod\nmetadata:\n  creationTimestamp: \"2026-01-02T03:04:05Z\"\n") {
		t.Errorf("as YAML: %v\n%s", err, text)
	}
}

// withoutNothing drops empty objects: the one writes them, the other doesn't.
func withoutNothing(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			withoutNothing(inner)
			if object, ok := inner.(map[string]any); ok && len(object) == 0 {
				delete(v, name)
			}
		}
	case []any:
		for _, inner := range v {
			withoutNothing(inner)
		}
	}
}

// FuzzDecode: whatever a file has, Decode answers objects or an error, and takes what it answered.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"testdata/examples.txtar", "testdata/errors.txtar"} {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if strings.HasSuffix(file.Name, ".yaml") {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := Decode(bytes.NewReader(data), "f")
		if len(objects) == 0 && err == nil {
			t.Fatal("neither an object nor an error")
		}
		for _, o := range objects {
			again, err := Decode(bytes.NewReader(o.JSON), "again")
			if err != nil || len(again) != 1 || string(again[0].JSON) != string(o.JSON) {
				t.Fatalf("%s\ndecoded again: %v, %v", o.JSON, again, err)
			}
			if o.Pod == nil {
				continue
			}
			text, err := Export(o.Pod)
			if err != nil {
				t.Fatal(err)
			}
			if exported, err := Decode(bytes.NewReader(text), "exported"); err != nil || asJSON(t, exported[0].Pod) != asJSON(t, o.Pod) {
				t.Fatalf("%s\nexported and read again: %v", text, err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for b.Loop() {
		if _, err := Decode(strings.NewReader(oldPod), "x"); err != nil {
			b.Fatal(err)
		}
	}
}

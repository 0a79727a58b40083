package cli

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"

	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/pod"
)

func TestParseExecLine(t *testing.T) {
	for line, want := range map[string]execLine{
		"web ls -l":                      {name: "web", command: []string{"ls", "-l"}},
		"-it web sh":                     {name: "web", command: []string{"sh"}, docker: []string{"--interactive=true", "--tty=true"}},
		"web -- ls -l":                   {name: "web", command: []string{"ls", "-l"}},
		"web -c app -it -- sh -c true":   {name: "web", command: []string{"sh", "-c", "true"}, docker: []string{"--interactive=true", "--tty=true"}, container: "app", pod: true},
		"-n other pod/web -- env":        {name: "pod/web", command: []string{"env"}, namespace: "other", pod: true},
		"-e A=b web -n other env":        {name: "web", command: []string{"env"}, docker: []string{"--env=A=b"}, namespace: "other", pod: true},
		"--container=app web -- -x -- y": {name: "web", command: []string{"-x", "--", "y"}, container: "app", pod: true},
		"web":                            {name: "web"},
	} {
		got, err := parseExecLine(strings.Fields(line))
		if len(got.command) == 0 {
			got.command = nil
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, %v; want %+v", line, got, err, want)
		}
	}
	if _, err := parseExecLine([]string{"web", "-Z"}); err == nil {
		t.Error("-Z was taken")
	}
	if got := (execLine{docker: []string{"--tty=true"}, command: []string{"sh", "-c"}}).in("id"); !reflect.DeepEqual(got, []string{"--tty=true", "--", "id", "sh", "-c"}) {
		t.Error(got)
	}
}

func TestParseForwarding(t *testing.T) {
	p := &print.Pod{}
	p.Spec.Containers = []pod.Container{{Ports: []pod.ContainerPort{{Name: "http", ContainerPort: 80}}}}
	for text, want := range map[string]forwarding{
		"8080:80": {8080, 80}, "80": {80, 80}, ":80": {0, 80}, "8080:http": {8080, 80}, "http": {80, 80}, "0:80": {0, 80},
	} {
		if got, err := parseForwarding(text, p); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ":", "x", "80:", "70000", "70000:80", "-1:80", "80:0", "80:nope", "1:2:3"} {
		if got, err := parseForwarding(text, p); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestParseCondition(t *testing.T) {
	o := &kubeObject{pod: &print.Pod{Status: pod.Status{Conditions: []pod.Condition{{Type: "Ready", Status: "True"}}}}}
	o.fields = map[string]any{"status": map[string]any{"phase": "Running", "list": []any{"a", "b"}}}
	for text, want := range map[string]bool{
		"condition=Ready": true, "condition=ready=true": true, "condition=Ready=False": false, "condition=Initialized": false,
		"jsonpath={.status.phase}=Running": true, "jsonpath='{.status.phase}'": false, "jsonpath={.status.phase}=Failed": false,
		"jsonpath={.status.phase}": true, "jsonpath={.status.podIP}": false, "jsonpath=.status.phase=Running": true, "create": true,
	} {
		c, err := parseCondition(text)
		if strings.Contains(text, "'") { // the shell's quotes, which never come this far
			if err == nil {
				t.Errorf("%s was taken", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := c.met(o); got != want || err != nil {
			t.Errorf("%s is %t, %v; want %t", text, got, err, want)
		}
	}
	if c, err := parseCondition("delete"); err != nil || c.met != nil {
		t.Errorf("delete: %v", err)
	}
	for _, text := range []string{"", "condition", "condition=", "Ready", "jsonpath=", "jsonpath={.a}=", "jsonpath={.a}x", "jsonpath={.a}{.b}"} {
		if _, err := parseCondition(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	c, err := parseCondition("jsonpath={.status.list[*]}=a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.met(o); err == nil {
		t.Error("a path of two values was compared")
	}
}

func TestParseMarking(t *testing.T) {
	m, targets, err := parseMarking([]string{"pod", "web", "a=b", "c/d=", "e-"}, "label", "labels")
	if err != nil || !reflect.DeepEqual(targets, []string{"pod", "web"}) || !reflect.DeepEqual(m.set, map[string]string{"a": "b", "c/d": ""}) || !reflect.DeepEqual(m.remove, []string{"e"}) {
		t.Errorf("%+v %v %v", m, targets, err)
	}
	for _, line := range []string{"pod web a=b more", "pod web a=b a-", "pod web a b=c/d", "pod web =x", "pod web a=" + strings.Repeat("x", 64)} {
		if _, _, err := parseMarking(strings.Fields(line), "label", "labels"); err == nil {
			t.Errorf("%s was taken", line)
		}
	}
	if _, _, err := parseMarking([]string{"pod", "web", "a=any text/at all"}, "annotate", "annotations"); err != nil {
		t.Error(err)
	}
}

// TestLineWriter has two logs whose lines must not mix.
func TestLineWriter(t *testing.T) {
	var out bytes.Buffer
	var mu sync.Mutex
	a, b := &lineWriter{w: &out, mu: &mu, prefix: "[a] "}, &lineWriter{w: &out, mu: &mu, prefix: "[b] "}
	for _, w := range []struct {
		to   io.Writer
		text string
	}{{a, "one"}, {b, "two\nthree"}, {a, " more\n"}, {b, "\nend"}} {
		if n, err := io.WriteString(w.to, w.text); err != nil || n != len(w.text) {
			t.Fatal(n, err)
		}
	}
	if err := b.flush(); err != nil {
		t.Fatal(err)
	}
	if want := "[b] two\n[a] one more\n[b] three\n[b] end\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	if _, err := a.Write(bytes.Repeat([]byte("x"), 10*longestLine)); err != nil || out.Len() < 10*longestLine || len(a.rest) > longestLine {
		t.Errorf("an endless line: %d written, %d kept, %v", out.Len(), len(a.rest), err)
	}
}

func TestChooseContainer(t *testing.T) {
	var said bytes.Buffer
	a := &app{err: &said}
	p := &print.Pod{}
	p.Metadata.Name = "web"
	p.Spec.InitContainers, p.Spec.Containers = []pod.Container{{Name: "setup"}}, []pod.Container{{Name: "app"}, {Name: "log"}}
	if name, err := a.chooseContainer(p, ""); name != "app" || err != nil || said.String() != "Defaulted container \"app\" out of: app, log, setup (init)\n" {
		t.Errorf("%s, %v, %q", name, err, said.String())
	}
	p.Metadata.Annotations = map[string]string{defaultContainer: "log"}
	if name, err := a.chooseContainer(p, ""); name != "log" || err != nil {
		t.Errorf("by its annotation: %s, %v", name, err)
	}
	if name, err := a.chooseContainer(p, "setup"); name != "setup" || err != nil {
		t.Errorf("%s, %v", name, err)
	}
	if _, err := a.chooseContainer(p, "nope"); err == nil || err.Error() != "container nope is not valid for pod web" {
		t.Error(err)
	}
}

func TestObjectName(t *testing.T) {
	if got := objectName("My_App.1-"); got != "my-app-1" {
		t.Error(got)
	}
	if got := objectName(strings.Repeat("_", 80)); got != "container" {
		t.Error(got)
	}
}

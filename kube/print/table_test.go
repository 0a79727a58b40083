package print_test

import (
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/pod"
)

func table(t *testing.T, p *print.Printer, tables ...print.Table) string {
	t.Helper()
	var out strings.Builder
	for _, table := range tables {
		if err := p.Print(&out, table); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestTable(t *testing.T) {
	p := story{phase: "Running", main: []pod.ContainerStatus{{State: runs(), Ready: true}}}.pod()
	p.Status.PodIPs = []pod.IP{{IP: "10.88.0.2"}}
	pods := print.Pods([]print.Pod{p}, "box", now)
	if got, want := table(t, &print.Printer{}, pods), ""+
		"NAME   READY   STATUS    RESTARTS   AGE\n"+
		"web    1/1     Running   0          90s\n"; got != want {
		t.Errorf("\n%s, want\n%s", got, want)
	}
	if got, want := table(t, &print.Printer{Wide: true}, pods), ""+
		"NAME   READY   STATUS    RESTARTS   AGE   IP          NODE   NOMINATED NODE   READINESS GATES\n"+
		"web    1/1     Running   0          90s   10.88.0.2   box    <none>           <none>\n"; got != want {
		t.Errorf("\n%s, want\n%s", got, want)
	}
	// What is watched stays below what came first, and titles come once.
	later := print.Pods([]print.Pod{p}, "box", now)
	later.Rows[0][2] = "ImagePullBackOff"
	if got, want := table(t, &print.Printer{}, pods, pods, later, pods), ""+
		"NAME   READY   STATUS    RESTARTS   AGE\n"+
		"web    1/1     Running   0          90s\n"+
		"web    1/1     Running   0          90s\n"+
		"web    1/1     ImagePullBackOff   0          90s\n"+
		"web    1/1     Running            0          90s\n"; got != want {
		t.Errorf("\n%s, want\n%s", got, want)
	}
	pods.Prepend("NAMESPACE", []string{"default"})
	pods.Append("LABELS", []string{print.Labels(map[string]string{"b": "2", "a": "1"})})
	if got, want := table(t, &print.Printer{NoHeaders: true}, pods), "default   web   1/1   Running   0     90s   a=1,b=2\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestHostile has cells that would leave their line, or command a terminal.
func TestHostile(t *testing.T) {
	p := story{phase: "Failed", reason: "a\x1b[2J\nb"}.pod()
	if got := table(t, &print.Printer{NoHeaders: true}, print.Pods([]print.Pod{p}, "box", now)); got != "web   0/0   a\uFFFD[2J...   0     90s\n" {
		t.Errorf("%q", got)
	}
	p.Status.Message = "\x1b]0;title\a"
	if got := print.DescribePod(&p, "box", nil, now); strings.ContainsAny(got, "\x1b\a") {
		t.Errorf("%q", got)
	}
}

func TestObjects(t *testing.T) {
	created := pod.Metadata{Name: "x", Created: ago(3 * time.Hour)}
	class, mode := "standard", "Filesystem"
	for name, c := range map[string]struct {
		table print.Table
		want  string
	}{
		"ConfigMap": {print.ConfigMaps([]print.Object{{Metadata: created, BinaryData: map[string]string{"b": "", "c": ""}}}, now), "" +
			"NAME   DATA   AGE\n" +
			"x      2      3h\n"},
		"Secret": {print.Secrets([]print.Object{{Metadata: created}}, now), "" +
			"NAME   TYPE     DATA   AGE\n" +
			"x      Opaque   0      3h\n"},
		"PersistentVolumeClaim": {print.Claims([]print.Object{
			{
				Metadata: created, Status: print.ClaimStatus{Phase: "Bound", Capacity: map[string]pod.Quantity{"storage": "1Gi"}},
				Spec: print.Claim{VolumeName: "v", AccessModes: []string{"ReadWriteMany", "ReadWriteOnce"}, StorageClassName: &class, VolumeMode: &mode},
			},
		}, now), "" +
			"NAME   STATUS   VOLUME   CAPACITY   ACCESS MODES   STORAGECLASS   VOLUMEATTRIBUTESCLASS   AGE   VOLUMEMODE\n" +
			"x      Bound    v        1Gi        RWO,RWX        standard       <unset>                 3h    Filesystem\n"},
	} {
		if got := table(t, &print.Printer{Wide: name == "PersistentVolumeClaim"}, c.table); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, c.want)
		}
	}
}

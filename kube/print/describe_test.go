package print_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/pod"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant, by %s,\n%s", got, file, want)
	}
}

func readPod(t *testing.T) print.Pod {
	t.Helper()
	data, err := os.ReadFile("testdata/pod.json")
	if err != nil {
		t.Fatal(err)
	}
	var p print.Pod
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func someEvents() []print.Event {
	object := event.Object{Kind: "Pod", Namespace: "shop", Name: "web", FieldPath: "spec.containers{log}"}
	return []print.Event{
		{
			Metadata: event.Metadata{Name: "web.2", Namespace: "shop"}, Object: object, Type: event.Warning, Reason: "BackOff",
			Message: "Back-off restarting failed container log in pod web", Source: event.Source{Component: "kubelet", Host: "box"},
			First: ago(10 * time.Minute), Last: ago(30 * time.Second), Count: 12,
		},
		{
			Metadata: event.Metadata{Name: "web.1", Namespace: "shop"}, Object: event.Object{Kind: "Pod", Namespace: "shop", Name: "web"}, Type: event.Normal, Reason: "Scheduled",
			Message: "Successfully assigned shop/web to box", Source: event.Source{Component: "default-scheduler"}, First: ago(time.Hour), Last: ago(time.Hour), Count: 1,
		},
	}
}

func TestDescribePod(t *testing.T) {
	p := readPod(t)
	golden(t, "pod.txt", print.DescribePod(&p, "box", someEvents(), now))
	at, grace := now, int64(30)
	p.Metadata.Deleted, p.Metadata.Grace = &at, &grace
	p.Metadata.Labels, p.Metadata.Annotations, p.Spec.Volumes, p.Status.PodIPs, p.Spec.InitContainers, p.Spec.Containers = nil, nil, nil, nil, nil, p.Spec.Containers[1:]
	golden(t, "bare.txt", print.DescribePod(&p, "box", nil, now))
}

func TestDescribeObjects(t *testing.T) {
	m := pod.Metadata{Name: "x", Namespace: "shop", Labels: map[string]string{"a": "b"}}
	golden(t, "configmap.txt", print.DescribeConfigMap(&print.Object{
		Metadata: m, Data: map[string]json.RawMessage{"k": json.RawMessage(`"one\ntwo"`), "j": json.RawMessage(`"v"`)}, BinaryData: map[string]string{"b": "AAECAw=="},
	}))
	golden(t, "secret.txt", print.DescribeSecret(&print.Object{Metadata: m, Data: map[string]json.RawMessage{"password": json.RawMessage(`"aHVudGVyMg=="`)}}))
	golden(t, "claim.txt", print.DescribeClaim(&print.Object{
		Metadata: m, Spec: print.Claim{VolumeName: "v", AccessModes: []string{"ReadWriteOnce"}}, Status: print.ClaimStatus{Phase: "Bound", Capacity: map[string]pod.Quantity{"storage": "1Gi"}},
	}, []string{"web", "db"}))
}

func TestEvents(t *testing.T) {
	golden(t, "events.txt", table(t, &print.Printer{}, print.Events(someEvents(), now)))
	golden(t, "events-wide.txt", table(t, &print.Printer{Wide: true}, print.Events(someEvents(), now)))
	golden(t, "happenings.txt", table(t, &print.Printer{}, print.Happenings(someEvents(), now)))
}

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/kube/event"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/state"
	"codeberg.org/minipod/minipod/volume"
)

const someObjects = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {tier: web}}
data: {colour: red}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {password: hunter2}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

// madePod writes a pod down that has come to its end, so that nobody starts it.
func madePod(t *testing.T, name string, labels map[string]string, s pod.Status) *pod.Stored {
	t.Helper()
	dirs, err := state.Find(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	p := &pod.Pod{Metadata: pod.Metadata{Name: name, Namespace: "default", Labels: labels}}
	p.Spec.RestartPolicy = "Never"
	for _, c := range s.ContainerStatuses {
		p.Spec.Containers = append(p.Spec.Containers, pod.Container{Name: c.Name, Image: c.Image})
	}
	manifest, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	made, err := pod.Create(dirs, p, manifest)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(made.Dir(), "status.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return made
}

func ended(name string, code int32, reason string) pod.ContainerStatus {
	return pod.ContainerStatus{Name: name, Image: "busybox", State: pod.ContainerState{Terminated: &pod.Terminated{ExitCode: code, Reason: reason, FinishedAt: time.Now()}}}
}

// TestKubeTyped is a table of kubectl's sessions: what is typed, and what comes back.
func TestKubeTyped(t *testing.T) {
	home(t)
	dirs, err := state.Find(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(someObjects), 0o600); err != nil {
		t.Fatal(err)
	}
	done := madePod(t, "done", map[string]string{"app": "a"}, pod.Status{Phase: pod.Succeeded, ContainerStatuses: []pod.ContainerStatus{ended("c", 0, "Completed")}})
	madePod(t, "broken", map[string]string{"app": "b"}, pod.Status{Phase: pod.Failed, ContainerStatuses: []pod.ContainerStatus{ended("c", 3, "Error"), ended("d", 0, "Completed")}})
	for _, e := range []event.Event{
		{Type: event.Normal, Reason: "Started", Message: "Started container c", Object: event.Object{Kind: "Pod", Namespace: "default", Name: "done", UID: done.Metadata.UID}},
		{Type: event.Warning, Reason: "Failed", Message: "of another with this name", Object: event.Object{Kind: "Pod", Namespace: "default", Name: "done", UID: "gone"}},
	} {
		if err := event.Append(dirs, e); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		line   string
		out    string // all of standard output, or with … around it a part
		err    string // contained in standard error
		status int
	}{
		{"get pods", "NAME     READY   STATUS      RESTARTS   AGE\nbroken   0/2     Error       0          0s\ndone     0/1     Completed   0          0s\n", "", 0},
		{"get po done --no-headers", "done   0/1   Completed   0     0s\n", "", 0},
		{"get pods -l app=a -o name", "pod/done\n", "", 0},
		{"get pods -l app!=a -oname", "pod/broken\n", "", 0},
		{"get pods -l app=c", "", "No resources found in default namespace.\n", 0},
		{"get pods -n other", "", "No resources found in other namespace.\n", 0},
		{"get pods -A --no-headers -o wide -l app=a", "…default   done   0/1   Completed   0     0s    <none>…", "", 0},
		{"get pods -l app=a --show-labels --no-headers", "done   0/1   Completed   0     0s    app=a\n", "", 0},
		{"get pods -L app --no-headers -l app=a", "done   0/1   Completed   0     0s    a\n", "", 0},
		{"get pods --field-selector status.phase=Failed -o name", "pod/broken\n", "", 0},
		{"get pods --field-selector status.podIPs=1", "", "minipod: Error from server (BadRequest): field label not supported: status.podIPs\n", 1},
		{"get pods --sort-by {.spec.containers[1].name} -o name", "pod/done\npod/broken\n", "", 0},
		{"get pod done -o jsonpath={.status.phase}", "Succeeded", "", 0},
		{"get pods -o jsonpath={.items[*].metadata.name}", "broken done", "", 0},
		{"get pods -o go-template={{len\u00a0.items}}", "2", "", 0},
		{"get pods -o custom-columns=N:.metadata.name,C:.spec.containers[*].name", "N        C\nbroken   c,d\ndone     c\n", "", 0},
		{"get pod done -o json", "…    \"kind\": \"Pod\",\n…", "", 0},
		{"get pods -n other -o yaml", "apiVersion: v1\nitems: []\nkind: List\nmetadata:\n  resourceVersion: \"\"\n", "", 0},
		{"get pods -o xml", "", "unable to match a printer suitable for the output format \"xml\"", 1},
		{"get pod nope", "", "minipod: Error from server (NotFound): pods \"nope\" not found\nhint: list what there is: minipod get pods -A\n", 1},
		{"get pod nope done -o name", "pod/done\n", "pods \"nope\" not found", 1},
		{"get pod nope --ignore-not-found", "", "", 0},
		{"get", "", "you must specify the type of resource", 1},
		{"get deployments", "", "the server doesn't have a resource type \"deployments\"", 1},
		{"get pod/done cm", "", "there is no need to specify a resource type as a separate argument", 1},
		{"get pod done -l a=b", "", "name cannot be provided when a selector is specified", 1},
		{"get pod done -A", "", "a resource cannot be retrieved by name across all namespaces", 1},
		{"get pods -l a==b==c", "", "hint: write -l KEY=VALUE", 1},
		{"get events", "…Started container c…", "", 0},
		{"events --for pod/done --types Normal", "…Normal   Started   pod/done   Started container c\n…", "", 0},
		{"events --for pod/nope", "", "No events found.\n", 0},
		{"events --types Strange", "", "valid --types are Normal or Warning", 125},
		{"describe pod done", "…Started container c…", "", 0},
		{"describe pod nope", "", "pods \"nope\" not found", 1},

		{"apply -f FILE --dry-run=client", "configmap/settings created (dry run)\nsecret/db created (dry run)\npersistentvolumeclaim/data created (dry run)\n", "", 0},
		{"apply -f FILE", "configmap/settings created\nsecret/db created\npersistentvolumeclaim/data created\n", "", 0},
		{"apply -f FILE --dry-run server", "configmap/settings unchanged (server dry run)\nsecret/db unchanged (server dry run)\npersistentvolumeclaim/data unchanged (server dry run)\n", "", 0},
		{"create -f FILE", "", "minipod: Error from server (AlreadyExists): secrets \"db\" already exists\n", 1},
		{"create -f FILE -n elsewhere --output name", "configmap/settings\nsecret/db\npersistentvolumeclaim/data\n", "", 0},
		{"create -f FILE more", "", "\"minipod create\" requires no arguments, got 1", 1},
		{"apply", "", "must specify -f", 1},
		{"apply -f nope.yaml", "", "the path \"nope.yaml\" does not exist", 1},
		{"apply -f https://example.com/web.yaml", "", "hint: fetch it first: curl", 1},
		{"get cm,secrets", "NAME                 DATA   AGE\nconfigmap/settings   1      0s\n\nNAME        TYPE     DATA   AGE\nsecret/db   Opaque   1      0s\n", "", 0},
		{"get cm -A -o name", "configmap/settings\nconfigmap/settings\n", "", 0},
		{"get pvc", "…data   Pending…", "", 0},
		{"get secret db -o jsonpath={.data.password}", "aHVudGVyMg==", "", 0},
		{"label cm settings owner=me tier-", "configmap/settings labeled\n", "", 0},
		{"get cm --show-labels --no-headers", "settings   1     0s    owner=me\n", "", 0},
		{"label cm settings owner=you", "", "'owner' already has a value (me), and --overwrite is false", 1},
		{"label cm settings owner=you --overwrite", "configmap/settings labeled\n", "", 0},
		{"label cm settings owner-", "configmap/settings unlabeled\n", "", 0},
		{"label cm settings owner-", "configmap/settings not labeled\n", "", 0},
		{"label cm settings a/b/c=d", "", "invalid label key", 1},
		{"label cm settings", "", "at least one label update is required", 1},
		{"label pods --all tested=yes", "pod/broken labeled\npod/done labeled\n", "", 0},
		{"get pods -l tested -o name", "pod/broken\npod/done\n", "", 0},
		{"annotate pod done note=hi", "pod/done annotated\n", "", 0},
		{"get pod done -o jsonpath={.metadata.annotations.note}", "hi", "", 0},
		{"set image pod/done c=alpine", "pod/done image updated\n", "", 0},
		{"get pod done -o jsonpath={.spec.containers[0].image}", "alpine", "", 0},
		{"set image pod/done x=alpine", "", "unable to find container named \"x\"", 1},
		{"set image pod/done", "", "no image given", 1},

		{"wait --for=condition=Ready pod/done --timeout 0", "", "timed out waiting for the condition on pods/done", 1},
		{"wait --for jsonpath={.status.phase}=Succeeded pod done", "pod/done condition met\n", "", 0},
		{"wait --for delete pod/nope", "", "", 0},
		{"wait --for create pod/done", "pod/done condition met\n", "", 0},
		{"wait --for condition=Ready pod/nope", "", "pods \"nope\" not found", 1},
		{"wait --for never pod/done", "", "unrecognized condition: \"never\"", 125},
		{"wait --for delete --for create pod/done", "", "--for may be given once", 125},
		{"wait pod/done", "", "what to wait for is missing", 125},
		{"wait done", "", "no such container: done", 1},

		{"logs pod/nope", "", "Error from server (NotFound): pods \"nope\" not found", 1},
		{"logs nope", "", "no such container: nope", 1},
		{"logs -c x done", "", "container x is not valid for pod done", 1},
		{"logs broken --previous", "", "Defaulted container \"c\" out of: c, d\n", 1},
		{"logs broken --previous", "", "previous terminated container \"c\" in pod \"broken\" not found", 1},
		{"logs -n 3 nope", "", "no such container: nope", 1},
		{"logs -n elsewhere nope", "", "pods \"nope\" not found", 1},
		{"exec done -- true", "", "cannot exec into a container in a completed pod; current phase is Succeeded", 1},
		{"exec pod/done -c c -- true", "", "current phase is Succeeded", 1},
		{"exec -c c nope true", "", "pods \"nope\" not found", 1},
		{"exec nope true", "", "no such container: nope", 1},
		{"exec done --", "", "you must specify at least one command for the container", 1},
		{"attach pod/done", "", "cannot attach to a container in a completed pod", 1},
		{"cp default/done:/etc/passwd x", "", "cannot copy files of a container in a completed pod", 1},
		{"port-forward done 80", "", "unable to forward port because pod is not running. Current status=Succeeded", 1},
		{"port-forward done", "", "requires at least 2 arguments", 1},
		{"generate yaml done", "…kind: Pod\n…", "", 0},
		{"generate yaml nope", "", "no such container: nope", 1},

		{"patch cm settings -p {\"data\":{\"size\":\"big\"}}", "configmap/settings patched\n", "", 0},
		{"patch cm/settings -p data:\u00a0{size:\u00a0big}", "configmap/settings patched (no change)\n", "", 0},
		{"patch -f FILE -p {\"metadata\":{\"labels\":{\"tier\":\"back\"}}} --dry-run=server -n default", "configmap/settings patched (server dry run)\nsecret/db patched (server dry run)\npersistentvolumeclaim/data patched (server dry run)\n", "", 0},
		{"patch cm settings --type merge -p {\"data\":{\"size\":null}} -o name", "configmap/settings\n", "", 0},
		{"get cm settings -o jsonpath={.data}", `{"colour":"red"}`, "", 0},
		{"patch cm settings --type=json -p [{\"op\":\"remove\",\"path\":\"/data/size\"}]", "", "operation 1, remove /data/size: doc is missing path: /size", 1},
		{"patch cm settings --type=yaml -p {}", "", `--type must be one of [json merge strategic], not "yaml"`, 1},
		{"patch cm settings", "", "must specify --patch or --patch-file", 1},
		{"patch cm settings -p []", "", "a strategic patch is an object\nhint: write -p", 1},
		{"patch cm settings -p {\"dato\":1}", "", "unknown field \"dato\"\nhint: did you mean \"data\"?", 1},
		{"patch cm settings -p {\"metadata\":{\"name\":\"other\"}}", "", "the name and the namespace of an object can't be changed", 1},
		{"patch cm settings -p {\"metadata\":{\"resourceVersion\":\"1\"}}", "", "Error from server (Conflict): Operation cannot be fulfilled on configmaps \"settings\": the object has been modified", 1},
		{"patch cm nope -p {}", "", "configmaps \"nope\" not found", 1},
		{"patch cm -p {}", "", "no name was specified", 1},
		{"patch pod done -p {\"spec\":{\"hostname\":\"x\"}}", "", "The Pod \"done\" is invalid: spec: Forbidden: pod updates may not change fields", 1},

		{"replace -f FILE --dry-run=client -o name", "configmap/settings\nsecret/db\npersistentvolumeclaim/data\n", "", 0},
		{"replace -f FILE", "configmap/settings replaced\nsecret/db replaced\npersistentvolumeclaim/data replaced\n", "", 0},
		{"replace -f FILE --force", "configmap \"settings\" deleted\nconfigmap/settings replaced\nsecret \"db\" deleted\nsecret/db replaced\npersistentvolumeclaim \"data\" deleted\npersistentvolumeclaim/data replaced\n", "", 0},
		{"replace -f FILE -n other", "", "configmaps \"settings\" not found", 1},
		{"replace -f FILE --grace-period 1", "", "--grace-period must have --force specified", 1},
		{"replace -f FILE --force --dry-run=server", "", "--dry-run can not be used when --force is set", 1},
		{"replace", "", "must specify -f", 1},
		{"apply -f FILE --server-side", "", "--server-side: there is no server", 1},

		{"pod ps -q", "broken\ndone\n", "", 0},
		{"pod inspect -f {{.status.phase}} done", "Succeeded\n", "", 0},
		{"pod rm nope", "", "pods \"nope\" not found", 1},
		{"pod rm -f nope", "", "", 0},

		{"delete", "", "you must specify the type of resource", 1},
		{"delete cm", "", "no name was specified", 1},
		{"delete cm nope", "", "configmaps \"nope\" not found", 1},
		{"delete cm nope --ignore-not-found", "", "", 0},
		{"delete -f FILE --dry-run=client -o name", "configmap/settings\nsecret/db\npersistentvolumeclaim/data\n", "", 0},
		{"delete -f FILE", "configmap \"settings\" deleted\nsecret \"db\" deleted\npersistentvolumeclaim \"data\" deleted\n", "", 0},
		{"delete -f FILE --ignore-not-found", "", "", 0},
		{"delete cm --all -A", "configmap \"settings\" deleted\n", "", 0},
		{"delete cm --all", "No resources found\n", "", 0},
		{"delete pod done --now --grace-period 5", "", "cannot be specified together", 1},
	} {
		var words []string
		for word := range strings.FieldsSeq(strings.ReplaceAll(c.line, "\u00a0", "\x00")) {
			words = append(words, strings.NewReplacer("FILE", file, "\x00", " ").Replace(word))
		}
		out, errOut, status := typed(t, words...)
		out = strings.NewReplacer("1s", "0s", "2s", "0s", "3s", "0s", "4s", "0s").Replace(out) // ages
		part, isPart := strings.CutPrefix(c.out, "…")
		right := out == c.out
		if isPart {
			right = strings.Contains(out, strings.TrimSuffix(part, "…"))
		}
		if !right || !strings.Contains(errOut, c.err) || status != c.status {
			t.Errorf("%s: status %d, want %d\n%s%s\nwant\n%s%s", c.line, status, c.status, out, errOut, c.out, c.err)
		}
	}
}

// TestEdit is what becomes of an object in an editor, which is a shell command here.
func TestEdit(t *testing.T) {
	home(t)
	t.Setenv("TMPDIR", t.TempDir())
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(someObjects), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, text, status := typed(t, "apply", "-f", file); status != 0 {
		t.Fatal(text)
	}
	for _, c := range []struct {
		editor, out, err string // contained
		status           int
		data             string // of the ConfigMap
	}{
		{"sed -i 's/colour: red/colour: blue/'", "configmap/settings edited\n", "", 0, `{"colour":"blue"}`},
		{"true", "", "Edit cancelled, no changes made.\n", 0, `{"colour":"blue"}`},
		{"sed -i s/^/#/", "", "Edit cancelled, saved file was empty.\n", 0, `{"colour":"blue"}`},
		{"false", "", `there was a problem with the editor "false": exit status 1`, 1, `{"colour":"blue"}`},
		{"sed -i 's/^data:/dato:/'", "", "unknown field \"dato\"", 1, `{"colour":"blue"}`},
		{"sed -i s/^data:/data/", "", "Edit cancelled, no valid changes were saved.", 1, `{"colour":"blue"}`},
		// The second time the reason stands above, and what is wrong can be mended.
		{"sed -i -e '/was not valid/,$ s/colour: 1$/colour: green/; s/colour: blue/colour: 1/'", "edited", "", 0, `{"colour":"green"}`},
	} {
		t.Setenv("KUBE_EDITOR", c.editor)
		out, errOut, status := typed(t, "edit", "cm", "settings")
		if !strings.Contains(out, c.out) || !strings.Contains(errOut, c.err) || status != c.status {
			t.Errorf("%s: status %d, want %d\n%s%s\nwant\n%s%s", c.editor, status, c.status, out, errOut, c.out, c.err)
		}
		if data, _, _ := typed(t, "get", "cm", "settings", "-o", "jsonpath={.data}"); data != c.data {
			t.Errorf("%s makes it %s, want %s", c.editor, data, c.data)
		}
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "minipod-edit-*")); err != nil || len(left) != 2 { // the two that were not valid
		t.Errorf("%v, %v", left, err)
	}
}

// TestClaimIsBound once its volume is there.
func TestClaimIsBound(t *testing.T) {
	home(t)
	dirs, err := state.Find(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(someObjects), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := volume.Open(dirs).Create("default_data", nil, nil); err != nil {
		t.Fatal(err)
	}
	if out, errOut, status := typed(t, "apply", "-f", file); status != 0 {
		t.Fatal(out, errOut)
	}
	if out, _, _ := typed(t, "get", "pvc", "--no-headers"); !strings.HasPrefix(out, "data   Bound   default_data   1Gi   RWO         <unset>   ") {
		t.Errorf("%q", out)
	}
	if out, _, _ := typed(t, "get", "pvc", "data", "-o", "jsonpath={.status.phase} {.spec.volumeName} {.status.capacity.storage}"); out != "Bound default_data 1Gi" {
		t.Errorf("%q", out)
	}
}

package manifest

import (
	"strings"
	"testing"
	"time"
)

func decodeOne(t *testing.T, text string) *Object {
	t.Helper()
	objects, err := Decode(strings.NewReader(text), "x.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return objects[0]
}

const oldPod = `
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  activeDeadlineSeconds: 600
  tolerations: [{key: a, operator: Exists, tolerationSeconds: 30, effect: NoExecute}]
  initContainers: [{name: init, image: init:1}]
  containers:
  - {name: web, image: web:1, env: [{name: A, value: a}], resources: {limits: {cpu: 1000m}}}
  - {name: side, image: side:1}
`

// TestUpdate applies changed manifests over what was applied before.
func TestUpdate(t *testing.T) {
	immutable := "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nimmutable: true\nstringData: {a: b}\n"
	plain := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n"
	claim := "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}\n"
	const only = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`," +
		"`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
	for name, c := range map[string]struct {
		old, from, to string
		changed       bool
		err           string
	}{
		"nothing":                  {old: oldPod},
		"the same, said otherwise": {old: oldPod, from: "cpu: 1000m", to: "cpu: 1"},
		"an image":                 {old: oldPod, from: "web:1", to: "web:2", changed: true},
		"an init image":            {old: oldPod, from: "init:1", to: "init:2", changed: true},
		"a label":                  {old: oldPod, from: "app: web", to: "app: shop", changed: true},
		"an earlier end":           {old: oldPod, from: "600", to: "60", changed: true},
		"a later end":              {old: oldPod, from: "600", to: "6000", err: "spec.activeDeadlineSeconds: Invalid value: 6000: must be less than or equal to previous value"},
		"no end":                   {old: oldPod, from: "activeDeadlineSeconds: 600", to: "", err: "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"},
		"one more toleration":      {old: oldPod, from: "tolerations: [", to: "tolerations: [{key: b, operator: Exists}, ", changed: true},
		"a longer toleration":      {old: oldPod, from: "tolerationSeconds: 30", to: "tolerationSeconds: 300", changed: true},
		"another toleration":       {old: oldPod, from: "key: a", to: "key: b", err: "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"},
		"a container more":         {old: oldPod, from: "  - {name: side", to: "  - {name: more, image: m}\n  - {name: side", err: "spec.containers: Forbidden: pod updates may not add or remove containers"},
		"no init container":        {old: oldPod, from: "initContainers: [{name: init, image: init:1}]", to: "", err: "spec.initContainers: Forbidden: pod updates may not add or remove containers"},
		"a variable":               {old: oldPod, from: "value: a", to: "value: b", err: only + `  spec.containers[0].env[0].value: "a" → "b"`},
		"what only warns":          {old: oldPod, from: "spec:\n", to: "spec:\n  nodeSelector: {a: b}\n  restartPolicy: Never\n", err: only + "  spec.nodeSelector: nothing → {\"a\":\"b\"}\n  spec.restartPolicy: \"Always\" → \"Never\""},
		"a ConfigMap":              {old: plain, from: "a: b", to: "a: c", changed: true},
		"an immutable Secret":      {old: immutable, from: "a: b", to: "a: c", err: "data: Forbidden: field is immutable when `immutable` is set"},
		"immutable no more":        {old: immutable, from: "immutable: true", to: "immutable: false", err: "immutable: Forbidden: field is immutable when `immutable` is set"},
		"a Secret's type":          {old: immutable, from: "immutable: true", to: "immutable: true\ntype: mine", err: `type: Invalid value: "mine": field is immutable`},
		"a larger claim":           {old: claim, from: "2Gi", to: "3Gi", changed: true},
		"a smaller claim":          {old: claim, from: "2Gi", to: "1Gi", err: "spec.resources.requests.storage: Forbidden: field can not be less than previous value"},
		"another mode": {old: claim, from: "ReadWriteOnce", to: "ReadWriteMany", err: "spec: Forbidden: spec is immutable after creation except resources.requests and " +
			"volumeAttributesClassName for bound claims\n  spec.accessModes[0]: \"ReadWriteOnce\" → \"ReadWriteMany\""},
	} {
		t.Run(name, func(t *testing.T) {
			before := decodeOne(t, c.old)
			if err := before.Created("uid-1", time.Unix(1e9, 5)); err != nil {
				t.Fatal(err)
			}
			text := strings.Replace(c.old, c.from, c.to, 1)
			if c.from != "" && text == c.old {
				t.Fatal("the change changes nothing")
			}
			now := decodeOne(t, text)
			changed, err := now.Update(before.JSON)
			got := ""
			if err != nil {
				_, got, _ = strings.Cut(err.Error(), "is invalid: ")
			}
			if got != c.err || changed != c.changed {
				t.Fatalf("changed %t, error\n%q, want %t,\n%q", changed, got, c.changed, c.err)
			}
			if err != nil {
				return
			}
			if !changed && string(now.JSON) != string(before.JSON) {
				t.Errorf("nothing changed, but:\n%s\n%s", now.JSON, before.JSON)
			}
			version := `"resourceVersion":"1"`
			if changed {
				version = `"resourceVersion":"2"`
			}
			for _, has := range []string{version, `"uid":"uid-1"`, `"creationTimestamp":"2001-09-09T01:46:40Z"`} {
				if !strings.Contains(string(now.JSON), has) {
					t.Errorf("no %s in %s", has, now.JSON)
				}
			}
			if now.UID != "uid-1" || now.Pod != nil && now.Pod.Metadata.UID != "uid-1" {
				t.Errorf("its id is %q", now.UID)
			}
		})
	}
}

func TestUpdateOfWhatIsNoObject(t *testing.T) {
	o := decodeOne(t, oldPod)
	if _, err := o.Update([]byte("{")); err == nil || !strings.HasPrefix(err.Error(), `decode Pod "web": `) {
		t.Errorf("the error is %v", err)
	}
}

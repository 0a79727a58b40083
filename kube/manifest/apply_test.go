package manifest

import (
	"strings"
	"testing"
	"time"
)

// TestApply applies a file, lets others change what there is, and applies another file.
func TestApply(t *testing.T) {
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b, c: d}\n"
	config := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {x: z}}\ndata: {a: b, c: d}\n"
	for name, c := range map[string]struct {
		file        string
		live        []string // old, new: what somebody else made of the JSON
		from, to    string   // what changes in the file
		changed     bool
		has, hasNot []string
		err         string
	}{
		"nothing": {file: oldPod},
		"the same, said otherwise": { // the annotation differs
			file: oldPod, from: "cpu: 1000m", to: "cpu: 1", changed: true, has: []string{`{\"cpu\":1}`, `"limits":{"cpu":"1"}`},
		},
		"an image that set image gave": {
			file: oldPod, live: []string{`"image":"side:1"`, `"image":"side:9"`}, from: "app: web", to: "app: shop", changed: true,
			has: []string{`"image":"side:1"`, `"app":"shop"`}, // the file names it, so it holds
		},
		"a label of somebody's": {
			file: oldPod, live: []string{`"app":"web"`, `"app":"web","tier":"front"`}, from: "web:1", to: "web:2", changed: true, has: []string{`"tier":"front"`, `"image":"web:2"`},
		},
		"a label of somebody's, and nothing else": {file: oldPod, live: []string{`"labels":{`, `"labels":{"tier":"front",`}, has: []string{`"tier":"front"`}},
		"a label no more": {
			file: oldPod, live: []string{`"app":"web"`, `"app":"other","tier":"front"`}, from: "labels: {app: web}", to: "labels: {}", changed: true,
			has: []string{`"labels":{"tier":"front"}`},
		},
		"a toleration of somebody's": { // a list that merges by no key is the file's as a whole
			file: oldPod, live: []string{`"tolerations":[`, `"tolerations":[{"key":"z"},`}, err: "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
		},
		"latest, by its default policy": {file: oldPod, from: "web:1", to: "web", changed: true, has: []string{`"image":"web","imagePullPolicy":"IfNotPresent"`}},
		"a node, as get -o yaml says":   {file: oldPod, from: "spec:\n", to: "spec:\n  nodeName: box\n", changed: true, has: []string{`\"nodeName\":\"box\"`}, hasNot: []string{`"nodeName":"box"`}},
		"a variable":                    {file: oldPod, from: "{name: A, value: a}", to: "{name: B, value: b}", err: "spec: Forbidden: pod updates may not change fields other than"},
		"a field no more, which has a default": {
			file: strings.Replace(oldPod, "spec:\n", "spec:\n  restartPolicy: Never\n", 1), from: "  restartPolicy: Never\n", to: "", err: "spec.restartPolicy: \"Never\" → \"Always\"",
		},
		"a key of a ConfigMap": {
			file: config, live: []string{`"c":"d"`, `"c":"changed","e":"f"`}, from: "a: b, c: d", to: "c: d", changed: true, has: []string{`"data":{"c":"d","e":"f"}`},
		},
		"a key of a Secret's strings": {file: secret, from: "a: b, c: d", to: "c: d", changed: true, has: []string{`"data":{"c":"ZA=="}`}, hasNot: []string{`"data":{"a"`}},
		"an annotation that is no JSON": {
			file: config, live: []string{`"` + LastApplied + `":"{`, `"` + LastApplied + `":"`}, err: "read the annotation " + LastApplied,
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := decodeOne(t, c.file)
			if err := before.SaveConfig(); err != nil {
				t.Fatal(err)
			}
			if err := before.Created("uid-1", time.Unix(1e9, 5)); err != nil {
				t.Fatal(err)
			}
			live := replaced(t, string(before.JSON), c.live...)
			now := decodeOne(t, replaced(t, c.file, c.from, c.to))
			if err := now.SaveConfig(); err != nil {
				t.Fatal(err)
			}
			file := string(now.JSON)
			changed, unknown, err := now.Apply([]byte(live))
			if err != nil {
				if c.err == "" || !strings.Contains(err.Error(), c.err) {
					t.Errorf("the error is %v, want %q", err, c.err)
				}
				if err := now.render(); err != nil || string(now.JSON) != file {
					t.Errorf("%v: it is no more what the file says: %s", err, now.JSON)
				}
				return
			}
			if changed != c.changed || unknown || c.err != "" {
				t.Errorf("changed %t, unknown %t, want changed %t, error %q", changed, unknown, c.changed, c.err)
			}
			for _, has := range append(c.has, `"uid":"uid-1"`) {
				if !strings.Contains(string(now.JSON), has) {
					t.Errorf("no %s in %s", has, now.JSON)
				}
			}
			for _, has := range c.hasNot {
				if strings.Contains(string(now.JSON), has) {
					t.Errorf("%s is in %s", has, now.JSON)
				}
			}
		})
	}
}

// replaced is text with every second word after every first: each of them must be there. Two empty ones change nothing.
func replaced(t *testing.T, text string, words ...string) string {
	t.Helper()
	for i := 0; i+1 < len(words); i += 2 {
		if words[i] != "" && !strings.Contains(text, words[i]) {
			t.Fatalf("no %s in %s", words[i], text)
		}
		if words[i] != "" {
			text = strings.Replace(text, words[i], words[i+1], 1)
		}
	}
	return text
}

// TestLastApplied is what kubectl writes into the annotation.
func TestLastApplied(t *testing.T) {
	for file, want := range map[string]string{
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {b: \"<1>\", a: x}\n": `{"apiVersion":"v1","data":{"a":"x","b":"\u003c1\u003e"},"kind":"ConfigMap",` +
			`"metadata":{"annotations":{},"name":"c","namespace":"default"}}` + "\n",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: p, uid: x, annotations: {a: b, " + LastApplied + ": old}}\nspec: {containers: [{name: c, image: i, resources: {limits: {cpu: 1}}}]}\nstatus: {phase: Running}\n": `{"apiVersion":"v1","kind":"Pod",` +
			`"metadata":{"annotations":{"a":"b"},"name":"p","namespace":"default"},"spec":{"containers":[{"image":"i","name":"c","resources":{"limits":{"cpu":1}}}]}}` + "\n",
	} {
		o := decodeOne(t, file)
		if err := o.SaveConfig(); err != nil {
			t.Fatal(err)
		}
		if got := o.Annotations[LastApplied]; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestApplyWithoutLastApplied takes nothing away from what was made without.
func TestApplyWithoutLastApplied(t *testing.T) {
	before := decodeOne(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b, c: d}\n")
	now := decodeOne(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {c: e}\n")
	if err := now.SaveConfig(); err != nil {
		t.Fatal(err)
	}
	changed, unknown, err := now.Apply(before.JSON)
	if !changed || !unknown || err != nil || !strings.Contains(string(now.JSON), `"data":{"a":"b","c":"e"}`) {
		t.Errorf("changed %t, unknown %t, %v: %s", changed, unknown, err, now.JSON)
	}
}

func TestApplyOfTooMuch(t *testing.T) {
	o := decodeOne(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: "+strings.Repeat("x", 256<<10)+"}\n")
	if err := o.SaveConfig(); err == nil || !strings.HasSuffix(err.Error(), `The ConfigMap "c" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes`) {
		t.Errorf("the error is %v", err)
	}
}

package manifest

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// TestStrategicPatch patches pods that chance made, by patches that a client makes of two pods and by such as people write, and compares with what
// strategicpatch.StrategicMergeMapPatch (apimachinery 0.37.2) made of them, but for the nulls and directives that it leaves in items that are new.
func TestStrategicPatch(t *testing.T) {
	data, err := os.ReadFile("testdata/patch.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Live, Patch, Want map[string]any
		Error             string
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		before := encoded(t, c.Live) + encoded(t, c.Patch)
		got, err := strategicPatch(reflect.TypeFor[v1.Pod](), c.Patch, c.Live)
		if (err != nil) != (c.Error != "") || err == nil && !reflect.DeepEqual(plainOf(got), plainOf(c.Want)) {
			t.Errorf("case %d, %s of %s:\ngot  %s, %v\nwant %s, %s", i, encoded(t, c.Patch), encoded(t, c.Live), encoded(t, got), err, encoded(t, c.Want), c.Error)
		}
		if after := encoded(t, c.Live) + encoded(t, c.Patch); after != before {
			t.Errorf("case %d: the input is another: %s, was %s", i, after, before)
		}
	}
}

// What strategicpatch has only in part, or refuses.
func TestStrategicPatchByHand(t *testing.T) {
	const live = `{"metadata":{"labels":{"a":"1","b":"2"},"finalizers":["x","y"]},"spec":{"containers":[{"name":"a","image":"i","env":[{"name":"A","value":"1"}]},{"name":"b","image":"j"}],"volumes":[{"name":"v","emptyDir":{}}]}}`
	for name, c := range map[string]struct{ patch, want, err string }{
		"an image":            {patch: `{"spec":{"containers":[{"name":"b","image":"k"}]}}`, want: `"containers":[{"env":[{"name":"A","value":"1"}],"image":"i","name":"a"},{"image":"k","name":"b"}]`},
		"an item goes":        {patch: `{"spec":{"containers":[{"name":"a","$patch":"delete"}]}}`, want: `"containers":[{"image":"j","name":"b"}]`},
		"another list":        {patch: `{"spec":{"containers":[{"name":"c"},{"$patch":"replace"}]}}`, want: `"containers":[{"name":"c"}]`},
		"an object goes":      {patch: `{"metadata":{"labels":{"$patch":"delete"}}}`, want: `"labels":{}`},
		"another object":      {patch: `{"metadata":{"labels":{"$patch":"replace","c":"3"}}}`, want: `"labels":{"c":"3"}`},
		"a value goes":        {patch: `{"metadata":{"$deleteFromPrimitiveList/finalizers":["x"]}}`, want: `"finalizers":["y"]`},
		"one goes, one comes": {patch: `{"metadata":{"$deleteFromPrimitiveList/finalizers":["x"],"finalizers":["z"]}}`, want: `"finalizers":["z","y"]`},
		"objects don't go so": {patch: `{"spec":{"$deleteFromPrimitiveList/containers":[{"name":"a"}]}}`, want: `"name":"a"}`},
		"another order":       {patch: `{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]}}`, want: `"containers":[{"image":"j","name":"b"},{`},
		"another kind of volume": {
			patch: `{"spec":{"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/a"}}]}}`, want: `"volumes":[{"hostPath":{"path":"/a"},"name":"v"}]`,
		},
		"an item without a key":  {patch: `{"spec":{"containers":[{"image":"k"}]}}`, err: `spec: containers: map: map[image:k] does not contain declared merge key: name`},
		"a word":                 {patch: `{"metadata":{"labels":{"$patch":"merge"}}}`, err: `metadata: labels: unknown patch type 'merge' in map: map[$patch:merge]`},
		"a value among items":    {patch: `{"spec":{"containers":["a"]}}`, err: `spec: containers: a is no item of this list`},
		"the same twice":         {patch: `{"spec":{"containers":[{"name":"c"},{"name":"c"}]}}`, err: `spec: containers: two items have the same name`},
		"kept, but set":          {patch: `{"spec":{"$retainKeys":["volumes"],"hostname":"x"}}`, err: `spec: $retainKeys has not "hostname", which the patch sets`},
		"added, but not ordered": {patch: `{"spec":{"$setElementOrder/containers":[{"name":"a"}],"containers":[{"name":"c"}]}}`, err: `spec: containers: $setElementOrder has not "c", which the patch adds`},
	} {
		got, err := strategicPatch(reflect.TypeFor[v1.Pod](), decoded(t, c.patch), decoded(t, live))
		switch {
		case err != nil && err.Error() != c.err, err == nil && c.err != "":
			t.Errorf("%s: %v, want %s", name, err, c.err)
		case err == nil && !strings.Contains(encoded(t, got), c.want):
			t.Errorf("%s: %s, want %s in it", name, encoded(t, got), c.want)
		}
	}
}

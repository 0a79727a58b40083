package manifest

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// TestThreeWay merges pods that chance made, and compares with what strategicpatch.CreateThreeWayMergePatch (apimachinery 0.37.2) made of them,
// but for the nulls and directives that it leaves in items that are new.
func TestThreeWay(t *testing.T) {
	data, err := os.ReadFile("testdata/merge.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ Last, File, Live, Want map[string]any }
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		got := threeWay(reflect.TypeFor[v1.Pod](), c.Last, c.File, c.Live)
		if !reflect.DeepEqual(got, c.Want) {
			t.Errorf("case %d:\ngot  %s\nwant %s", i, encoded(t, got), encoded(t, c.Want))
		}
	}
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestThreeWayOfOddLists merges what strategicpatch has no answer to, or a bad one.
func TestThreeWayOfOddLists(t *testing.T) {
	for name, c := range map[string]struct{ last, file, live, want string }{
		"a port for TCP and for UDP": {
			file: `{"spec":{"containers":[{"name":"a","ports":[{"containerPort":53},{"containerPort":53,"protocol":"UDP"}]}]}}`,
			live: `{"spec":{"containers":[{"name":"a","image":"x","ports":[{"containerPort":53,"protocol":"TCP"}]}]}}`,
			want: `{"spec":{"containers":[{"image":"x","name":"a","ports":[{"containerPort":53},{"containerPort":53,"protocol":"UDP"}]}]}}`,
		},
		"a null": {
			file: `{"metadata":{"labels":{"a":null}},"spec":null}`, live: `{"metadata":{"labels":{"a":"1","b":"2"}},"spec":{"hostname":"x"}}`,
			want: `{"metadata":{"labels":{"b":"2"}}}`,
		},
		"what the annotation says is no pod": {
			last: `{"metadata":[1],"spec":{"containers":{"a":"b"},"volumes":[1,null]}}`, file: `{"metadata":{"labels":{"a":"1"}},"spec":{"containers":[{"name":"a"}]}}`,
			live: `{"metadata":{"labels":{"b":"2"}},"spec":{"containers":[{"name":"a","image":"x"}],"volumes":[{"name":"v"}]}}`,
			want: `{"metadata":{"labels":{"a":"1","b":"2"}},"spec":{"containers":[{"image":"x","name":"a"}]}}`,
		},
		"another kind of volume": {
			last: `{"spec":{"volumes":[{"name":"v","emptyDir":{}}]}}`, file: `{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/a"}}]}}`,
			live: `{"spec":{"volumes":[{"name":"v","emptyDir":{"sizeLimit":"1"}}]}}`, want: `{"spec":{"volumes":[{"hostPath":{"path":"/a"},"name":"v"}]}}`,
		},
	} {
		var last, file, live map[string]any
		for text, into := range map[string]*map[string]any{c.last: &last, c.file: &file, c.live: &live} {
			if text != "" {
				if err := json.Unmarshal([]byte(text), into); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := encoded(t, threeWay(reflect.TypeFor[v1.Pod](), last, file, live)); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

// FuzzThreeWay merges anything with anything. Who applies the same file again changes nothing.
func FuzzThreeWay(f *testing.F) {
	f.Add([]byte(`{"spec":{"volumes":[{"name":"v","emptyDir":{}}]}}`), []byte(`{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/a"}},{"name":"w"}]}}`),
		[]byte(`{"metadata":{"finalizers":["b","a"]},"spec":{"volumes":[{"name":"u"},{"name":"v","emptyDir":{"medium":""}}]}}`))
	f.Add([]byte(`{"spec":{"containers":[{"name":"a"}]}}`), []byte(`{"spec":{"containers":[{"name":1,"env":[{"name":"x"},{"name":"x"}]},{}]}}`), []byte(`{"spec":{"containers":{"a":null}}}`))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		var last, file, live map[string]any
		for _, x := range []struct {
			text []byte
			into *map[string]any
		}{{a, &last}, {b, &file}, {c, &live}} {
			if json.Unmarshal(x.text, x.into) != nil {
				return
			}
		}
		pod := reflect.TypeFor[v1.Pod]()
		once := threeWay(pod, last, file, live)
		if twice := threeWay(pod, file, file, once); encoded(t, twice) != encoded(t, once) {
			t.Errorf("once  %s\ntwice %s", encoded(t, once), encoded(t, twice))
		}
	})
}

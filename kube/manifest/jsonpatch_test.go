package manifest

import (
	"encoding/json"
	"strings"
	"testing"
)

func decoded(t *testing.T, text string) (fields map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return fields
}

// The examples of RFC 7396's appendix that are objects.
func TestJSONMergePatch(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		live := decoded(t, c[0])
		if got := encoded(t, jsonMergePatch(decoded(t, c[1]), live)); got != c[2] {
			t.Errorf("%s of %s is %s, want %s", c[1], c[0], got, c[2])
		}
		if encoded(t, live) != c[0] {
			t.Errorf("%s became %s", c[0], encoded(t, live))
		}
	}
}

// RFC 6902's appendix, and what goes wrong.
func TestJSONPatch(t *testing.T) {
	for _, c := range []struct{ live, patch, want, err string }{
		{`{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux"}]`, `{"baz":"qux","foo":"bar"}`, ""},
		{`{"foo":["bar","baz"]}`, `[{"op":"add","path":"/foo/1","value":"qux"}]`, `{"foo":["bar","qux","baz"]}`, ""},
		{`{"baz":"qux","foo":"bar"}`, `[{"op":"remove","path":"/baz"}]`, `{"foo":"bar"}`, ""},
		{`{"foo":["bar","qux","baz"]}`, `[{"op":"remove","path":"/foo/1"}]`, `{"foo":["bar","baz"]}`, ""},
		{`{"baz":"qux"}`, `[{"op":"replace","path":"/baz","value":"boo"}]`, `{"baz":"boo"}`, ""},
		{`{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}`, `[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]`, `{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}`, ""},
		{`{"foo":["all","grass","cows","eat"]}`, `[{"op":"move","from":"/foo/1","path":"/foo/3"}]`, `{"foo":["all","cows","eat","grass"]}`, ""},
		{`{"baz":"qux","foo":["a",2,"c"]}`, `[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2.0}]`, `{"baz":"qux","foo":["a",2,"c"]}`, ""},
		{`{"foo":["bar"]}`, `[{"op":"add","path":"/foo/-","value":["abc","def"]}]`, `{"foo":["bar",["abc","def"]]}`, ""},
		{`{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":10},{"op":"remove","path":"/~1"}]`, `{"~1":10}`, ""},
		{`{"a":{"b":[1]}}`, `[{"op":"copy","from":"/a","path":"/c"},{"op":"add","path":"/c/b/0","value":0}]`, `{"a":{"b":[1]},"c":{"b":[0,1]}}`, ""},
		{`{"a":null}`, `[{"op":"test","path":"/a","value":null},{"op":"replace","path":"/a","value":null}]`, `{"a":null}`, ""},
		{`{"a":1}`, `[{"op":"replace","path":"","value":{"b":2}}]`, `{"b":2}`, ""},

		{`{"baz":"qux"}`, `[{"op":"test","path":"/baz","value":"bar"}]`, "", `operation 1, test /baz: testing value /baz failed: it is "qux"`},
		{`{"foo":"bar"}`, `[{"op":"add","path":"/baz/bat","value":"qux"}]`, "", "doc is missing path: /baz"},
		{`{"foo":"bar"}`, `[{"op":"remove","path":"/x"}]`, "", "doc is missing path: /x"},
		{`{"foo":"bar"}`, `[{"op":"replace","path":"/x","value":1}]`, "", "doc is missing path: /x"},
		{`{"foo":[1]}`, `[{"op":"add","path":"/foo/2","value":1}]`, "", "index 2 is out of bounds: the list has 2 items"},
		{`{"foo":[1]}`, `[{"op":"remove","path":"/foo/-"}]`, "", `"-" is no index of a list`},
		{`{"foo":[1]}`, `[{"op":"remove","path":"/foo/00"}]`, "", `"00" is no index of a list`},
		{`{"a":{"b":1}}`, `[{"op":"move","from":"/a","path":"/a/b"}]`, "", "/a can't be moved into itself"},
		{`{"a":1}`, `[{"op":"add","path":"/b"}]`, "", `it has no "value"`},
		{`{"a":1}`, `[{"op":"add","value":1}]`, "", `it has no "path"`},
		{`{"a":1}`, `[{"op":"copy","path":"/b"}]`, "", `it has no "from"`},
		{`{"a":1}`, `[{"op":"remove","path":"a"}]`, "", `"a" is no JSON pointer`},
		{`{"a":1}`, `[{"op":"remove","path":""}]`, "", "the whole object can't be removed"},
		{`{"a":1}`, `[{"op":"frob","path":"/a"}]`, "", `unexpected kind "frob"`},
		{`{"a":{"b":[1]}}`, `[{"op":"move","from":"/a/b","path":"/a/c"},{"op":"add","path":"/a/c/-","value":2}]`, `{"a":{"c":[1,2]}}`, ""},
		{`{"a":{}}`, "[" + strings.Repeat(`{"op":"copy","from":"/a","path":"/a/b"},{"op":"copy","from":"/a","path":"/a/c"},`, 30) + `{"op":"remove","path":"/a"}]`, "", "the patch copies more than 3 MiB"},
		{`{"a":1}`, `{"op":"remove"}`, "", "a JSON patch is a list of operations"},
	} {
		got, err := jsonPatch([]byte(c.patch), decoded(t, c.live))
		switch {
		case err != nil && (c.err == "" || !strings.Contains(err.Error(), c.err)), err == nil && c.err != "":
			t.Errorf("%s of %s: %v, want %q", c.patch, c.live, err, c.err)
		case err == nil && encoded(t, got) != c.want:
			t.Errorf("%s of %s is %s, want %s", c.patch, c.live, encoded(t, got), c.want)
		}
	}
}

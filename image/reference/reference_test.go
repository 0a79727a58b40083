package reference

import (
	"errors"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
)

const (
	sha256Hex = "9b0f78e7ab4d9b1d2d4d6e35a1ad3a5b9a8b2ba0d9f9a2f2b7e5fb0a5c8d1e3f"
	sha256    = "sha256:" + sha256Hex
	sha512    = "sha512:" + sha256Hex + sha256Hex
)

// The expectations are what `docker pull` and distribution/reference make of the same names.
func TestParse(t *testing.T) {
	long := strings.Repeat("a", 255)
	tag128 := strings.Repeat("t", 128)
	tests := []struct {
		in       string
		want     Reference
		familiar string
	}{
		{"alpine", Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		{"alpine:3.20", Reference{"docker.io", "library/alpine", "3.20", ""}, "alpine:3.20"},
		{"library/alpine", Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		{"docker.io/alpine", Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		{"index.docker.io/alpine", Reference{"docker.io", "library/alpine", "latest", ""}, "alpine:latest"},
		{"index.docker.io/library/alpine:1", Reference{"docker.io", "library/alpine", "1", ""}, "alpine:1"},
		{"grafana/grafana", Reference{"docker.io", "grafana/grafana", "latest", ""}, "grafana/grafana:latest"},
		{"library/a/b", Reference{"docker.io", "library/a/b", "latest", ""}, "library/a/b:latest"},
		{"a/b/c/d", Reference{"docker.io", "a/b/c/d", "latest", ""}, "a/b/c/d:latest"},
		{"quay.io/podman/hello:v1", Reference{"quay.io", "podman/hello", "v1", ""}, "quay.io/podman/hello:v1"},
		{"localhost/x", Reference{"localhost", "x", "latest", ""}, "localhost/x:latest"},
		{"localhost", Reference{"docker.io", "library/localhost", "latest", ""}, "localhost:latest"},
		{"localhost:5000", Reference{"docker.io", "library/localhost", "5000", ""}, "localhost:5000"},
		{"localhost:5000/x", Reference{"localhost:5000", "x", "latest", ""}, "localhost:5000/x:latest"},
		{"foo:5000/bar:7", Reference{"foo:5000", "bar", "7", ""}, "foo:5000/bar:7"},
		{"127.0.0.1:5000/x/y:z", Reference{"127.0.0.1:5000", "x/y", "z", ""}, "127.0.0.1:5000/x/y:z"},
		{"[::1]/x", Reference{"[::1]", "x", "latest", ""}, "[::1]/x:latest"},
		{"[2001:db8::1]:5000/x:y", Reference{"[2001:db8::1]:5000", "x", "y", ""}, "[2001:db8::1]:5000/x:y"},
		{"Registry/x", Reference{"Registry", "x", "latest", ""}, "Registry/x:latest"},
		{"xn--n3h.com/x", Reference{"xn--n3h.com", "x", "latest", ""}, "xn--n3h.com/x:latest"},
		{"a_b/c__d/e---f/g.h", Reference{"docker.io", "a_b/c__d/e---f/g.h", "latest", ""}, "a_b/c__d/e---f/g.h:latest"},
		{"alpine@" + sha256, Reference{"docker.io", "library/alpine", "", sha256}, "alpine@" + sha256},
		{"alpine:3@" + sha256, Reference{"docker.io", "library/alpine", "3", sha256}, "alpine:3@" + sha256},
		{"q.io/a@" + sha512, Reference{"q.io", "a", "", sha512}, "q.io/a@" + sha512},
		{"x:" + tag128, Reference{"docker.io", "library/x", tag128, ""}, "x:" + tag128},
		{"x:_.-", Reference{"docker.io", "library/x", "_.-", ""}, "x:_.-"},
		{"x:Latest", Reference{"docker.io", "library/x", "Latest", ""}, "x:Latest"},
		{"q.io/" + long, Reference{"q.io", long, "latest", ""}, "q.io/" + long + ":latest"},
		{sha256Hex[:63], Reference{"docker.io", "library/" + sha256Hex[:63], "latest", ""}, sha256Hex[:63] + ":latest"},
		{sha256, Reference{"docker.io", "library/sha256", sha256Hex, ""}, sha256}, // store.Resolve asks for an ID, too
		// Short forms that would name something else stay whole.
		{"docker.io/localhost/x", Reference{"docker.io", "localhost/x", "latest", ""}, "docker.io/localhost/x:latest"},
		{"docker.io/a.b/x", Reference{"docker.io", "a.b/x", "latest", ""}, "docker.io/a.b/x:latest"},
		{"docker.io/" + sha256Hex, Reference{"docker.io", "library/" + sha256Hex, "latest", ""}, "docker.io/library/" + sha256Hex + ":latest"},
	}
	for _, test := range tests {
		got, err := Parse(test.in)
		if err != nil || got != test.want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", test.in, got, err, test.want)
			continue
		}
		if got := got.Familiar(); got != test.familiar {
			t.Errorf("Parse(%q).Familiar() = %q, want %q", test.in, got, test.familiar)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ in, why, advice string }{
		{"", "empty", "name an image"},
		{"Alpine", "lower case", "write it as alpine"},
		{"docker.io/library/Alpine:3", "lower case", "docker.io/library/alpine"},
		{"https://quay.io/x", "scheme", "write it as quay.io/x"},
		{"docker://alpine", "scheme", "write it as alpine"},
		{sha256Hex, "image ID", "minipod images"},
		{"alpine:", "no tag", "latest"},
		{"alpine:.x", "starts with", ""},
		{"alpine:-x", "starts with", ""},
		{"alpine:a b", "not allowed in a tag", ""},
		{"alpine:" + strings.Repeat("t", 129), "longer than 128", ""},
		{"alpine@", "no digest", "sha256"},
		{"alpine@sha256", "no digest", "sha256"},
		{"alpine@sha256:" + sha256Hex[1:], "64 lower-case", ""},
		{"alpine@sha256:" + strings.ToUpper(sha256Hex), "64 lower-case", ""},
		{"alpine@md5:" + sha256Hex[:32], "unknown digest algorithm", ""},
		{"alpine@" + sha256 + "@" + sha256, "64 lower-case", ""},
		{"/alpine", "empty part", ""},
		{"alpine/", "empty part", ""},
		{"a//b", "empty part", ""},
		{"quay.io/", "empty part", ""},
		{"q.io:/x", "no port", ""},
		{"q.io:a/x", "no port", ""},
		{"q..io/x", "empty part between dots", ""},
		{"-q.io/x", "hyphen", ""},
		{"q_a.io/x", "not allowed in a host", ""},
		{"[::1/x", "missing ]", ""},
		{"[]/x:1", "not allowed", ""},
		{"[fe80::1%eth0]/x", "IPv6", ""},
		{"[::1]5000/x", "port", ""},
		{"a..b", "too many separators", ""},
		{"a___b", "too many separators", ""},
		{"a._b", "too many separators", ""},
		{"a-_b", "too many separators", ""},
		{"-a", "starts or ends", ""},
		{"a_", "starts or ends", ""},
		{"a b", `" " is not allowed`, ""},
		{"größe", `"ö" is not allowed`, ""},
		{"a\x00b", "not allowed", ""},
		{"q.io/" + strings.Repeat("a", 256), "longer than 255", ""},
		{"..", "starts or ends", ""},
		{"../../etc/passwd", "between dots", ""},
	}
	for _, test := range tests {
		r, err := Parse(test.in)
		if err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", test.in, r)
			continue
		}
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.why) {
			t.Errorf("Parse(%q): %v; want %q", test.in, err, test.why)
		}
		if !strings.Contains(hint.Of(err), test.advice) {
			t.Errorf("Parse(%q): hint %q; want %q", test.in, hint.Of(err), test.advice)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"alpine", "a/b:c@" + sha256, "[::1]:5/x", "localhost:5000/x", "docker.io/localhost/x", "A/b", "a--b__c.d", sha256Hex} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			if r != (Reference{}) {
				t.Fatalf("Parse(%q) returns %+v beside an error", s, r)
			}
			_ = hint.Of(err)
			return
		}
		for _, form := range []string{r.String(), r.Familiar()} {
			if again, err := Parse(form); err != nil || again != r {
				t.Fatalf("Parse(%q) = %+v; its form %q gives %+v, %v", s, r, form, again, err)
			}
		}
		if strings.Contains(r.Name(), "..") || strings.ContainsAny(r.String(), "\x00\n \\") || r.Tag == "" && r.Digest == "" {
			t.Fatalf("Parse(%q) lets through %+v", s, r)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := Parse("registry.example.org:5000/team/project/image:v1.2.3"); err != nil {
			b.Fatal(err)
		}
	}
}

package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	c, err := config.Load(state.Dirs{Config: dir})
	if err != nil || c.Pull.Downloads != 3 || c.Storage.Driver != "auto" || c.Unqualified != "docker.io" {
		t.Fatalf("no file: %+v, %v", c, err)
	}
	name := filepath.Join(dir, "config.json")
	if c.File() != name {
		t.Errorf("File() = %s, want the file that could be made, %s", c.File(), name)
	}
	text := `{"registries": {"docker.io": {"mirrors": ["http://m.example:5000/hub"]}, "lan:5000": {"insecure": true}},
	          "storage": {"maxLayerSize": "1.5GiB"}}`
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = config.Load(state.Dirs{Config: dir}); err != nil {
		t.Fatal(err)
	}
	if m := c.Registry("docker.io").Mirrors; len(m) != 1 || m[0] != "http://m.example:5000/hub" {
		t.Errorf("mirrors = %q", m)
	}
	if !c.Registry("lan:5000").Insecure || c.Registry("elsewhere").Insecure {
		t.Error("insecure belongs to lan:5000 alone")
	}
	if c.Storage.MaxLayerSize != 3<<29 || c.Storage.Driver != "auto" {
		t.Errorf("storage = %+v", c.Storage)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{``, "the file is empty"},
		{"{\n\n  \"pull\": {,}}", "line 3"},
		{`{} {}`, "something follows"},
		{`{"registries": {"docker.io": {"mirors": ["x"]}}}`, "unknown field registries.docker.io.mirors (did you mean mirrors?)"},
		{`{"Storage": {}}`, "unknown field Storage (did you mean storage?)"},
		{`{"xyz": 1}`, "known here: network, pull, registries, storage, unqualified"},
		{"{\n\"pull\": {\"downloads\": \"3\"}}", "line 2: pull.downloads: a string where int is wanted"},
		{`{"pull": {"downloads": 0}}`, "pull.downloads: 0"},
		{`{"storage": {"driver": "zfs"}}`, `"zfs" is none of auto, overlay`},
		{`{"storage": {"maxLayerSize": "many"}}`, `"many" is no size`},
		{`{"storage": {"maxLayerSize": -1}}`, "not positive"},
		{`{"registries": {"https://docker.io/": {}}}`, "the key must be a host"},
		{`{"registries": {"docker.io": {"mirrors": [""]}}}`, "registries.docker.io.mirrors[0]"},
	} {
		_, err := config.Parse("/etc/c.json", []byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "/etc/c.json") {
			t.Errorf("Parse(%s) = %v, want %q", test.text, err, test.want)
		}
		if hint.Of(err) == "" {
			t.Errorf("Parse(%s): no hint", test.text)
		}
	}
}

func TestQualify(t *testing.T) {
	c := config.Default()
	if got := c.Qualify("alpine"); got != "alpine" {
		t.Errorf("by default: %s", got)
	}
	c.Unqualified = "registry.lan"
	for in, want := range map[string]string{
		"alpine":           "registry.lan/alpine",
		"alpine:3.20":      "registry.lan/alpine:3.20",
		"team/app":         "registry.lan/team/app",
		"docker.io/alpine": "docker.io/alpine",
		"localhost/app":    "localhost/app",
		"host:5000/app":    "host:5000/app",
	} {
		if got := c.Qualify(in); got != want {
			t.Errorf("Qualify(%s) = %s, want %s", in, got, want)
		}
	}
}

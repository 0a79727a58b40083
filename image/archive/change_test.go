package archive

import (
	"reflect"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestApplyChange(t *testing.T) {
	tests := []struct {
		changes []string
		want    ocispec.ImageConfig
	}{
		{[]string{"CMD echo hi"}, ocispec.ImageConfig{Cmd: []string{"/bin/sh", "-c", "echo hi"}}},
		{[]string{`cmd ["echo", "hi there"]`}, ocispec.ImageConfig{Cmd: []string{"echo", "hi there"}}},
		{[]string{"ENTRYPOINT []"}, ocispec.ImageConfig{Entrypoint: []string{}}},
		{[]string{"ENV A=1 B='x y' C=\"q\\\"\" D=a\\ b", "ENV A=2"}, ocispec.ImageConfig{Env: []string{"A=2", "B=x y", `C=q"`, "D=a b"}}},
		{[]string{"ENV KEY some  old value"}, ocispec.ImageConfig{Env: []string{"KEY=some  old value"}}},
		{[]string{"ENV EMPTY="}, ocispec.ImageConfig{Env: []string{"EMPTY="}}},
		{[]string{"LABEL a=b c.d=\"e f\""}, ocispec.ImageConfig{Labels: map[string]string{"a": "b", "c.d": "e f"}}},
		{[]string{"EXPOSE 80 53/UDP 8000-8001"}, ocispec.ImageConfig{ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}}},
		{[]string{"WORKDIR /srv", "WORKDIR a/../b"}, ocispec.ImageConfig{WorkingDir: "/srv/b"}},
		{[]string{"WORKDIR ../../x"}, ocispec.ImageConfig{WorkingDir: "/x"}},
		{[]string{"USER 1000:100", "STOPSIGNAL SIGQUIT"}, ocispec.ImageConfig{User: "1000:100", StopSignal: "SIGQUIT"}},
		{[]string{"VOLUME /a /b", `VOLUME ["/c d"]`}, ocispec.ImageConfig{Volumes: map[string]struct{}{"/a": {}, "/b": {}, "/c d": {}}}},
	}
	for _, test := range tests {
		var got ocispec.ImageConfig
		for _, change := range test.changes {
			if err := ApplyChange(&got, change); err != nil {
				t.Errorf("%q: %v", change, err)
			}
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: %+v, want %+v", test.changes, got, test.want)
		}
	}
}

func TestApplyChangeRefuses(t *testing.T) {
	for change, why := range map[string]string{
		"":                    "unknown instruction",
		"RUN ls":              "unknown instruction",
		"CMD":                 "needs a value",
		"CMD [echo]":          "JSON",
		`ENTRYPOINT ["a", 1]`: "JSON",
		"ENV A":               "KEY=VALUE",
		"ENV =x":              "KEY=VALUE",
		"ENV A='x":            "quote",
		`LABEL a=b\`:          "quote",
		"EXPOSE http":         "port",
		"EXPOSE 0":            "port",
		"EXPOSE 70000":        "port",
		"EXPOSE 9-8":          "port",
		"EXPOSE 80/icmp":      "protocol",
	} {
		var config ocispec.ImageConfig
		if err := ApplyChange(&config, change); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", change, err, why)
		}
	}
}

func FuzzApplyChange(f *testing.F) {
	for _, seed := range []string{"CMD [\"a\"]", "ENV A=1 B='x y'", "EXPOSE 1-65535/udp", "WORKDIR a", "LABEL \\", "VOLUME [\"\"]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, change string) {
		var config ocispec.ImageConfig
		if ApplyChange(&config, change) != nil {
			return
		}
		if config.WorkingDir != "" && (!strings.HasPrefix(config.WorkingDir, "/") || strings.Contains(config.WorkingDir+"/", "/../")) {
			t.Fatalf("%q: working folder %q", change, config.WorkingDir)
		}
		for _, e := range config.Env {
			if strings.Index(e, "=") < 1 {
				t.Fatalf("%q: environment %q", change, e)
			}
		}
	})
}

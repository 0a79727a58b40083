package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/runtime"
)

// inspected is a container as it is known in full.
func inspected() (runtime.Record, *specs.Spec, *flags.Run, *ocispec.ImageConfig) {
	r := runtime.Record{
		ID: strings.Repeat("ab", 32), Name: "web", Image: "nginx:1", ImageID: "sha256:" + strings.Repeat("c", 64),
		Command: []string{"/entry.sh", "nginx", "-g", "daemon off;"}, Status: runtime.StatusRunning, PID: 4711, Birth: 1,
		Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Started: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC),
		Remove: true, Volumes: []string{"data"}, Labels: map[string]string{"tier": "web"},
	}
	limit, quota, period, pids, shares, adjusted := int64(512<<20), int64(50_000), uint64(100_000), int64(100), uint64(512), 300
	s := &specs.Spec{
		Hostname: "webhost", Root: &specs.Root{Readonly: true}, Annotations: map[string]string{"org.opencontainers.image.stopSignal": "SIGQUIT"},
		Process: &specs.Process{
			Args: []string{"/entry.sh", "nginx", "-g", "daemon off;"}, Cwd: "/srv", Env: []string{"PATH=/bin", "A=1"}, User: specs.User{Username: "www"},
			OOMScoreAdj: &adjusted, Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 2048, Soft: 1024}, {Type: "RLIMIT_CORE", Hard: ^uint64(0), Soft: 0}},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm"},
			{Destination: "/data", Type: "bind", Source: "/home/ann/.local/share/minipod/volumes/data/_data", Options: []string{"rbind", "rprivate", "rw"}},
			{Destination: "/etc/nginx", Type: "bind", Source: "/home/ann/conf", Options: []string{"rbind", "rslave", "ro"}},
			{Destination: "/run", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=1m"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{{Type: specs.UserNamespace}, {Type: specs.NetworkNamespace}}, MaskedPaths: []string{"/proc/kcore"},
			Resources: &specs.LinuxResources{
				Memory: &specs.LinuxMemory{Limit: &limit}, CPU: &specs.LinuxCPU{Quota: &quota, Period: &period, Shares: &shares, Cpus: "0-1"}, Pids: &specs.LinuxPids{Limit: &pids},
			},
		},
	}
	f := &flags.Run{
		Image: "nginx:1", Args: []string{"nginx", "-g", "daemon off;"}, TTY: true, Interactive: true, ReadOnly: true, Init: true, NoNewPrivileges: true,
		CapAdd: []string{"NET_ADMIN"}, CapDrop: []string{"ALL"}, Network: "none", AddHosts: []flags.Host{{Name: "db", Addr: "10.0.0.1"}}, User: "www",
		Mounts: []flags.Mount{
			{Type: "volume", Source: "data", Target: "/data", Options: []string{"rbind", "rw"}},
			{Type: "bind", Source: "/home/ann/conf", Target: "/etc/nginx", Options: []string{"rbind", "rslave", "ro"}},
			{Type: "tmpfs", Target: "/run", Options: []string{"size=1m"}},
		},
	}
	image := &ocispec.ImageConfig{
		Entrypoint: []string{"/entry.sh"}, Cmd: []string{"nginx"}, Env: []string{"PATH=/bin"}, WorkingDir: "/srv", User: "root", StopSignal: "SIGQUIT",
		Labels: map[string]string{"maintainer": "them", "tier": "image's"},
	}
	return r, s, f, image
}

// scripted are templates that docker's users have in their scripts.
const scripted = `{{.Id}} {{.Name}} {{.Created}} {{.Path}} {{join .Args "|"}}
{{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.Restarting}} {{.State.OOMKilled}} {{.State.Dead}} {{.State.Pid}} {{.State.ExitCode}}
{{.State.StartedAt}} {{.State.FinishedAt}} {{.Image}} {{.RestartCount}} {{.Platform}}
{{json .HostConfig.Binds}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}} {{.HostConfig.PidsLimit}} {{.HostConfig.CpusetCpus}}
{{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.AutoRemove}} {{.HostConfig.Privileged}} {{.HostConfig.ReadonlyRootfs}}
{{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}} {{.HostConfig.ShmSize}} {{.HostConfig.LogConfig.Type}} {{.HostConfig.OomScoreAdj}} {{json .HostConfig.Ulimits}}
{{json .HostConfig.Tmpfs}} {{.HostConfig.ExtraHosts}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Init}}
{{range .Mounts}}{{.Type}} {{.Name}} {{.Source}} {{.Destination}} {{.Mode}} {{.RW}} {{.Propagation}};{{end}}
{{.Config.Hostname}} {{.Config.User}} {{.Config.Env}} {{json .Config.Cmd}} {{.Config.Image}} {{json .Config.Entrypoint}} {{.Config.WorkingDir}}
{{json .Config.Labels}} {{.Config.Tty}} {{.Config.OpenStdin}} {{.Config.StopSignal}}
{{.NetworkSettings.IPAddress}} {{json .NetworkSettings.Ports}} {{range $name, $net := .NetworkSettings.Networks}}{{$name}}={{$net.IPAddress}}{{end}} {{.NetworkSettings.SandboxKey}} {{.LogPath}}`

func inspectAs(t *testing.T, format string, c containerRecord) string {
	t.Helper()
	var out bytes.Buffer
	if err := printInspect(&out, []any{&c}, format); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func diff(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		switch {
		case i >= len(g) || i >= len(w):
			t.Fatalf("%d lines, want %d", len(g), len(w))
		case strings.TrimSpace(g[i]) != strings.TrimSpace(w[i]):
			t.Errorf("got  %s\nwant %s", g[i], w[i])
		}
	}
}

func TestDescribe(t *testing.T) {
	id := strings.Repeat("ab", 32)
	image := "sha256:" + strings.Repeat("c", 64)
	diff(t, inspectAs(t, scripted, describe(inspected())), id+` /web 2026-01-02T03:04:05.000000006Z /entry.sh nginx|-g|daemon off;
running true false false false false 4711 0
2026-01-02T03:04:06Z 0001-01-01T00:00:00Z `+image+` 0 linux
["data:/data","/home/ann/conf:/etc/nginx:ro"] 536870912 500000000 512 100 0-1
none no true false true
[NET_ADMIN] [ALL] 67108864 none 300 [{"Name":"nofile","Hard":2048,"Soft":1024},{"Name":"core","Hard":-1,"Soft":0}]
{"/run":"size=1m"} [db:10.0.0.1] [no-new-privileges] true
volume data /home/ann/.local/share/minipod/volumes/data/_data /data  true ;bind  /home/ann/conf /etc/nginx ro false rslave;tmpfs   /run  true ;
webhost www [PATH=/bin A=1] ["nginx","-g","daemon off;"] nginx:1 ["/entry.sh"] /srv
{"maintainer":"them","tier":"web"} true true SIGQUIT
 {} none= /proc/4711/ns/net `)
}

// TestDescribeLess is a container of which some parts are not known.
func TestDescribeLess(t *testing.T) {
	r, s, f, image := inspected()
	before, _ := json.Marshal(s)
	const short = `{{.Path}} {{.Args}} {{json .Config.Cmd}} {{json .Config.Entrypoint}} {{.Config.Hostname}} {{.Config.Env}} {{.HostConfig.NetworkMode}} {{len .Mounts}} {{.HostConfig.Memory}}`
	for name, tt := range map[string]struct {
		c    containerRecord
		want string
	}{
		"the record alone":  {describe(r, nil, nil, nil), `/entry.sh [nginx -g daemon off;] ["/entry.sh","nginx","-g","daemon off;"] null abababababab []  1 0`},
		"with the image":    {describe(r, nil, nil, image), `/entry.sh [nginx -g daemon off;] ["nginx","-g","daemon off;"] ["/entry.sh"] abababababab [PATH=/bin]  1 0`},
		"with the flags":    {describe(r, nil, f, image), `/entry.sh [nginx -g daemon off;] ["nginx","-g","daemon off;"] ["/entry.sh"] abababababab [PATH=/bin] none 3 0`},
		"without the flags": {describe(r, s, nil, image), `/entry.sh [nginx -g daemon off;] ["nginx","-g","daemon off;"] ["/entry.sh"] webhost [PATH=/bin A=1] none 2 536870912`},
		"an unreadable one": {describe(runtime.Record{ID: strings.Repeat("d", 64), Name: "x", Status: runtime.StatusDead}, nil, nil, nil), ` [] null null dddddddddddd []  0 0`},
		"an empty spec":     {describe(r, &specs.Spec{}, nil, nil), `/entry.sh [nginx -g daemon off;] ["/entry.sh","nginx","-g","daemon off;"] null abababababab []  1 0`},
	} {
		if got := inspectAs(t, short, tt.c); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, tt.want)
		}
	}
	entrypoint := "sh"
	f.Entrypoint, f.Args = &entrypoint, nil
	if got := inspectAs(t, "{{.Config.Entrypoint}} {{.Config.Cmd}}", describe(r, nil, f, image)); got != "[sh] []" {
		t.Errorf("an entrypoint of the user's drops the image's command: %s", got)
	}
	entrypoint = ""
	if got := inspectAs(t, "{{.Config.Entrypoint}} {{.Config.Cmd}}", describe(r, nil, f, image)); got != "[] []" {
		t.Errorf("an empty entrypoint: %s", got)
	}
	s.Linux.Namespaces = s.Linux.Namespaces[:1]
	s.Mounts = []specs.Mount{{Destination: "/sys", Type: "bind", Source: "/sys"}, {Destination: "/x", Type: "bind", Source: "/x"}}
	if got := inspectAs(t, "{{.HostConfig.NetworkMode}} {{len .Mounts}}", describe(r, s, nil, nil)); got != "host 1" {
		t.Errorf("the host's network: %s", got)
	}
	_, fresh, _, _ := inspected()
	if after, _ := json.Marshal(fresh); string(before) != string(after) {
		t.Error("describe changed what it was given")
	}
}

// TestDescribeJSON holds the names at the top to docker's, in its JSON.
func TestDescribeJSON(t *testing.T) {
	var out bytes.Buffer
	c := describe(inspected())
	if err := printInspect(&out, []any{&c}, ""); err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Id", "Created", "Path", "Args", "State", "Image", "LogPath", "Name", "RestartCount", "Driver", "Platform", "MountLabel", "HostConfig", "Mounts", "Config", "NetworkSettings"} {
		if _, ok := got[0][name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	if _, ok := got[0]["SizeRw"]; ok {
		t.Error("a size that nobody asked for")
	}
	host := got[0]["HostConfig"].(map[string]any)
	if host["CpuShares"] != 512.0 || host["Memory"] != float64(512<<20) || host["NanoCpus"] != 5e8 {
		t.Errorf("%v", host)
	}
}

func TestInspectTyped(t *testing.T) {
	endedContainers(t)
	for line, want := range map[string]string{
		"inspect -f {{.Name}} mid":                          "/mid\n",
		"inspect -f {{.Name}}:{{.State.ExitCode}} old b2":   "/old:137\n/mid:0\n",
		"inspect --type container -f {{.State.Status}} new": "exited\n",
		"inspect --format {{.ID}}/{{.Id}} new":              strings.Repeat("b3", 32) + "/" + strings.Repeat("b3", 32) + "\n",
		"inspect -f {{.Id}} new":                            strings.Repeat("b3", 32) + "\n",
		"inspect -f {{json_.Config.Labels}} mid":            "{\"tier\":\"web\"}\n",
		"inspect -f {{.State.FinishedAt}} new":              "2026-01-02T13:04:05Z\n",
	} {
		args := strings.Fields(line)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "json_", "json ")
		}
		if out, err, _ := typed(t, args...); out != want {
			t.Errorf("%s: %q, want %q %s", line, out, want, err)
		}
	}
	for line, want := range map[string]string{
		"inspect nobody":                  "no such object: nobody\nhint: list them: minipod ps -a, minipod images",
		"inspect --type container nobody": "no such container: nobody",
		"inspect --type image old":        "no such image",
		"inspect --type network x":        "use container or image",
		"inspect b":                       "2 containers have ids that begin with b",
	} {
		if out, err, status := typed(t, strings.Fields(line)...); !strings.Contains(err, want) || status == 0 {
			t.Errorf("%s: %d %q %s", line, status, out, err)
		}
	}
	if _, err, status := typed(t, "inspect", "mid", "nobody", "-f", "{{.Name}}"); status != 1 || !strings.Contains(err, "nobody") {
		t.Errorf("%d %s", status, err)
	}
}

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/runtime"
)

// writeRecord makes a container that has ended.
func writeRecord(t *testing.T, r runtime.Record) {
	t.Helper()
	dir := filepath.Join(os.Getenv("MINIPOD_ROOT"), "containers", r.ID)
	if err := os.MkdirAll(filepath.Join(dir, "upper", "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.Version = 1
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"record.json": data, "lock": nil, "upper/etc/written": make([]byte, 1500)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "upper/etc/written"), filepath.Join(dir, "upper/second-name")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "upper/link")); err != nil {
		t.Fatal(err)
	}
}

func endedContainers(t *testing.T) {
	t.Helper()
	home(t)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, r := range []runtime.Record{
		{Name: "old", Image: "alpine", Command: []string{"sh", "-c", "echo a long\x1b command"}, ExitCode: 137},
		{Name: "mid", Image: "nginx", ExitCode: 0, Labels: map[string]string{"tier": "web"}, Volumes: []string{"data", "a-name-that-is-long"}},
		{Name: "new", Image: "alpine", ExitCode: 137},
	} {
		r.ID, r.Status = strings.Repeat([]string{"a1", "b2", "b3"}[i], 32), runtime.StatusExited
		r.Created, r.Finished = start.Add(time.Duration(i)*time.Hour), start.Add(10*time.Hour)
		writeRecord(t, r)
	}
}

// TestPsFlags is docker's `ps` over three containers that have ended: which of them are listed, and how.
func TestPsFlags(t *testing.T) {
	endedContainers(t)
	for line, want := range map[string]string{
		"":                                       "",
		"-a":                                     "new mid old",
		"-n 2":                                   "new mid",
		"--last 1":                               "new",
		"-l":                                     "new",
		"-n 0":                                   "",
		"-n 9":                                   "new mid old",
		"--filter exited=137":                    "", // docker wants -a here
		"-a --filter exited=137":                 "new old",
		"-a -f exited=137 -f exited=0":           "new mid old",
		"-a -f exited=1":                         "",
		"-f status=exited":                       "new mid old", // and here it does not
		"-f status=exited -f name=mid":           "mid",
		"-f status=running":                      "",
		"-a -f name=^m":                          "mid",
		"-a -f name=^/m":                         "mid",
		"-a -f name=e":                           "new",
		"-a -f name=old -f name=new":             "new old",
		"-a -f id=b2":                            "mid",
		"-a -f label=tier":                       "mid",
		"-a -f label=tier=db":                    "",
		"-a -f label!=tier":                      "new old",
		"-a -f ancestor=alpine":                  "new old",
		"-a -f ancestor=nobody":                  "",
		"-a -f volume=data":                      "mid",
		"-a -f before=mid":                       "old",
		"-a -f since=mid":                        "new",
		"-a -f since=a1a1":                       "new mid",
		"-a -f since=old -f before=b3b3b3b3b3b3": "mid",
		"-n 1 -f exited=0":                       "mid",
	} {
		out, err, status := typed(t, append(strings.Fields("ps --format {{.Names}}"), strings.Fields(line)...)...)
		if got := strings.Join(strings.Fields(out), " "); got != want || status != 0 || err != "" {
			t.Errorf("ps %s = %q, want %q; %d %s", line, got, want, status, err)
		}
	}
	for line, want := range map[string]string{
		"-f health=healthy":       "invalid filter \"health\": use one of id, name",
		"-f network=x":            "invalid filter \"network\"",
		"-f status=gone":          "use one of created, restarting, running",
		"-f exited=x":             "it must be an exit status",
		"-f name=[":               "invalid filter: error parsing regexp",
		"-n x":                    "invalid value \"x\"",
		"--tree -q":               "--tree and --quiet exclude each other",
		"--tree --format {{.ID}}": "--tree and --format exclude each other",
	} {
		if _, err, status := typed(t, append([]string{"ps"}, strings.Fields(line)...)...); !strings.Contains(err, want) || status != 125 {
			t.Errorf("ps %s: %d %s", line, status, err)
		}
	}
	for line, want := range map[string]string{"-a -f before=nobody": "no such container: nobody", "-a -f since=b": "more than one container has an id that begins with b"} {
		if _, err, status := typed(t, append([]string{"ps"}, strings.Fields(line)...)...); !strings.Contains(err, want) || status != 1 {
			t.Errorf("ps %s: %d %s", line, status, err)
		}
	}
}

func TestPsFields(t *testing.T) {
	endedContainers(t)
	for format, want := range map[string]string{
		"{{.Command}}":                              `"sh -c 'echo a long\x1b…"`,
		"{{.CreatedAt}}":                            time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Local().Format("2006-01-02 15:04:05 -0700 MST"),
		"{{.State}} {{.Ports}}":                     "exited",
		`{{.Platform}}`:                             hostPlatform(),
		"table {{.Names}}\t{{.Label \"tier\"}}":     "NAMES   tier\nold",
		"{{.LocalVolumes}} {{.Mounts}} {{.Labels}}": "0  ",
	} {
		if out, err, _ := typed(t, "ps", "-a", "-f", "name=old", "--format", format); strings.TrimRight(out, " \n") != strings.TrimRight(want, " \n") || err != "" {
			t.Errorf("%s = %q, want %q %s", format, out, want, err)
		}
	}
	if out, _, _ := typed(t, "ps", "-a", "-f", "name=mid", "--format", `{{.Label "tier"}} {{.LocalVolumes}} {{.Mounts}}`); out != "web 2 data,a-name-that-is…\n" {
		t.Errorf("%q", out)
	}
	if out, _, _ := typed(t, "ps", "-a", "-f", "name=mid", "--no-trunc", "--format", "{{.ID}} {{.Mounts}}"); out != strings.Repeat("b2", 32)+" data,a-name-that-is-long\n" {
		t.Errorf("%q", out)
	}
	if out, _, _ := typed(t, "ps", "-a", "--format", "json"); strings.Count(out, `"LocalVolumes":`) != 3 || strings.Contains(out, "labels") {
		t.Errorf("%s", out)
	}
}

func TestTreeSize(t *testing.T) {
	endedContainers(t)
	dir := filepath.Join(os.Getenv("MINIPOD_ROOT"), "containers", strings.Repeat("a1", 32), "upper")
	if size, err := treeSize(dir); size != 1500 || err != nil {
		t.Errorf("%d bytes, %v: one file of two names, and a link that leads out", size, err)
	}
	if size, err := treeSize(filepath.Join(dir, "nowhere")); size != 0 || err != nil {
		t.Errorf("%d bytes, %v", size, err)
	}
}

func TestPsTreeWithoutContainers(t *testing.T) {
	endedContainers(t)
	out, err, status := typed(t, "ps", "--tree", "-a")
	if !strings.HasPrefix(out, "PID      INSIDE   STATE          ROLE        PROCESS\n") || !strings.Contains(out, "/proc/self/status") || status != 0 {
		t.Errorf("%s %s", out, err)
	}
}

// TestFitTable: the widest columns are cut first, none to nothing and some not at all; a table that fits stays as it is.
func TestFitTable(t *testing.T) {
	table := [][]string{{"ID", "IMAGE", "NAMES"}, {"0123456789ab", "alpine", "k8s_app_web_default_77aa_0"}, {"ba9876543210", "数据库/img", "box"}}
	for width, want := range map[int]string{
		100: "k8s_app_web_default_77aa_0",
		44:  "k8s_app_web_def…",
		10:  "k8s_app_w…",
	} {
		got := fitTable(table, width, []string{"ID"})
		if got[1][2] != want || got[1][0] != "0123456789ab" || got[2][1] != "数据库/img" || got[2][2] != "box" {
			t.Errorf("%d: %q, want %q", width, got, want)
		}
	}
}

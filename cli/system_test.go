package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/volume"
)

func someUsage() *usage {
	image := func(id, name string, users int, parts map[digest.Digest]int64) imageUsage {
		img := &store.Image{ID: digest.Digest("sha256:" + strings.Repeat(id, 64)), Names: []string{name}}
		return imageUsage{Image: img, record: imageRecord{ID: string(img.ID)}, users: users, parts: parts}
	}
	now := time.Now()
	return &usage{
		images: []imageUsage{
			image("a", "docker.io/library/used:1", 2, map[digest.Digest]int64{"shared": 1000, "a": 500}),
			image("b", "docker.io/library/idle:1", 0, map[digest.Digest]int64{"shared": 1000, "b": 1500}),
		},
		containers: []containerUsage{
			{runtime.Record{ID: strings.Repeat("1", 64), Name: "up", Status: runtime.StatusRunning, Created: now, Started: now, Volumes: []string{"data"}}, 300},
			{runtime.Record{ID: strings.Repeat("2", 64), Name: "down", Status: runtime.StatusExited, Created: now, Finished: now}, 100},
		},
		volumes: []volumeUsage{{&volume.Volume{Name: "data"}, 40, 1}, {&volume.Volume{Name: "old"}, 60, 0}},
	}
}

// TestTallies: what two images share is there once, and stays as long as one of them is used.
func TestTallies(t *testing.T) {
	images, containers, volumes := someUsage().tallies()
	for _, tt := range []struct {
		got  dfRow
		want dfRow
	}{
		{images.row("Images"), dfRow{"Images", "2", "1", "3kB", "1.5kB (50%)"}},
		{containers.row("Containers"), dfRow{"Containers", "2", "1", "400B", "100B (25%)"}},
		{volumes.row("Local Volumes"), dfRow{"Local Volumes", "2", "1", "100B", "60B (60%)"}},
		{(&tally{}).row("Build Cache"), dfRow{"Build Cache", "0", "0", "0B", "0B"}},
	} {
		if tt.got != tt.want {
			t.Errorf("%+v, want %+v", tt.got, tt.want)
		}
	}
}

func TestUsageTables(t *testing.T) {
	var b strings.Builder
	if err := someUsage().printVerbose(&b, time.Now()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(b.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	const want = `Images space usage:

REPOSITORY TAG IMAGE ID CREATED SIZE SHARED SIZE UNIQUE SIZE CONTAINERS
used 1 aaaaaaaaaaaa N/A 1.5kB 1kB 500B 2
idle 1 bbbbbbbbbbbb N/A 2.5kB 1kB 1.5kB 0

Containers space usage:

CONTAINER ID IMAGE COMMAND LOCAL VOLUMES SIZE CREATED STATUS NAMES
111111111111 "" 1 300B Less than a second ago Up Less than a second up
222222222222 "" 0 100B Less than a second ago Exited (0) Less than a second ago down

Local Volumes space usage:

VOLUME NAME LINKS SIZE
data 1 40B
old 0 60B

Build cache usage: 0B`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestSystemPruneWarning(t *testing.T) {
	const want = "This will remove:\n  - all stopped containers\n  - all anonymous volumes not used by at least one container\n" +
		"  - all images without at least one container associated to them\n"
	if got := systemPruneWarning(true, true); got != want {
		t.Errorf("%q", got)
	}
	if got := systemPruneWarning(false, false); strings.Contains(got, "volumes") || !strings.Contains(got, "dangling images") {
		t.Errorf("%q", got)
	}
}

func TestParseCpPlace(t *testing.T) {
	for arg, want := range map[string]cpPlace{
		"web:/etc":    {"web", "/etc"},
		"web:etc:x":   {"web", "etc:x"},
		"/tmp/a:b":    {"", "/tmp/a:b"},
		"./a:b":       {"", "./a:b"},
		"../a:b":      {"", "../a:b"},
		"file":        {"", "file"},
		"-":           {"", "-"},
		"web:":        {"web", ""},
		":/not/named": {"", "/not/named"},
	} {
		if got := parseCpPlace(arg); got != want {
			t.Errorf("%q: %+v, want %+v", arg, got, want)
		}
	}
}

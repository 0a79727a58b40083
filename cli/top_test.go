package cli

import (
	"bytes"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/view"
)

func TestPsRows(t *testing.T) {
	processes := []view.Process{{PID: 10}, {PID: 12}}
	for name, tt := range map[string]struct{ printed, want string }{
		"-ef":               {"UID   PID  PPID CMD\nann    10     1 nginx:  master process\nann    11     1 vi 12\nann    12    10 nginx: worker\n", "UID|PID|PPID|CMD\nann|10|1|nginx: master process\nann|12|10|nginx: worker\n"},
		"PID last":          {"CMD PID\nsh 10\nsh 11\n", "CMD|PID\nsh|10\n"},
		"an empty command":  {"PID CMD\n10\n12 x\n", "PID|CMD\n10\n12|x\n"},
		"threads":           {"PID LWP CMD\n10 - sh\n- 10 -\n", "PID|LWP|CMD\n10|-|sh\n"},
		"nobody":            {"PID CMD\n1 init\n", "PID|CMD\n"},
		"titles alone":      {"PID CMD", "PID|CMD\n"},
		"a name that tries": {"PID CMD\n10 a\x1b[2J\n", "PID|CMD\n10|a\x1b[2J\n"},
	} {
		rows, err := psRows(tt.printed, processes)
		got := ""
		for _, row := range rows {
			got += strings.Join(row, "|") + "\n"
		}
		if got != tt.want || err != nil {
			t.Errorf("%s: %q, want %q (%v)", name, got, tt.want, err)
		}
	}
	if _, err := psRows("LWP CMD\n10 x\n", processes); err == nil {
		t.Error("without PID, and no error")
	}
	var out bytes.Buffer
	if err := printColumns(&out, [][]string{{"PID", "CMD"}, {"10", "a\x1b[2J"}}); err != nil || out.String() != "PID                 CMD\n10                  a\\x1b[2J\n" {
		t.Errorf("%q %v", out.String(), err)
	}
}

func TestTopTyped(t *testing.T) {
	endedContainers(t)
	for line, want := range map[string]string{
		"top":              `requires at least 1 argument, got 0`,
		"top -ef":          `the container comes first, and "-ef" is none`,
		"top old":          "container old is not running: it is exited\nhint: list those that are: minipod ps",
		"top nobody":       "no such container: nobody",
		"ns old":           "container old is not running",
		"cgroups old":      "container old is not running",
		"cgroups -o table": "use json or yaml",
	} {
		if _, err, status := typed(t, strings.Fields(line)...); !strings.Contains(err, want) || status == 0 {
			t.Errorf("%s: %d %s", line, status, err)
		}
	}
	if out, _, status := typed(t, "top", "--help"); !strings.Contains(out, "minipod top CONTAINER [PS OPTION...]") && !strings.Contains(out, "PS OPTION") || status != 0 {
		t.Errorf("%s", out)
	}
}

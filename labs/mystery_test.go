package labs_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/labs"
)

// TestMystery makes each of lab 19's mysteries, of which TestLabs meets a few by chance: the judge names what is missing, and so does the script
// of the solution.
func TestMystery(t *testing.T) {
	t.Parallel()
	lab, err := labs.Find(labs.Content(), "19")
	must(t, err)
	l := prepareCourse(t).learner(t, lang.English, lab.ID)
	if why := l.lacks()[lab.ID]; len(why) > 0 {
		t.Skipf("this machine lacks %s", strings.Join(why, ", "))
	}
	_, err = l.minipod("lab", "start", lab.ID)
	must(t, err)
	script := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command("sh", append([]string{filepath.Join(l.world(), "files", name)}, args...)...)
		cmd.Env = append(l.env, "MINIPOD_ROOT="+l.world())
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		must(t, err)
		return strings.TrimSpace(string(out))
	}
	for _, one := range lab.Invariants {
		script("mystery.sh", one.Name)
		if got := script("compare.sh"); got != one.Name {
			t.Errorf("%s is missing, and compare.sh finds %s", one.Name, got)
		}
		out, err := l.minipod("lab", "check", "--all", "-o", "json")
		must(t, err)
		var steps []judgement
		must(t, json.Unmarshal([]byte(out), &steps))
		var broken []string
		for _, v := range steps[lab.Step("repair")].Verdicts {
			if v.Status != labs.Pass {
				broken = append(broken, v.Hint)
			}
		}
		want := one.Name
		if want == "ipc" {
			want = "ipc shm" // which goes with it
		}
		if got := strings.Join(broken, " "); got != want {
			t.Errorf("%s is missing, and the judge finds %s", one.Name, got)
		}
	}
	l.reset(lab)
}

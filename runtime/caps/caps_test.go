package caps

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
)

func TestDefaultIsDockers(t *testing.T) {
	want := []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_SETFCAP",
	}
	if got := Default.Names(); !slices.Equal(got, want) {
		t.Errorf("Default = %v, want %v", got, want)
	}
	if Default != 0xa80425fb { // CapEff of `docker run alpine grep Cap /proc/self/status`
		t.Errorf("Default = %#x, want 0xa80425fb", uint64(Default))
	}
}

func TestAllCoversTheKernel(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		t.Skipf("no cap_last_cap: %v", err)
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if last >= len(names) {
		t.Errorf("the kernel knows capability %d, the table ends at %d", last, len(names)-1)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Set
	}{
		{"CAP_CHOWN", chown},
		{"chown", chown},
		{"Net_Raw", netRaw},
		{"cap_setfcap", setfcap},
		{"CHECKPOINT_RESTORE", 1 << 40},
		{"all", All},
	} {
		if got, err := Parse(c.in); err != nil || got != c.want {
			t.Errorf("Parse(%q) = %#x, %v; want %#x", c.in, uint64(got), err, uint64(c.want))
		}
	}
}

func TestParseUnknown(t *testing.T) {
	for _, c := range []struct{ in, hint string }{
		{"NET_ADMN", "did you mean CAP_NET_ADMIN?"},
		{"CAP_SYSADMIN", "did you mean CAP_SYS_ADMIN?"},
		{"", "run `man 7 capabilities` for the names"},
		{"CAP_", "run `man 7 capabilities` for the names"},
	} {
		_, err := Parse(c.in)
		if err == nil {
			t.Errorf("Parse(%q) gave no error", c.in)
		} else if got := hint.Of(err); got != c.hint {
			t.Errorf("Parse(%q): hint %q, want %q", c.in, got, c.hint)
		}
	}
}

func TestApply(t *testing.T) {
	for _, c := range []struct {
		name      string
		add, drop []string
		want      Set
	}{
		{"nothing", nil, nil, Default},
		{"add", []string{"net_admin"}, nil, Default | 1<<12},
		{"drop", nil, []string{"CHOWN"}, Default &^ chown},
		{"added after dropped", []string{"CHOWN"}, []string{"CHOWN"}, Default},
		{"drop all", nil, []string{"ALL"}, 0},
		{"drop all, add one", []string{"KILL"}, []string{"all"}, kill},
		{"add all", []string{"ALL"}, nil, All},
		{"add all, drop one", []string{"ALL"}, []string{"SYS_ADMIN"}, All &^ (1 << 21)},
		{"add all, drop all", []string{"ALL"}, []string{"ALL"}, All},
	} {
		if got, err := Apply(Default, c.add, c.drop); err != nil || got != c.want {
			t.Errorf("%s: Apply = %#x, %v; want %#x", c.name, uint64(got), err, uint64(c.want))
		}
	}
	if _, err := Apply(Default, nil, []string{"NOPE"}); err == nil {
		t.Error("an unknown name to drop gave no error")
	}
}

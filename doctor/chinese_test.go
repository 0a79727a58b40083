package doctor

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"codeberg.org/minipod/minipod/internal/lang"
)

// TestChinese: who reads Chinese is told in it what was looked at, why it matters and what to do; what to type and what files say stays.
func TestChinese(t *testing.T) {
	h := healthy(t)
	h.Language = lang.Chinese
	h.remove("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers")
	names := []string{"newuidmap and newgidmap", "/dev/net/tun", "XDG_RUNTIME_DIR", "fuse-overlayfs"} // are what they are
	for _, r := range Run(t.Context(), h.Env) {
		if !chinese(r.Title) && !slices.Contains(names, r.Title) || !chinese(r.Why) {
			t.Errorf("%s: %q, %q", r.Name, r.Title, r.Why)
		}
		for _, e := range r.Evidence {
			if !chinese(e) {
				t.Errorf("%s: %q", r.Name, e)
			}
		}
		for _, line := range r.Fix {
			if strings.HasPrefix(line, "#") && !chinese(line) {
				t.Errorf("%s: %q", r.Name, line)
			}
		}
	}
}

func chinese(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Han, r) })
}

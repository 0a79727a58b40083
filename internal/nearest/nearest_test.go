package nearest

import "testing"

func TestName(t *testing.T) {
	candidates := []string{"volume", "env", "env-file", "entrypoint", "read-only", "rm"}
	for _, c := range []struct{ in, want string }{
		{"volum", "volume"},
		{"volmue", "volume"}, // neighbours swapped: one change
		{"evn", "env"},
		{"entry-point", "entrypoint"},
		{"readonly", "read-only"},
		{"rn", "rm"},
		{"detach", ""},
		{"", ""},
	} {
		if got := Name(c.in, candidates); got != c.want {
			t.Errorf("Name(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

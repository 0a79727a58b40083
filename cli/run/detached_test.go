package run

import (
	"slices"
	"testing"
)

func TestLogoutWarning(t *testing.T) {
	systemd, manager, linger := "/run/systemd/system", "/run/user/1000/systemd", "/var/lib/systemd/linger/mia"
	for _, tt := range []struct {
		name  string
		files []string
		user  string
		warns bool
	}{
		{"a user's manager that ends with the session", []string{systemd, manager}, "mia", true},
		{"it lingers", []string{systemd, manager, linger}, "mia", false},
		{"somebody else does", []string{systemd, manager, linger}, "max", true},
		{"no manager of the user's", []string{systemd}, "mia", false},
		{"another init", []string{manager}, "mia", false},
		{"nobody in the environment", []string{systemd, manager}, "", false},
	} {
		got := logoutWarning(func(name string) bool { return slices.Contains(tt.files, name) }, tt.user, 1000)
		if (got != "") != tt.warns {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

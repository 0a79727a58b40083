package flags

import (
	"reflect"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
)

func TestParsePublish(t *testing.T) {
	for value, want := range map[string][]Port{
		"80":                      {{"", 0, 80, "tcp"}},
		"8080:80":                 {{"", 8080, 80, "tcp"}},
		"8080:80/tcp":             {{"", 8080, 80, "tcp"}},
		"5353:53/UDP":             {{"", 5353, 53, "udp"}},
		"127.0.0.1:8080:80":       {{"127.0.0.1", 8080, 80, "tcp"}},
		"127.0.0.1::80":           {{"127.0.0.1", 0, 80, "tcp"}},
		"127.0.0.1:80":            {{"127.0.0.1", 0, 80, "tcp"}},
		"[::1]:8080:80":           {{"::1", 8080, 80, "tcp"}},
		"[::1]::80/udp":           {{"::1", 0, 80, "udp"}},
		"8080-8081:80-81":         {{"", 8080, 80, "tcp"}, {"", 8081, 81, "tcp"}},
		"0.0.0.0:7000-7001:1-2":   {{"0.0.0.0", 7000, 1, "tcp"}, {"0.0.0.0", 7001, 2, "tcp"}},
		"3000-3001":               {{"", 0, 3000, "tcp"}, {"", 0, 3001, "tcp"}},
		":80":                     {{"", 0, 80, "tcp"}},
		"127.0.0.1:65535:65535":   {{"127.0.0.1", 65535, 65535, "tcp"}},
		"192.0.2.1:1-1:65535/udp": {{"192.0.2.1", 1, 65535, "udp"}},
	} {
		if got, err := ParsePublish(value); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("-p %s: %v, %v; want %v", value, got, err, want)
		}
	}
	for _, bad := range []string{"", "x", "0", "65536", "80/sctp", "80/", "8080:", "a:80", "1.2.3:80:80", "8080-8082:80-81", "81-80", "80:1-5000", "::1:80:80:", "[::1:80:80", "-1", "+80", "8080:80/tcp/udp"} {
		if got, err := ParsePublish(bad); err == nil {
			t.Errorf("-p %q: %v", bad, got)
		}
	}
}

func TestPublishFlags(t *testing.T) {
	r, err := ParseRun([]string{"-p", "8080:80", "-p8443:443", "--publish=5353:53/udp", "-P", "--expose", "9000", "--network", "bridge", "--network-alias", "db", "alpine"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Publish) != 3 || !r.PublishAll || len(r.Expose) != 1 || r.Network != PodNetwork || len(r.Aliases) != 1 {
		t.Errorf("%+v", r)
	}
	for _, tt := range [][]string{
		{"-p", "80", "--network", "none", "i"},
		{"-P", "--network", "container:web", "i"},
		{"-p", "8080:80", "-p", "8080:81", "i"},
		{"-p", "8080:80", "-p", "127.0.0.1:8080:81", "i"},
		{"--network-alias", "a b", "i"},
		{"--expose", "8080:80", "i"},
	} {
		if _, err := ParseRun(tt); err == nil || hint.Of(err) == "" {
			t.Errorf("%s: %v", strings.Join(tt, " "), err)
		}
	}
	if _, err := ParseRun([]string{"-p", "8080:80", "-p", "8080:80/udp", "-p", "127.0.0.2:81:80", "-p", "127.0.0.1:81:80", "i"}); err != nil {
		t.Error(err)
	}
}

package supervisor

import (
	"bytes"
	"testing"
)

func TestParseKeys(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "ctrl-p,ctrl-q": "\x10\x11", "a": "a", "CTRL-A,b": "\x01b", "ctrl-@": "\x00", "ctrl-[,x": "\x1bx", "ctrl-_": "\x1f", "a,b,c": "abc",
	} {
		if got, err := ParseKeys(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{",", "ab", "ctrl-", "ctrl-pp", "ctrl-1", "a,", "é", "alt-a"} {
		if got, err := ParseKeys(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestKeyWatch(t *testing.T) {
	for _, tt := range []struct {
		keys, typed, rest string
		found             bool
	}{
		{"", "pq", "pq", false},
		{"pq", "abc", "abc", false},
		{"pq", "abpq", "ab", true},
		{"pq", "pq and more", "", true},
		{"pq", "p", "", false}, // held back
		{"pq", "pa", "pa", false},
		{"pq", "ppq", "p", true},
		{"q", "aqb", "a", true},
		{"aab", "aaab", "a", true},
		{"abac", "ababac", "ab", true},
	} {
		for step := 1; step <= 3; step++ { // however it arrives
			k := keyWatch{keys: []byte(tt.keys)}
			var rest []byte
			found := false
			for i := 0; i < len(tt.typed) && !found; i += step {
				var more []byte
				more, found = k.pass([]byte(tt.typed[i:min(i+step, len(tt.typed))]))
				rest = append(rest, more...)
			}
			if string(rest) != tt.rest || found != tt.found {
				t.Errorf("%q in %q, %d at a time: %q, %v", tt.keys, tt.typed, step, rest, found)
			}
		}
	}
}

// FuzzKeyWatch: nothing of what is typed is lost or changed, and the keys are found where they are.
func FuzzKeyWatch(f *testing.F) {
	f.Add([]byte("pq"), []byte("apppq"))
	f.Add([]byte("aab"), []byte("aaaab"))
	f.Fuzz(func(t *testing.T, keys, typed []byte) {
		if len(keys) == 0 {
			return
		}
		k := keyWatch{keys: keys}
		rest, found := k.pass(typed)
		where := bytes.Index(typed, keys)
		if found != (where >= 0) {
			t.Fatalf("%q in %q: %v", keys, typed, found)
		}
		want := typed
		if found {
			want = typed[:where]
		} else {
			rest = append(rest, keys[:k.seen]...)
		}
		if !bytes.Equal(rest, want) {
			t.Errorf("%q in %q: %q", keys, typed, rest)
		}
	})
}

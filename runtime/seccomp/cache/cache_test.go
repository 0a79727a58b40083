package cache

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"codeberg.org/minipod/minipod/runtime/caps"
)

var (
	key    = Key{Build: "1.0", Kernel: "6.18", Capabilities: caps.Default}
	filter = bytes.Repeat([]byte{6, 0, 0, 0, 0, 0, 0xff, 0x7f}, 3)
)

func TestPutGet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "put")
	if got := Get(dir, key); got != nil {
		t.Errorf("Get of nothing = %x", got)
	}
	if err := Put(dir, key, filter); err != nil {
		t.Fatal(err)
	}
	if got := Get(dir, key); !bytes.Equal(got, filter) {
		t.Errorf("Get = %x, want %x", got, filter)
	}
}

func TestEachPartOfTheKeyCounts(t *testing.T) {
	dir := t.TempDir()
	if err := Put(dir, key, filter); err != nil {
		t.Fatal(err)
	}
	for _, other := range []Key{
		{"1.1", "6.18", caps.Default, nil},
		{"1.0", "6.19", caps.Default, nil},
		{"1.0", "6.18", caps.All, nil},
		{"1.0", "6.18", caps.Default, []byte("{}")},
		{"1.06", ".18", caps.Default, nil}, // the same letters, cut elsewhere
	} {
		if Get(dir, other) != nil {
			t.Errorf("%+v finds the filter of %+v", other, key)
		}
	}
}

func TestDamageCountsAsMissing(t *testing.T) {
	dir := t.TempDir()
	for name, damage := range map[string]func([]byte) []byte{
		"empty":         func([]byte) []byte { return nil },
		"sum alone":     func(b []byte) []byte { return b[:32] },
		"cut":           func(b []byte) []byte { return b[:len(b)-8] },
		"cut within":    func(b []byte) []byte { return b[:len(b)-1] },
		"one bit":       func(b []byte) []byte { b[40] ^= 1; return b },
		"one bit above": func(b []byte) []byte { b[0] ^= 1; return b },
	} {
		if err := Put(dir, key, filter); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(key.file(dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(key.file(dir), damage(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Get(dir, key); got != nil {
			t.Errorf("%s: Get = %x", name, got)
		}
	}
}

func TestPutRefuses(t *testing.T) {
	for _, bad := range [][]byte{nil, filter[:7], bytes.Repeat(filter, 2000)} {
		if err := Put(t.TempDir(), key, bad); err == nil {
			t.Errorf("Put took %d bytes", len(bad))
		}
	}
}

func TestReadersSeeWholeFilters(t *testing.T) {
	dir := t.TempDir()
	if err := Put(dir, key, filter); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := Get(dir, key); !bytes.Equal(got, filter) {
					t.Errorf("Get = %x", got)
					return
				}
			}
		})
	}
	for range 50 {
		if err := Put(dir, key, filter); err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v are left", entries, err)
	}
}

func BenchmarkGet(b *testing.B) {
	dir := b.TempDir()
	if err := Put(dir, key, bytes.Repeat(filter, 200)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if Get(dir, key) == nil {
			b.Fatal("missing")
		}
	}
}

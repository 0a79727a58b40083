package volume_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
	"codeberg.org/minipod/minipod/volume"
)

func open(t *testing.T) (*volume.Store, string) {
	t.Helper()
	dirs := state.Dirs{Data: t.TempDir()}
	return volume.Open(dirs), dirs.Volumes()
}

func unused(string) []string { return nil }

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"db": true, "a.b_c-d": true, "0x": true, strings.Repeat("a", 255): true,
		"": false, "a": false, ".hidden": false, "-rf": false, "a/b": false, "../up": false, "a b": false, "ä1": false,
		strings.Repeat("a", 256): false,
	} {
		if err := volume.CheckName(name); (err == nil) != ok || err != nil && !errors.Is(err, volume.ErrName) {
			t.Errorf("CheckName(%q) = %v, want valid: %t", name, err, ok)
		}
	}
}

func TestLifecycle(t *testing.T) {
	s, _ := open(t)
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Fatalf("List of nothing = %v, %v", all, err)
	}
	made, err := s.Create("data", map[string]string{"tier": "db"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(made.Mountpoint, "file"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := s.Create("data", map[string]string{"other": "label"}, nil)
	if err != nil || again.Labels["tier"] != "db" || !again.CreatedAt.Equal(made.CreatedAt) {
		t.Errorf("Create is not idempotent: %+v, %v", again, err)
	}
	anonymous, err := s.Create("", nil, nil)
	if err != nil || len(anonymous.Name) != 64 || !anonymous.Anonymous {
		t.Fatalf("anonymous = %+v, %v", anonymous, err)
	}
	if all, err := s.List(); err != nil || len(all) != 2 {
		t.Fatalf("List = %v, %v", all, err)
	}

	used := func(name string) []string { return []string{"c0ffee"} }
	if err := s.Remove("data", used); !errors.Is(err, volume.ErrInUse) || !strings.Contains(hint.Of(err), "minipod rm c0ffee") {
		t.Errorf("Remove of a volume in use = %v, hint %q", err, hint.Of(err))
	}
	if names, _, err := s.Prune(func(*volume.Volume) bool { return true }, used); err != nil || len(names) != 0 {
		t.Errorf("Prune removed volumes in use: %v, %v", names, err)
	}
	names, freed, err := s.Prune(func(v *volume.Volume) bool { return !v.Anonymous }, unused)
	if err != nil || len(names) != 1 || names[0] != "data" || freed != 5 {
		t.Errorf("Prune = %v, %d, %v", names, freed, err)
	}
	if err := s.Remove(anonymous.Name, unused); err != nil {
		t.Error(err)
	}
	if err := s.Remove(anonymous.Name, unused); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("Remove twice = %v", err)
	}
}

func TestOptionsRefused(t *testing.T) {
	s, dir := open(t)
	if _, err := s.Create("nfs", nil, map[string]string{"type": "nfs"}); !errors.Is(err, volume.ErrOptions) {
		t.Errorf("Create = %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a refused volume left something behind")
	}
}

func TestOutsideIsNotFound(t *testing.T) {
	s, dir := open(t)
	if err := os.MkdirAll(filepath.Join(dir, "..", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "..", "x", "volume.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("../x"); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("Get(../x) = %v", err)
	}
}

func TestHalfMadeAndHalfRemovedAreSwept(t *testing.T) {
	s, dir := open(t)
	for _, left := range []string{".new-1/_data", ".dead-old/_data/deep"} {
		if err := os.MkdirAll(filepath.Join(dir, left), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Fatalf("List shows what is half-made: %v, %v", all, err)
	}
	if _, err := s.Create("next", nil, nil); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".[nd]*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCreateAtOnce(t *testing.T) {
	s, _ := open(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := s.Create("same", nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestInspectShape(t *testing.T) {
	s, dir := open(t)
	v, err := s.Create("data", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	printed, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"CreatedAt":"` + v.CreatedAt.Format("2006-01-02T15:04:05Z") + `","Driver":"local","Labels":null,"Mountpoint":"` +
		filepath.Join(dir, "data", "_data") + `","Name":"data","Options":{},"Scope":"local"}`
	if string(printed) != want {
		t.Errorf("printed %s\nwant    %s", printed, want)
	}
}

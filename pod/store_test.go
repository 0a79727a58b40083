package pod

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/state"
)

func testDirs(t *testing.T) state.Dirs {
	t.Helper()
	return state.Dirs{Data: t.TempDir()}
}

func create(t *testing.T, dirs state.Dirs, namespace, name string) *Stored {
	t.Helper()
	s, err := Create(dirs, &Pod{Metadata: Metadata{Name: name, Namespace: namespace}}, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	dirs := testDirs(t)
	if list, err := List(dirs, ""); err != nil || list != nil {
		t.Errorf("no pods: %v, %v", list, err)
	}
	a := create(t, dirs, "default", "b")
	create(t, dirs, "default", "a")
	create(t, dirs, "other", "b")
	if len(a.Metadata.UID) != 36 || a.Metadata.Generation != 1 || a.Metadata.Created.IsZero() {
		t.Errorf("%+v", a.Metadata)
	}
	if _, err := Create(dirs, &a.Pod, nil); !errors.Is(err, ErrExists) {
		t.Errorf("a second of that name: %v", err)
	}
	found, err := Find(dirs, "default", "b")
	if err != nil || found.Metadata.UID != a.Metadata.UID {
		t.Errorf("%+v, %v", found, err)
	}
	for _, name := range []string{"c", "", "..", "../default_b", "b/"} {
		if _, err := Find(dirs, "default", name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if list, err := List(dirs, "default"); err != nil || len(list) != 2 || list[0].Metadata.Name != "a" {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := List(dirs, ""); err != nil || len(list) != 3 {
		t.Errorf("%v, %v", list, err)
	}
	err = Change(dirs, a.Metadata.UID, []byte("new"), func(p *Pod) error {
		p.Metadata.Name, p.Spec.Hostname = "z", "h"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found, err = Find(dirs, "default", "b")
	if err != nil || found.Spec.Hostname != "h" || found.Metadata.Generation != 2 || found.Metadata.Name != "b" {
		t.Errorf("%+v, %v", found, err)
	}
	if m, err := found.Manifest(); err != nil || string(m) != "new" {
		t.Errorf("%q, %v", m, err)
	}
	if s, err := ReadStatus(dirs, a.Metadata.UID); err != nil || s.Phase != Pending {
		t.Errorf("%+v, %v", s, err)
	}
}

// One name has one owner, however many want it.
// TestChangeIsWhole kills a change at each of its moments: what is wanted and its manifest are both as they were, or both changed.
func TestChangeIsWhole(t *testing.T) {
	dirs := testDirs(t)
	s := create(t, dirs, "default", "a")
	at := func(name string) string { return filepath.Join(s.Dir(), name) }
	manifest := func() string {
		now, err := Get(dirs, s.Metadata.UID)
		if err != nil {
			t.Fatal(err)
		}
		data, err := now.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	change := func(text string) {
		var data []byte
		if text != "" {
			data = []byte(text)
		}
		if err := Change(dirs, s.Metadata.UID, data, func(*Pod) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	change("second") // generation 2
	for name, text := range map[string]string{"manifest-3.json": "never", ".tmp-pod.json-9": "half"} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := manifest(); got != "second" {
		t.Errorf("killed before pod.json: %q", got)
	}
	change("") // a label: 3
	if got := manifest(); got != "second" {
		t.Errorf("the next change takes what came to nothing: %q", got)
	}
	if err := os.WriteFile(at("manifest-3.json"), []byte("third"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := manifest(); got != "third" {
		t.Errorf("killed after pod.json: %q", got)
	}
	change("")
	if got := manifest(); got != "third" {
		t.Errorf("the next change loses it: %q", got)
	}
	if left, _ := filepath.Glob(at("*manifest-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(at(".tmp-pod.json-9")); err == nil {
		t.Error("half a pod.json stays")
	}
}

func TestNameRace(t *testing.T) {
	dirs := testDirs(t)
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			_, err := Create(dirs, &Pod{Metadata: Metadata{Name: "p", Namespace: "default"}}, nil)
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, ErrExists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, _ := filepath.Glob(filepath.Join(dirs.Data, "pods", "*-*"))
	if won.Load() != 1 || len(entries) != 1 {
		t.Errorf("%d won, %d folders", won.Load(), len(entries))
	}
}

func TestSweepTakesWhatHasNoName(t *testing.T) {
	dirs := testDirs(t)
	keep, gone, held := create(t, dirs, "default", "keep"), create(t, dirs, "default", "gone"), create(t, dirs, "default", "held")
	for _, s := range []*Stored{gone, held} { // as one killed in the middle of a removal, or of a creation, leaves it
		if err := os.Remove(nameLink(dirs, s.Metadata)); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := state.LockFile(filepath.Join(held.Dir(), lockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if err := Sweep(dirs); err != nil {
		t.Fatal(err)
	}
	for s, want := range map[*Stored]bool{keep: true, gone: false, held: true} {
		if _, err := os.Stat(s.Dir()); (err == nil) != want {
			t.Errorf("%s: %v", s.Metadata.Name, err)
		}
	}
	if _, err := Create(dirs, &gone.Pod, nil); err != nil {
		t.Errorf("its name again: %v", err)
	}
}

// A name whose pod is gone is nobody's.
func TestStaleName(t *testing.T) {
	dirs := testDirs(t)
	s := create(t, dirs, "default", "p")
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(dirs, "default", "p"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	create(t, dirs, "default", "p")
}

func TestLostStatus(t *testing.T) {
	dirs := testDirs(t)
	s := create(t, dirs, "default", "p")
	started := time.Now()
	status := Status{
		Phase: Running, StartTime: started, PodIP: "10.88.0.2",
		Conditions:        []Condition{{Type: Ready, Status: ConditionTrue}},
		ContainerStatuses: []ContainerStatus{{Name: "c", Ready: true, State: ContainerState{Running: &RunningSince{started}}}},
	}
	if err := replaceJSON(s.Dir(), statusFile, status); err != nil {
		t.Fatal(err)
	}
	lock, err := state.LockFile(filepath.Join(s.Dir(), lockFile))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadStatus(dirs, s.Metadata.UID); err != nil || got.Phase != Running {
		t.Errorf("supervised: %+v, %v", got, err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	got, err := ReadStatus(dirs, s.Metadata.UID)
	if err != nil || got.Phase != Unknown || got.PodIP != "" || got.Conditions[0].Status != ConditionFalse ||
		got.ContainerStatuses[0].State.Terminated == nil || got.ContainerStatuses[0].State.Terminated.Reason != ContainerStatusUnknown {
		t.Errorf("left alone: %+v, %v", got, err)
	}
}

func TestWait(t *testing.T) {
	dirs := testDirs(t)
	s := create(t, dirs, "default", "p")
	uid := s.Metadata.UID
	ended := make(chan error)
	wait := func(enough func(*Stored, *Status) (bool, error)) {
		go func() { ended <- Wait(t.Context(), dirs, uid, enough) }()
	}
	wait(func(_ *Stored, s *Status) (bool, error) { return s.Phase == Failed, nil })
	time.Sleep(20 * time.Millisecond)
	if err := replaceJSON(s.Dir(), statusFile, Status{Phase: Failed}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("%v", err)
	}
	wait(func(*Stored, *Status) (bool, error) { return false, nil })
	time.Sleep(20 * time.Millisecond)
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrNotFound) {
		t.Errorf("of one that is removed: %v", err)
	}
	uid = create(t, dirs, "default", "q").Metadata.UID
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := Wait(ctx, dirs, uid, func(*Stored, *Status) (bool, error) { return false, nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

package pod

import (
	"errors"
	"os"
	"path"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/state"
)

// TestWatch sees a pod that is there, its change, one that comes, and both go.
func TestWatch(t *testing.T) {
	dirs := state.Dirs{Data: t.TempDir()}
	create := func(name string) *Stored {
		p, err := Create(dirs, &Pod{Metadata: Metadata{Name: name, Namespace: "default"}}, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	web := create("web")
	if _, err := Create(dirs, &Pod{Metadata: Metadata{Name: "other", Namespace: "elsewhere"}}, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	sights, enough := make(chan Sight), errors.New("enough")
	ended := make(chan error, 1)
	go func() {
		ended <- Watch(t.Context(), dirs, "default", func(s Sight) error {
			sights <- s
			if s.Gone && s.Pod.Metadata.Name == "db" {
				return enough
			}
			return nil
		})
	}()
	next := func(name string, gone bool, phase string) {
		t.Helper()
		select {
		case s := <-sights:
			if s.Pod.Metadata.Name != name || s.Gone != gone || s.Status.Phase != phase {
				t.Fatalf("saw %s, %s, gone %t; want %s, %s, gone %t", s.Pod.Metadata.Name, s.Status.Phase, s.Gone, name, phase, gone)
			}
		case err := <-ended:
			t.Fatal("it ended: ", err)
		case <-time.After(time.Minute):
			t.Fatal("nothing was told")
		}
	}
	remove := func(p *Stored) {
		if err := errors.Join(os.Remove(nameLink(dirs, p.Metadata)), os.RemoveAll(p.Dir())); err != nil {
			t.Fatal(err)
		}
	}
	next("web", false, Pending)
	if err := replaceJSON(web.Dir(), statusFile, Status{Phase: Succeeded}); err != nil {
		t.Fatal(err)
	}
	next("web", false, Succeeded)
	if err := os.WriteFile(path.Join(web.Dir(), "unrelated"), nil, 0o600); err != nil { // nothing to tell
		t.Fatal(err)
	}
	db := create("db")
	next("db", false, Pending)
	remove(web)
	next("web", true, Succeeded)
	remove(db)
	next("db", true, Pending)
	if err := <-ended; !errors.Is(err, enough) {
		t.Errorf("it ended with %v", err)
	}
}

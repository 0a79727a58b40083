package linux

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAwaitUnlink(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- AwaitUnlink(ctx, f) }()
	still := func(why string) {
		t.Helper()
		select {
		case err := <-ended:
			t.Fatalf("%s, and it ended: %v", why, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	moved := dir + "2"
	if err := errors.Join(os.Rename(dir, moved), f.Chmod(0o400), os.Link(moved+"/lock", moved+"/other"), os.Remove(moved+"/lock")); err != nil {
		t.Fatal(err)
	}
	still("one name is left")
	if err := os.RemoveAll(moved); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the folder is gone, and it still waits")
	}
	if err := AwaitUnlink(ctx, f); err != nil { // from the start
		t.Error(err)
	}

	g, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := AwaitUnlink(ctx, g); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

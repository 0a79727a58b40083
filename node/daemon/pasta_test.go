package daemon

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/network/uplink"
)

// TestKeepPasta: pasta that ends is started again, until the node ends.
func TestKeepPasta(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pasta, starts := filepath.Join(dir, "pasta"), filepath.Join(dir, "starts")
	script := "#!/bin/sh\necho >>" + starts + "\n[ $(wc -l <" + starts + ") -lt 2 ] || exec sleep 60\n"
	if err := os.WriteFile(pasta, []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	ctx, cancel := context.WithCancel(t.Context())
	d := &daemon{ctx: ctx}
	ended := make(chan struct{})
	go func() { d.keepPasta(uplink.PastaOptions{Path: pasta, Net: ns}); close(ended) }()
	for until := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if data, _ := os.ReadFile(starts); len(data) == 2 {
			break
		}
		if time.Now().After(until) {
			t.Fatal("it was not started again")
		}
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the node ends, and it does not")
	}
}

package daemon

import (
	"testing"
	"time"
)

// A node that is to end waits for what is being released, and no longer than it has patience.
func TestAwaitReleases(t *testing.T) {
	d := &daemon{releasing: 2}
	d.released.L = &d.mu
	release := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.releasing--
		d.released.Broadcast()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.awaitReleases(time.Hour)
	}()
	release()
	select {
	case <-done:
		t.Error("it did not wait for the second")
	case <-time.After(20 * time.Millisecond):
	}
	release()
	<-done
	d.releasing = 1
	d.awaitReleases(time.Millisecond)
}

package run

import "runtime"

// lockThread ties the goroutine to its thread until the returned function is called: children die with the thread
// that forked them.
func lockThread() (unlock func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

package stage

import (
	"time"
	_ "unsafe" // go:linkname
)

// freeOSMemory is debug.FreeOSMemory, without package runtime/debug: its name sorts behind github.com, so importing it
// would put the initialisation of whatever is ready there before ours.
//
//go:linkname freeOSMemory runtime/debug.freeOSMemory
func freeOSMemory()

// rest gives back the memory that the start took: a pod's PID 1 may idle for months. Not at once: a container that
// ends within the moment should not wait for it.
func rest() { time.AfterFunc(100*time.Millisecond, freeOSMemory) }

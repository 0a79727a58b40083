// Package runtime creates, starts, kills and deletes containers: the operations of the OCI runtime specification, on
// this machine, for this user.
//
// On disk a container is a folder:
//
//	containers/
//	├─ .lock            shared: a container is being made.   exclusive: the sweep, which never waits for it
//	├─ .names/NAME      a symbolic link to the id: made by one call, so a name has one owner
//	└─ <64 hex>/
//	   ├─ lock          held for as long as somebody supervises the container; the kernel drops it with the holder
//	   ├─ record.json   what `ps` shows
//	   ├─ upper, work   its writes (overlay)
//	   └─ root          where the tree is mounted, seen in the container's own mount namespace only
//
// Nobody needs to tell that a supervisor died. Its lock is free: then the container is dead, since PID 1 dies with its
// supervisor and everything in the sandbox with PID 1. Sweep removes what such a death left behind.
package runtime

// Package cgroup limits, counts, freezes and kills what runs in a container: its group in the kernel's cgroup v2 hierarchy.
//
// An ordinary user owns no group. systemd's user manager does, and makes one for whoever asks over D-Bus:
//
//	/sys/fs/cgroup
//	└─ user.slice/user-1000.slice
//	   ├─ session-1.scope                 where ssh and the shell run: root's, nobody may make a group in it
//	   └─ user@1000.service               delegated to the user (systemd's Delegate=)
//	      └─ app.slice
//	         └─ minipod-0123456789ab.scope   ours, by StartTransientUnit: the manager moves the supervisor here
//	            ├─ supervisor             the supervisor: a group whose children have controllers may hold no processes
//	            └─ container              the limits; the sandbox is born in it (CLONE_INTO_CGROUP)
//
// Without that manager any group does in which we may write: the one that we are in, or --cgroup-parent. Then our groups are
// below minipod-0123456789ab there. Without such a group there is none: ErrUnavailable, and why.
//
// A container without limits needs no group. One with a limit that nobody here can keep must not run, and the error
// says what is missing: the whole hierarchy, its delegation, or one controller of it.
//
// Everything is a file: `cat` shows what this package reads, `echo` does what it writes. The kernel's
// Documentation/admin-guide/cgroup-v2.rst describes each of them.
package cgroup

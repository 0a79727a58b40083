// Package view is a view of what the kernel has of our containers: their processes, their namespaces, their cgroups.
//
// It keeps nothing of its own. Read takes one look at /proc and returns plain data; everything else here is pure and
// turns that data into lists, for tables and JSON, or into drawings:
//
//	records ─┐
//	         ├─ Read ── Snapshot ─┬─ Namespaces   every namespace, its owner, who shares it
//	/proc ───┘                    ├─ Boxes        the same, drawn: user namespaces, containers in them
//	                              ├─ Tree         the processes with their roles, below the user
//	/sys/fs/cgroup ─ ReadCgroups ─┴─ CgroupTree   the groups with limits and usage
//
// Which processes are a container's follows from its record and /proc alone: its PID 1 (the sandbox), the parent of that
// (the supervisor), all that descend from either, and whoever shares the sandbox's pid or mount namespace, as one that
// was put there later does. A record names PID 1 by its number and its start time, since numbers are used again.
//
// Processes end while they are being read. One that did is not in the picture; that is no error.
//
// What a container's processes are called, they choose: everything that came from inside goes through Printable on its
// way to a terminal.
package view

// Package labs is the course: labs that a learner works through with ordinary commands, and a judge that reads the kernel.
//
// A lab is a folder below content/, which is part of the binary:
//
//	content/07-pod-by-hand/
//	├─ lab.yaml       what no language says: roles, steps, their checks, the mistakes that must be caught
//	├─ en.md zh.md    the text: the same anchors, and the same commands letter by letter
//	└─ files/         what the learner uses
//
// What the learner does happens in the lab's world, a data folder of its own ($MINIPOD_ROOT). From there to a verdict:
//
//	lab.yaml ── Load ──► Lab ─┬─ Step ── Check{kind, arguments}
//	                          │                │
//	    roles: "web" ◄────────┘                ▼ probe(Judge, arguments)
//	       │                                Verdict: pass | fail | unknown, and evidence {path, got, want}
//	       ▼ Judge.process                     ▲
//	    PID + start time ──── /proc/PID/… ─────┘   /sys/fs/cgroup/…  the log of events
//
// A check judges what the kernel has, never what was typed: a process may come from minipod, podman or unshare(1). Which process plays a role
// is found out by a container's name, or the learner says so with `minipod lab answer ROLE=PID`. A process is a PID and its start time; a
// namespace is st_dev and st_ino of its file. What can't be read is unknown, says why, and never counts as a pass.
//
// Probes read below an fs.FS whose root is the machine's "/", so a test hands them a tree of its own.
package labs

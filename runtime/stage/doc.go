// Package stage starts a container: both ends of it.
//
// minipod is one binary that re-executes itself. The parent (the CLI, later a supervisor) forks a child straight into new
// namespaces; the child executes this same binary, becomes PID 1 of the sandbox, and builds the container around
// itself, a step at a time. The two talk over a pair of SOCK_SEQPACKET sockets:
//
//	parent                                  child ("minipod sandbox NAME", PID 1)
//	  clone(NEWUSER|NEWNS|NEWPID|…)  ─────►  (raw calls: read-only copy of our binary, execve)
//	  newuidmap ┐ side by side, while        Go's runtime starts
//	  newgidmap ┘ the child starts
//	  plan + a sealed file ───────────────►  reads the Plan
//	  mapped ─────────────────────────────►  becomes root of its user namespace
//	         ◄───────────────────────── alive (nobody there: it exits)
//	         ◄──────────────────────────step {name, calls, error}      with --explain
//	  go ─────────────────────────────────►  …next step                with --step
//	         ◄─────────────────────── console + the terminal's master  with -t
//	         ◄──────────────────────────exec: the point of no return
//	         ◄─────────── EOF: execve worked    (the socket is close-on-exec)
//	   or    ◄─── failed {step, call, errno}    and the child exits
//
// Where some of the namespaces are another container's, the forked process first becomes a member of the user namespace that owns them,
// joins, and clones the one that executes us, in the namespaces that are left to make (join.go). No ids are mapped then: they are
// the other's.
//
// What a step does, in which order and why stands in one table (steps.go), which five readers share: the error message,
// --explain, --step, the labs and the tests.
//
// Trust: everything that the child reads before its last step comes from the parent; the Plan's file is sealed, so nobody
// can change it after. The image's files are first looked at after pivot_root. The payload never gets a
// descriptor of ours: each is close-on-exec, and the last calls before execve make sure once more.
package stage

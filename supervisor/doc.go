// Package supervisor is who looks after a container while it lives: it starts it, keeps its output, starts it again, and does what
// other commands ask. Kubernetes' node has containerd-shim for that, podman conmon.
//
// There is one a container. `minipod run` is it itself; `minipod run -d` and `minipod start` leave one behind, "minipod supervisor NAME",
// which is a session of its own and outlives them. Whoever it is holds the container's lock. When it dies, the kernel kills the container.
//
// # Left behind
//
//	command                                  supervisor (born with the lock, fd 4)
//	  fork, execve  ──────────────────────►
//	  hello {dirs, id} ───────────────────►  takes the container over, listens
//	         ◄────────────────────────ready
//	  (attaches, where it wants to see the first byte)
//	  go ─────────────────────────────────►  starts the container
//	         ◄──────────────────────started
//	   or    ◄──────────failed {text, hint, exit}     and exits
//
// # Asked
//
// It listens at the socket "control" in the container's folder, which no container sees. A caller sends one request, and gets one reply;
// what follows depends on the request:
//
//	caller                                   supervisor
//	  {op: signal|stop|pause|…} ──────────►
//	         ◄───────────{} or {error, hint, exit}
//
//	  {op: wait} ─────────────────────────►  …
//	         ◄─────────────────────{status}  when it ends
//
//	  {op: exec} + request, stdin, stdout, stderr ►  forks it into the container
//	         ◄──────────────────────────{}   + the terminal's master, with -t
//	         ◄─────────────────────{status}  when it ends
//
//	  {op: attach} ───────────────────────►
//	         ◄──────────────────────────{}
//	  i bytes, c, w size  ────────────────►  stdin, its end, the window's size
//	         ◄──────────────o bytes, e bytes  stdout, stderr
//	         ◄──────────────────── x {status}  when it ends
//
// Trust: the folder has mode 0700, and the peer's uid is checked beside; whoever may ask is the user, who could do it all without us.
package supervisor

// Package node is how the rest of minipod talks to `minipod node`: the process that gives pods their network. There is one per data
// folder; it starts on first use, and leaves some seconds after the last pod is gone. What it does is in package node/daemon; this one is
// light, since `minipod run` links it.
//
//	client (run, a supervisor)                  minipod node
//	  hello {version} ───────────────────────►
//	         ◄──── {network, notices} + U, the user namespace of which pods' ones are children
//	  (forks a sandbox as a child of U)
//	  attach {pid, name, ports} ─────────────►  veth into the sandbox's network namespace, address, names, ports
//	         ◄───────────────────────── lease
//	  EOF
//
// While a connection is open the node stays: nobody forks a sandbox into a network that is going. A lease ends with its sandbox, which
// the node watches, or by detach.
//
// # Two processes
//
//	minipod anchor     owns U and the network namespace with the bridge. It does nothing, so nothing ends it
//	minipod node       root of U, in the host's network namespace. When it crashes, the pods' network stays; the next one adopts it
//
// Whoever keeps a place in the network watches the node, and starts the next one when it dies: see Lease.Keep.
//
// The anchor is forked by whoever needs the node first, outside of U: only there newuidmap works. Both are written down in node.json, by PID
// and start time. One lock is held by whoever starts them, or has the node leave: "lock". Another by the node as long as it lives: "serving".
//
// Trust: the folder has mode 0700, and the peer's uid is checked beside; whoever may ask is the user, who could do it all without us.
package node

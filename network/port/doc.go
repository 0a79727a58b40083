// Package port publishes a port: what is sent to an address out here reaches a program in there.
//
//	client ──▶ Listener (the host's network) ─ accept ─┐
//	                                                   ├─ splice(2), both ways: the bytes stay in the kernel
//	program ◀── Dial (from inside the pod's network) ──┘
//
// Both sockets are ordinary ones, each made in its own network namespace, so no packet is forwarded and nothing needs
// privileges. The program sees a connection from inside its own namespace unless Dial, which is told the client's address,
// makes it look otherwise. Datagrams have a flow for each client, with a socket of its own inside.
package port

// Package network makes the pods' network out of what the kernel has: a bridge in a network namespace of its own, and a pair of virtual
// Ethernet devices (veth) for each pod, one end at the bridge and the other, eth0, in the pod's namespace.
//
//	pod a              the network's namespace                 pod b
//	eth0 10.88.0.2 ─── veth… ─┬─ mp0 10.88.0.1 ─┬─ veth… ─── eth0 10.88.0.3
//	                          │                 │
//	                          └── tun0, to the outside (network/uplink)
//
// Packets between pods never leave the kernel. All of it belongs to the user namespace U, whose root we are, and to its children.
//
// A pod is heard in its own name alone: see Guard.
//
// What must happen inside a namespace happens on a thread that goes in and is thrown away (In). netlink.NewHandleAt would do
// the same and come back; where it can't come back (it may not, from U) it leaves a thread of ours in the wrong namespace and says nothing.
package network

// Package daemon is `minipod node`: the process that gives pods their network. Package node says how it is talked to.
//
// It is root of the user namespace U, and otherwise in the host's namespaces: so it may do everything to the pods' network, and can do on the
// host what the user can. What it knows is on disk: "network.json", which subnet the anchor's network has, and a file for each lease below
// "leases". None of it survives a reboot, so nothing waits for the disk.
//
// When it crashes, the devices and addresses of the pods stay, since their namespaces are theirs and the bridge's is the anchor's. Published ports
// and the way out do not: they are taken up again by the next node, which the next `minipod run` starts, or a pod's supervisor.
package daemon

// Package dns answers the names of pods, and asks the host's own servers for all others.
//
//	pod ──▶ Serve ─┬─ Lookup, Reverse            names and addresses of pods
//	               └─ Resolv, forward ──▶ the servers in the host's resolv.conf, by sockets of this process
//
// A question for a name below Zone, or for who has an address of the pods, never leaves the machine: who is unknown there
// does not exist (NXDOMAIN); who exists but has no address of the kind asked for gets an empty answer (NODATA, RFC 2308).
// Only Clients are answered, so this is no open resolver, and each has a bounded share of the questions under way.
//
// The names of a pod are Kubernetes' own: see Names.
package dns

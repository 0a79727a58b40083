// Package pod is a Pod: a sandbox that owns the network, ipc and uts namespaces, and containers that join them.
//
// What somebody wants is a Pod, in Kubernetes' own words; what there is, a Status. In between are decide, which is pure
// and says what to do next, and sync, which does it.
package pod

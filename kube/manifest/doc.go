// Package manifest turns Kubernetes YAML into objects, the way an API server does, and says what minipod will not do.
//
//	text ──split──▶ documents ──strict──▶ k8s.io/api types ──defaults──▶ ──validate──▶ ──fields──▶ Object
//	                YAML, JSON, List      unknown and double           every error      done, warned,
//	                                      fields are errors            at once          refused
//
// The words are the API server's, so that what people find about an error helps them here, too:
//
//	pod.yaml: document 2: The Pod "web" is invalid: spec.containers[0].image: Required value
//
// Nothing is dropped in silence. Every field of Kubernetes has a row in one table (fields.go) that says whether minipod does what it says, warns
// that it doesn't, or refuses it; docs/kubernetes.md shows that table. What was done so far is then decoded into a pod.Pod, which
// refuses fields that it doesn't have: a row that promises more than package pod can hold fails there.
//
// Kubernetes' types are linked by this package alone: 7 MB, and about a millisecond before main. What starts before that (`minipod run`, a pod's
// supervisor, a sandbox) imports none of it, and still waits 0.1 to 0.3 ms for those of their dependencies whose names Go sorts before ours.
package manifest

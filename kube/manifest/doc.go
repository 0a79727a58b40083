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
// Kubernetes' types are linked by this package alone. They cost more than a millisecond of start-up and run after everything that
// starts before main: neither `minipod run` nor a pod's supervisor imports this package.
package manifest

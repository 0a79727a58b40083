// Package store keeps the objects that pods refer to: ConfigMaps, Secrets and PersistentVolumeClaims, a file each.
//
//	kube/
//	├─ .lock                                  whoever changes anything holds it
//	└─ configmaps | secrets | persistentvolumeclaims
//	   └─ NAMESPACE
//	      └─ NAME.json                        the object as the API server would answer it, mode 0600
//
// A file appears whole or not at all, so readers take no lock. No name leaves its folder: names are checked by Kubernetes' own
// rule, under which there is neither a slash nor a leading dot.
//
// A pod's supervisor reads ConfigMaps and Secrets through here, so there are no Kubernetes types: ConfigMap, Secret and Claim
// decode the few fields that it needs. Package kube/manifest makes the objects and checks what is in them.
package store

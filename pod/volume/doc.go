// Package volume makes a pod's volumes: the folders that its containers share, and the files that tell them what others have set up.
//
// Where a volume is depends on what it is:
//
//	emptyDir                           pods/<uid>/volumes/NAME, 0777
//	emptyDir with medium Memory        a tmpfs of the sandbox's, at /volumes/NAME in there: its containers borrow the mount
//	secret, and what has one           likewise: a secret never reaches a disk
//	configMap, downwardAPI, projected  pods/<uid>/volumes/NAME
//	hostPath, persistentVolumeClaim    where it was before the pod, and will be after
//
// Files appear and change all at once, by the kubelet's way (pkg/volume/util/atomic_writer.go): NAME/..data is a link to a folder with a name of its
// own, each file a link through it, and a change makes another folder and renames one link.
//
// Trust: containers may write to most of them. So whatever is made in a volume is made below it (os.Root), and a subPath is resolved by the kernel,
// beneath the volume, when it is mounted.
package volume

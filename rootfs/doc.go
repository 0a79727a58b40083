// Package rootfs puts a container's file tree together: image layers below, the container's writes above, the
// kernel's own file systems and the user's volumes inside, and the host's tree out of reach.
//
// The order is what makes it safe, and it is always the same:
//
//	Gather      while the host is in sight: every mount is made, attached to nowhere (open_tree, fsmount)
//	MountRoot   overlay: the layers and the writable folder become one tree
//	Pivot       that tree becomes "/", the host's is detached: from here on no path, link or ".." leads out
//	Place       the gathered mounts are attached inside, in order
//	Mask        what the kernel shows there and a container should not touch is covered
//
// A path that an image or a user gave is only ever resolved after Pivot, by the kernel, with the container's own
// root as the end of the world. So a hostile symbolic link can fool nobody but the image that holds it.
//
// Gather comes first for a second reason: in a user namespace the kernel mounts a new proc or sysfs only where another
// one, with nothing of it covered, is in sight (mount_too_revealing in fs/namespace.c).
package rootfs

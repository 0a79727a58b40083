// Package layer turns a layer's tar stream into a folder that overlayfs takes as a lower directory, and back.
//
// A layer is a tar archive of what changed. What was deleted is said by name (OCI image spec, layer.md): an empty
// file ".wh.x" deletes x of the layers below, ".wh..wh..opq" in a folder deletes all that they have there. Overlayfs
// says the same in its own words, which are what Unpack writes:
//
//	tar                      tree, as overlayfs reads it with -o userxattr
//	etc/.wh.motd             etc/motd, a character device 0/0 (anybody may make one since Linux 5.8),
//	                         else an empty file with user.overlay.whiteout, and user.overlay.opaque=x on etc
//	etc/.wh..wh..opq         user.overlay.opaque=y on etc
//	etc/.wh.ssl and etc/ssl/ etc/ssl with user.overlay.opaque=y: a whiteout acts on the layers below alone
//
// # The trust boundary
//
// Everything in the stream is hostile: it may be the work of a stranger, fetched by a typo. Unpack runs as root of a
// user namespace, so it could write whatever the user can write. What keeps it inside its folder:
//
//   - A name is cleaned and must be local; then its parent is opened by openat2 with RESOLVE_BENEATH and
//     RESOLVE_NO_SYMLINKS. Only if there is a symbolic link on the way is it resolved as a chroot would
//     (RESOLVE_IN_ROOT), and the answer's real name goes the strict way again.
//   - The last component is only ever made (O_EXCL, mkdirat, symlinkat, linkat, mknodat) or unlinked: never opened
//     through, so a link lying in wait there is replaced and not followed.
//   - Device nodes are not made, so neither is a whiteout in disguise. Of the extended attributes only user.* and
//     security.capability are set, and none that overlayfs or fuse-overlayfs would obey: those are dropped and
//     counted rather than refused, since images built from a container's storage carry them in good faith.
//   - Bytes, entries, depth and deferred work are bounded.
//
// # Order
//
// A folder's mode and time are set at the end, children first: filling a folder changes its time, and mode 0500
// would forbid it. So do whiteouts wait, which makes their meaning independent of the order in the stream. Within an
// entry: owner, extended attributes, mode, time; chown(2) drops what the next two set.
//
// Where a later entry has an earlier one's name it replaces it, a whole folder too; only a folder on a folder merges.
// That is what docker does.
package layer

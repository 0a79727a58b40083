// Package files copies files into a container and out of it.
//
// Two processes do it, with a pipe between them. One sees the container's tree and nothing else that matters, as root of
// its ids; the other sees the user's files, as the user. So a copy out of a container is written with the user's own
// rights and becomes the user's, and a copy into it belongs to the container's root:
//
//	minipod cp web:/etc/nginx conf          minipod cp index.html web:/srv
//
//	in web's user namespace   as you        as you          in web's user namespace
//	  Send ─────── pipe ──────► Receive       Send ──── pipe ───► Receive
//
// What the pipe carries is one line of JSON, a Source, and a tar. Both ends do the same on either side: docker's rules
// about trailing slashes and what exists already (place) know no difference, and the user's tree is one whose root is "/".
//
// # The trust boundary
//
// The container's tree is hostile, and may change under our hands: its programs can swap a folder for a symbolic link
// between any two of our calls. So there are no paths that are looked at first and opened later:
//
//   - A path that a person typed is opened by openat2 with RESOLVE_IN_ROOT, on a descriptor of the container's root:
//     absolute links and ".." end there, as they do for the container's own programs. Links of /proc are refused.
//   - Below what was found, a copy goes from folder to folder by descriptor, with RESOLVE_BENEATH and
//     RESOLVE_NO_SYMLINKS: a link is copied as a link, never followed. What was found as a folder and is a link by the time it
//     is opened is no longer there.
//   - What comes out of the pipe is hostile, too. Names must be local. What is made is made new (O_EXCL) in a folder that
//     was opened so; a link lying in wait is removed and not followed. Attributes are set by descriptor. What is mounted
//     stays mounted (linux.IsMountRoot).
//   - Set-uid and set-gid bits do not leave the container: its root's file would become a program that runs as you for
//     every other user of the machine. Device nodes are left out on the way.
package files

// Package idmap decides which user and group ids a container has, and writes them into its user namespace.
//
// Inside a user namespace ids are translated: the container's 0 is you, its 1 and up are ids that the administrator set
// aside for you in /etc/subuid and /etc/subgid, and no other id exists there. So "root" in a container can touch exactly
// what you can, and a service that drops to uid 33 drops to a host id that belongs to nobody else.
//
//	inside    0     1 … 65536
//	          │     │
//	outside   1000  100000 … 165535        alice:100000:65536 in /etc/subuid
//
// A process may map its own id alone without any privilege (user_namespaces(7)). A whole range takes CAP_SETUID outside,
// which the set-uid programs newuidmap and newgidmap lend after they have checked the files themselves; that check is
// the trust boundary, and this package's own reading of the files only decides what to ask for. Without a range, or
// inside somebody else's container, the map is what can be had, and a warning says what is missing.
package idmap

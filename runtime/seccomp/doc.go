// Package seccomp compiles a container's system call profile into the filter that the kernel runs.
//
// A profile (Docker's default, or a file in Docker's or the OCI format) is a list of rules: these calls, perhaps with
// these arguments, get this answer, and a default for the rest. The kernel knows only classic BPF, a program without
// loops that runs before every system call over struct seccomp_data and returns the answer (seccomp(2)). libseccomp,
// which translates for runc and crun, is C; this is the same in Go. The program is a binary search:
//
//	load arch, not ours?  ─► kill the process
//	load number
//	number ≥ 151 ?  ─┬─ no ─► number ≥ 40 ? ─┬─ no ─► …        a leaf is either an answer for a run of
//	                 │                       └─ yes ─► …       neighbouring numbers, or the tests of one
//	                 └─ yes ─► number ≥ 273 ? …                call's arguments and then an answer
//
// As each subtree ends in answers alone, nothing jumps out of it, and code for a subtree is the same wherever it stands.
//
// Where a profile leaves room, the answers are runc's and libseccomp's:
//
//   - A rule without arguments beats every rule with arguments for the same call; among several the first counts.
//   - A rule's arguments must all match, unless two of them are about the same argument: then any one is enough.
//   - Names that this architecture lacks are skipped, and so are rules that ask for the default action anyway.
//   - Calls numbered above every call that the profile names are younger than the profile. The default EPERM would tell
//     glibc that they exist and are forbidden; it gets ENOSYS, and falls back to an older call (opencontainers/runc#2750).
//     Below that, and for a profile that allows by default, the default action holds.
//
// What differs: a filter covers one architecture, that of this binary. A program of another one that the kernel could
// run too (i386 on x86-64) is killed at its first call, whatever the profile's architectures say; x32 calls get ENOSYS,
// as from a kernel built without x32. The profile's flags concern logging and speculation, not the answers, and are
// ignored. SCMP_ACT_NOTIFY needs a listener and is an error.
//
// This package links system call tables that take a millisecond to initialise, so container starts don't: they
// take the compiled filter out of the package cache.
package seccomp

// Package linux holds every raw system call that minipod makes.
//
// Its wrappers do three things and no more: they retry EINTR where the kernel may return it, they open descriptors
// close-on-exec, and they name the path in the error (which still is the errno, by errors.Is). What a call is for
// belongs to its caller.
//
// fork.go is the exception that carries the whole project: between fork and exec a child of a threaded program may
// only make system calls, so what it makes is written down beforehand as a list (a Program), and one loop runs it.
package linux

// Package cli is what people type: one file per verb, docker's words and exit statuses, and the only place that
// prints an error.
//
// A verb is a method of app that reads its flags, asks a package for what it wants, and prints the answer. No verb
// decides anything about containers or images; those packages know nothing of flags and terminals.
//
//	main ─ arrange ───── urfave/cli ── verb ── printing (output.go)
//	       docker's      --flag=value   │
//	       mixed flags   then words     └─ inNamespace: verbs that write image layers or remove volumes run this
//	                                       program once more inside the user's namespace
//
// An error is two lines: what failed and why, and a hint at the command to type next:
//
//	minipod: unknown command: minipod imagse
//	hint: run `minipod images`, if you meant that
//
// The exit status is docker's: 125 for a command line that we do not understand and for everything in `run` that is
// not the container's command, 1 for any other failure, else the status that the error itself carries.
package cli

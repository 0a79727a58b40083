// Package hint carries the second half of an error message: what the person should do next.
//
// An error in minipod answers three questions: what failed, why the kernel (or the registry) refused, and which
// command to run now. The first two are the error's text; the third is its hint, printed on a line of its own by
// the CLI. An error may also carry the exit status that docker would give it.
package hint

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit statuses that docker and podman share, so that scripts can tell our failures from the command's.
const (
	ExitRuntime       = 125 // minipod itself failed: bad flag, no such image, no namespaces
	ExitNotExecutable = 126 // the command was found and could not be executed
	ExitNotFound      = 127 // the command was not found
)

type advised struct {
	err  error
	hint string
}

func (a *advised) Error() string { return a.err.Error() }
func (a *advised) Unwrap() error { return a.err }

// Wrap returns err with advice attached: one line, lower case, starting with a verb ("run …", "install …").
// A nil err stays nil.
func Wrap(err error, advice string) error {
	if err == nil {
		return nil
	}
	return &advised{err, advice}
}

// Of returns the advice of the outermost advised error in err's tree, or "".
func Of(err error) string {
	var a *advised
	if errors.As(err, &a) {
		return a.hint
	}
	return ""
}

type exit struct {
	err    error
	status int
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

// Exit returns err with the exit status that the process should end with. A nil err stays nil.
func Exit(err error, status int) error {
	if err == nil {
		return nil
	}
	return &exit{err, status}
}

// ExitStatus returns the exit status that err asks for, or fallback where it asks for none.
func ExitStatus(err error, fallback int) int {
	var e *exit
	if errors.As(err, &e) {
		return e.status
	}
	return fallback
}

// Print writes err as a person wants it: what failed and why, and on a second line what to do.
func Print(w io.Writer, err error) {
	fmt.Fprintf(w, "minipod: %s\n", printable(err.Error()))
	if advice := Of(err); advice != "" {
		fmt.Fprintf(w, "hint: %s\n", printable(advice))
	}
}

// printable keeps a name in an image from commanding the person's terminal by escape sequences.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || 0x7f <= r && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, text)
}

package run

import (
	"errors"
	"fmt"
	"io"
	"os"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
	"codeberg.org/minipod/minipod/supervisor"
)

// The second of two dispatches before main (the stage's is the other). `minipod run` is what people wait for, and most of
// its time would go into packages that it does not use; so it starts as soon as its own imports are ready. With anything
// unusual it returns, and the CLI does it.
func init() { //nolint:gochecknoinits // see above
	if len(os.Args) < 2 || os.Args[0] == "" {
		return
	}
	var status int
	var err error
	switch {
	case os.Args[1] == "run":
		status, err = Main(os.Args[2:], nil)
	case os.Args[1] == "exec":
		status, err = execEarly(os.Args[2:])
	case pod.Born(os.Args):
		os.Exit(SupervisePod())
	case supervisor.Born(os.Args):
		os.Exit(Supervise())
	default:
		return
	}
	if errors.Is(err, ErrCold) {
		return
	}
	if err != nil && !errors.Is(err, ErrSaid) {
		Complain(os.Stderr, state.Placed(err, os.Getenv, errors.Is(err, runtime.ErrNotFound)))
	}
	os.Exit(status)
}

// Complain is hint.Print, in the person's language where both halves can be said in it: then it is about what was typed.
func Complain(w io.Writer, err error) {
	language := lang.Find(os.Getenv)
	problem, ok := language.Translate(err.Error())
	advice, ok2 := language.Translate(hint.Of(err))
	if !ok || !ok2 {
		hint.Print(w, err)
		return
	}
	fmt.Fprintf(w, "minipod: %s\n%s\n", problem, language.Say("hint: %s", advice))
}

package run

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// narrator returns what tells the steps of the start (--explain) and what waits between them (--step), or nils.
func (r *run) narrator() (func(stage.Event), func(stage.Event) error) {
	if r.Explain == "" && !r.Step {
		return nil, nil
	}
	language := lang.Find(os.Getenv)
	tell := func(e stage.Event) {
		e.Why = whyIn(language, e)
		tellText(os.Stderr, e)
	}
	if r.Explain == "json" {
		lines := json.NewEncoder(os.Stderr)
		lines.SetEscapeHTML(false)
		tell = func(e stage.Event) {
			e.Why = whyIn(language, e)
			_ = lines.Encode(e)
		}
	}
	if !r.Step {
		return tell, nil
	}
	return tell, func(e stage.Event) error {
		e.Why = whyIn(language, e)
		return pause(e)
	}
}

// pause waits for Enter at the terminal, also where stdin belongs to the command.
func pause(e stage.Event) error {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return hint.Wrap(fmt.Errorf("--step waits for Enter, and there is no terminal: %w", err), "use --explain")
	}
	defer tty.Close()
	fmt.Fprintf(tty, "next: %s (%s). Enter goes on ", e.Step, e.Why)
	_, err = bufio.NewReader(tty).ReadString('\n')
	if errors.Is(err, io.EOF) {
		return errors.New("stopped at " + e.Step)
	}
	return err
}

// tellText is a step a line: who, what, the calls with their results, and why.
func tellText(w io.Writer, e stage.Event) {
	var calls []string
	for i := 0; i < len(e.Calls); {
		j := i + 1
		for j < len(e.Calls) && sameCall(e.Calls[i], e.Calls[j]) {
			j++
		}
		text := e.Calls[i].Call + " = " + e.Calls[i].Result
		if j-i > 1 {
			text += fmt.Sprintf(" (and %d more like it)", j-i-1)
		}
		calls = append(calls, text)
		i = j
	}
	fmt.Fprintf(w, "%-8s %-18s %s", e.Who, e.Step, strings.Join(calls, "; "))
	if e.Error != "" {
		fmt.Fprintf(w, " FAILED: %s", e.Error)
	}
	fmt.Fprintf(w, "  — %s", e.Why)
	if e.Micros > 0 {
		fmt.Fprintf(w, " (%s)", time.Duration(e.Micros)*time.Microsecond)
	}
	fmt.Fprintln(w)
}

// sameCall tells whether two calls differ only in their arguments, and got the same answer.
func sameCall(a, b stage.CallResult) bool {
	name := func(call string) string { before, _, _ := strings.Cut(call, "("); return before }
	return name(a.Call) == name(b.Call) && a.Result == b.Result
}

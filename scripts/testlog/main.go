// Command testlog reads the events of `go test -json` on its standard input and prints what `go test` itself would
// have: the output of failed tests and each package's closing line. It ends with status 1 where a test failed, or where one
// skipped that the file named by its argument doesn't list.
//
// A skip is how a suite rots: a kernel feature goes missing on the machine that should prove it, and everything stays
// green. So each skip that may happen is written down with its reason, and any other one is a failure.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | testlog FILE-OF-EXPECTED-SKIPS")
		os.Exit(2)
	}
	list, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(2)
	}
	ok, err := replay(os.Stdin, os.Stdout, expected(string(list)))
	if err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// expected parses lines of "PACKAGE TEST reason…"; # starts a comment.
func expected(list string) map[string]bool {
	skips := map[string]bool{}
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) >= 3 && !strings.HasPrefix(f[0], "#") {
			skips[f[0]+" "+f[1]] = true
		}
	}
	return skips
}

// An event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds; of what ends
}

// replay copies what a person wants to see from r to w and reports whether all is well.
func replay(r io.Reader, w io.Writer, expected map[string]bool) (ok bool, err error) {
	ok = true
	held := map[string][]string{} // the output of tests that have not ended, by "package test"
	var unexpected, allowed []string
	passed, failed := 0, 0
	closed := map[string]bool{} // packages whose closing line was printed
	lines := bufio.NewReader(r)
	for {
		line, readErr := lines.ReadBytes('\n')
		var e event
		switch {
		case len(line) == 0:
		case json.Unmarshal(line, &e) != nil: // not an event: a message of the go command itself
			fmt.Fprintf(w, "%s", line)
		case e.Test == "":
			ok = ok && e.Action != "fail" && e.Action != "build-fail"
			if e.Action == "fail" { // a panic or an os.Exit leaves tests without an end of their own
				for _, name := range slices.Sorted(keysOf(held, e.Package+" ")) {
					flush(w, held, name)
				}
			}
			if (e.Action == "output" || e.Action == "build-output") && e.Output != "PASS\n" && e.Output != "FAIL\n" {
				fmt.Fprint(w, e.Output)
				closed[e.Package] = closed[e.Package] || strings.HasPrefix(e.Output, "ok  \t") || strings.HasPrefix(e.Output, "FAIL\t")
			}
			// The line is the go command's, which a test binary that runs elsewhere under test2json goes without.
			if verdict, ended := verdicts[e.Action]; ended && !closed[e.Package] {
				fmt.Fprintf(w, "%s\t%s\t%.3fs\n", verdict, e.Package, e.Elapsed)
			}
		default:
			name := e.Package + " " + e.Test
			switch e.Action {
			case "output":
				held[name] = append(held[name], e.Output)
			case "skip":
				if expected[name] {
					allowed = append(allowed, name)
				} else {
					unexpected = append(unexpected, name)
					flush(w, held, name)
				}
				delete(held, name)
			case "fail":
				failed++
				flush(w, held, name)
			case "pass":
				passed++
				delete(held, name)
			}
		}
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			return false, readErr
		}
	}
	for _, name := range allowed {
		fmt.Fprintln(w, "skipped, as listed:", name)
	}
	for _, name := range unexpected {
		fmt.Fprintln(w, "skipped, and not listed:", name)
	}
	if passed+failed+len(allowed)+len(unexpected) > 0 {
		fmt.Fprintf(w, "tests: %d passed, %d failed, %d skipped\n", passed, failed, len(allowed)+len(unexpected))
	}
	return ok && failed+len(unexpected) == 0, nil
}

// verdicts begin a package's closing line.
var verdicts = map[string]string{"pass": "ok  ", "fail": "FAIL"}

func flush(w io.Writer, held map[string][]string, name string) {
	for _, s := range held[name] {
		if !strings.HasPrefix(s, "=== ") {
			fmt.Fprint(w, s)
		}
	}
	delete(held, name)
}

// keysOf yields the keys that start with prefix.
func keysOf(m map[string][]string, prefix string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if strings.HasPrefix(k, prefix) && !yield(k) {
				return
			}
		}
	}
}

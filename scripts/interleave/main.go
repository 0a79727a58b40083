// Command interleave times commands against each other and prints their medians as a Markdown table.
//
//	interleave -rounds 30 -pause 100ms <LINES     each line: NAME, a tab, a shell-free command
//
// After another tab a line may hold a second command, which clears up after each run of the first and is not measured.
//
// Each round runs every command once, in an order drawn anew, so that whatever else the machine does meanwhile falls on all
// of them alike; the ratio to the first line is of medians of the same run. Before each one is a pause: the kernel takes a
// dead container's network namespace apart in the background, behind a lock that the next clone would wait for, and a
// command is not to be billed for its predecessor. A command that fails ends it all: the time of a failure is no measurement.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// A contender is one command and the times of its runs.
type contender struct {
	name  string
	argv  []string
	after []string // nil: nothing
	times []time.Duration
}

func main() {
	rounds := flag.Int("rounds", 30, "how often to run each command")
	pause := flag.Duration("pause", 100*time.Millisecond, "how long to wait before each command")
	warm := flag.Int("warm", 3, "how often to run each command before that, unmeasured")
	flag.Parse()
	contenders, err := read(os.Stdin)
	if err == nil {
		err = run(contenders, *warm, *rounds, *pause)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interleave:", err)
		os.Exit(1)
	}
	table(os.Stdout, contenders)
}

func read(r io.Reader) ([]*contender, error) {
	var all []*contender
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, command, ok := strings.Cut(lines.Text(), "\t")
		command, after, _ := strings.Cut(command, "\t")
		argv := strings.Fields(command)
		if !ok || len(argv) == 0 {
			return nil, fmt.Errorf("not NAME<tab>COMMAND: %q", lines.Text())
		}
		all = append(all, &contender{name: name, argv: argv, after: strings.Fields(after)})
	}
	return all, lines.Err()
}

func run(contenders []*contender, warm, rounds int, pause time.Duration) error {
	for round := range warm + rounds {
		for _, i := range rand.Perm(len(contenders)) {
			c := contenders[i]
			time.Sleep(pause)
			took, err := timed(c.argv)
			if err == nil && len(c.after) > 0 {
				_, err = timed(c.after)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if round >= warm {
				c.times = append(c.times, took)
			}
		}
	}
	return nil
}

func timed(argv []string) (time.Duration, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", argv[0], err, stderr.String())
	}
	return took, nil
}

func table(w io.Writer, contenders []*contender) {
	fmt.Fprintln(w, "| | median ms | min ms | first ÷ this |")
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: |")
	first := median(contenders[0].times)
	for _, c := range contenders {
		m := median(c.times)
		fmt.Fprintf(w, "| %s | %.1f | %.1f | %.2f |\n", c.name, ms(m), ms(slices.Min(c.times)), ms(first)/ms(m))
	}
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	mid := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[mid-1] + sorted[mid]) / 2
	}
	return sorted[mid]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

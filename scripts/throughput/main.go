// Command throughput measures what TCP connections carry, and compares ways to make them.
//
//	throughput serve :9000                  takes and sends bytes for whoever connects
//	throughput measure 10.88.0.2:9000       prints Gbit/s up, Gbit/s down and µs per connection, with tabs between
//	throughput compare -rounds 10 <LINES    each line: NAME, a tab, a shell-free command that prints what measure does
//
// compare runs every command once each round, in an order drawn anew, and prints medians as a Markdown table.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	total    = 128 << 20 // bytes each way
	connects = 100
	patience = time.Second
	most     = 10 * time.Second // of a transfer: some ways stall
	chunk    = 256 << 10
)

// Directions, as the first byte of a connection says.
const up, down = 'u', 'd'

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "throughput:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 2 && args[0] == "measure":
		return measure(args[1])
	case len(args) > 0 && args[0] == "compare":
		flags := flag.NewFlagSet("compare", flag.ExitOnError)
		rounds := flags.Int("rounds", 10, "how often to run each command")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return compare(os.Stdin, *rounds)
	}
	return errors.New("usage: throughput serve ADDRESS | measure ADDRESS | compare [-rounds N]")
}

func serve(address string) error {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go answer(c)
	}
}

func answer(c net.Conn) {
	defer c.Close()
	var direction [1]byte
	if _, err := io.ReadFull(c, direction[:]); err != nil {
		return // one that only connected
	}
	if direction[0] == down {
		_ = send(c) // who has gone wants no more
		return
	}
	if receive(c) == nil {
		_, _ = c.Write(direction[:])
	}
}

func measure(address string) error {
	var rates [2]float64
	for i, direction := range []byte{up, down} {
		c, err := net.Dial("tcp4", address)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := c.SetDeadline(began.Add(most)); err != nil {
			return err
		}
		if err := transfer(c, direction); err != nil {
			return err
		}
		rates[i] = 8 * total / time.Since(began).Seconds() / 1e9
		c.Close()
	}
	began, made := time.Now(), 0
	for made < connects && time.Since(began) < patience { // some take half a second each
		c, err := net.Dial("tcp4", address)
		if err != nil {
			return err
		}
		c.Close()
		made++
	}
	_, err := fmt.Printf("%.3f\t%.3f\t%.1f\n", rates[0], rates[1], float64(time.Since(began).Microseconds())/float64(made))
	return err
}

func transfer(c net.Conn, direction byte) error {
	if _, err := c.Write([]byte{direction}); err != nil {
		return err
	}
	if direction == down {
		return receive(c)
	}
	if err := send(c); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1)) // all of it has arrived
	return err
}

func send(c net.Conn) error {
	buf := make([]byte, chunk)
	for sent := 0; sent < total; sent += len(buf) {
		if _, err := c.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

func receive(c net.Conn) error {
	buf := make([]byte, chunk)
	for received := 0; received < total; {
		n, err := c.Read(buf)
		if received += n; err != nil && received < total {
			return err
		}
	}
	return nil
}

// A contender is a command and what it measured: Gbit/s up, Gbit/s down, µs per connection.
type contender struct {
	name    string
	argv    []string
	figures [3][]float64
}

func compare(lines io.Reader, rounds int) error {
	var all []*contender
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		name, command, ok := strings.Cut(scanner.Text(), "\t")
		argv := strings.Fields(command)
		if !ok || len(argv) == 0 {
			return fmt.Errorf("not NAME<tab>COMMAND: %q", scanner.Text())
		}
		all = append(all, &contender{name: name, argv: argv})
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	for round := -1; round < rounds; round++ { // the first warms up
		for _, i := range rand.Perm(len(all)) {
			err := all[i].run(round >= 0)
			if err != nil && i == 0 {
				return fmt.Errorf("%s: %w", all[i].name, err)
			}
			if err != nil { // a peer that stalls has no figures of this round
				fmt.Fprintf(os.Stderr, "throughput: left out of round %d: %s: %v\n", round, all[i].name, err)
			}
		}
	}
	fmt.Println("| | up, Gbit/s | first ÷ this | down, Gbit/s | first ÷ this | connect, µs | first ÷ this |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, c := range all {
		fmt.Printf("| %s ", c.name)
		for i := range c.figures {
			if len(c.figures[i]) == 0 {
				fmt.Print("| – | – ")
				continue
			}
			m := median(c.figures[i])
			fmt.Printf("| %.3g | %.2f ", m, median(all[0].figures[i])/m)
		}
		fmt.Println("|")
	}
	return nil
}

func (c *contender) run(counts bool) error {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	fields := strings.Fields(string(out))
	if len(fields) != len(c.figures) {
		return fmt.Errorf("printed %q", out)
	}
	for i, f := range fields {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return err
		}
		if counts {
			c.figures[i] = append(c.figures[i], v)
		}
	}
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

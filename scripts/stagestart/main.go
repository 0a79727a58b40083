// Command stagestart measures how long minipod takes from fork to its stage's first line, with everything linked.
//
//	stagestart MINIPOD [ROUNDS]
//
// It starts `minipod sandbox` as runtime/stage does, with a control socket as descriptor 3, whose other end is closed: the stage finds
// nobody there and ends. What that takes beyond the start of /bin/true is Go's runtime and our packages' initialisation.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/runtime/stage"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: stagestart MINIPOD [ROUNDS]")
		os.Exit(2)
	}
	rounds := 200
	if len(os.Args) > 2 {
		if n, err := strconv.Atoi(os.Args[2]); err == nil {
			rounds = n
		}
	}
	var stage, nothing []time.Duration
	for range rounds {
		took, err := start(os.Args[1], "minipod", "sandbox", "measured")
		if err != nil {
			fmt.Fprintln(os.Stderr, "stagestart:", err)
			os.Exit(1)
		}
		stage = append(stage, took)
		if took, err = start("/bin/true", "true"); err != nil {
			fmt.Fprintln(os.Stderr, "stagestart:", err)
			os.Exit(1)
		}
		nothing = append(nothing, took)
	}
	slices.Sort(stage)
	slices.Sort(nothing)
	fmt.Println("| | median ms | min ms |\n| --- | ---: | ---: |")
	fmt.Printf("| fork, exec and end of a stage | %.2f | %.2f |\n", ms(stage[rounds/2]), ms(stage[0]))
	fmt.Printf("| the same of /bin/true | %.2f | %.2f |\n", ms(nothing[rounds/2]), ms(nothing[0]))
}

func start(path string, argv ...string) (time.Duration, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	control := os.NewFile(uintptr(pair[1]), "control")
	defer control.Close()
	if err := syscall.Close(pair[0]); err != nil {
		return 0, err
	}
	cmd := &exec.Cmd{Path: path, Args: argv, Env: stage.Environment(), ExtraFiles: []*os.File{control}}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_ = cmd.Wait() // its status tells that nobody was there
	return time.Since(began), nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

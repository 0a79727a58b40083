package linux

import (
	"bufio"
	"fmt"
	"os"
	stdruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// takerVariable makes this binary a process that takes signals on its first thread, and prints them, while others of its threads are there to
// be given them.
const takerVariable = "MINIPOD_TEST_TAKER"

// taken are signals of both kinds: Go unblocks the first six.
var taken = []syscall.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTERM, syscall.SIGCHLD, syscall.SIGUSR1, syscall.SIGCONT, 64,
}

func takeSignals() int {
	stdruntime.LockOSThread()
	set := Signals(taken...)
	if err := TakeSignals(set); err != nil {
		fmt.Println(err)
		return 1
	}
	for range 4 {
		go func() {
			stdruntime.LockOSThread()
			_, _ = os.Stdin.Read(make([]byte, 1))
		}()
	}
	fmt.Println("ready")
	for {
		number, err := WaitSignal(set)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(int(number))
	}
}

// TestTakeSignals sends a process all the signals at once, again and again: it takes each, none is lost to another thread.
func TestTakeSignals(t *testing.T) {
	in, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer hold.Close()
	out, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &Program{}
	high := make([]int, 2)
	for i, f := range []*os.File{in, write} {
		if high[i], err = DupHigh(f); err != nil {
			t.Fatal(err)
		}
		p.Dup(high[i], i)
	}
	p.BlockSignals(Signals(taken...))
	p.Execve("/proc/self/exe", []string{"taker"}, append(os.Environ(), takerVariable+"=1", "GOMAXPROCS=4"))
	child, err := Fork(0, p)
	write.Close()
	Close(high[0])
	Close(high[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Started(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("%q, %v", lines.Text(), lines.Err())
	}
	for round := range 200 {
		missing := map[string]bool{}
		for _, number := range taken {
			missing[strconv.Itoa(int(number))] = true
			if err := syscall.Kill(child.PID, number); err != nil {
				t.Fatal(err)
			}
		}
		for len(missing) > 0 {
			if !lines.Scan() {
				t.Fatalf("round %d: %v lack, and it ended: %v", round, missing, lines.Err())
			}
			if !missing[lines.Text()] {
				t.Fatalf("round %d: %q", round, lines.Text())
			}
			delete(missing, lines.Text())
		}
	}
	if err := child.Kill(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if _, err := child.Wait(); err != nil {
		t.Error(err)
	}
	if lines.Scan() {
		t.Errorf("more than it was sent: %q", strings.TrimSpace(lines.Text()))
	}
}

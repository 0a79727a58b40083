package runtime

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	stdruntime "runtime"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// parentRole is this binary as who has work done inside the user's id range.
const parentRole = "parent-of-inside"

func beParent() error {
	stdruntime.LockOSThread()
	uids, gids, _, err := idmap.ForUser(os.Getuid(), os.Getgid())
	if err == nil {
		_, err = stage.Inside(context.Background(), []string{"stay"}, [3]*os.File{os.Stdin, os.Stdout, os.Stderr}, func(pid int) error { return idmap.Write(pid, uids, gids) })
	}
	return err
}

// Who works inside for a supervisor ends with it, also when that is killed: else it would go on to write where the next supervisor begins anew.
func TestInsideEndsWithItsParent(t *testing.T) {
	cmd := exec.Command(os.Args[0], parentRole)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err != nil || line != "here\n" {
		t.Fatalf("%q, %v", line, err)
	}
	ended := make(chan error, 1)
	go func() { // its standard output closes with it
		_, err := io.Copy(io.Discard, lines)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it lives on")
	}
	_ = cmd.Wait()
}

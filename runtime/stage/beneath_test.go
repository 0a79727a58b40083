package stage

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"codeberg.org/minipod/minipod/internal/linux"
)

// TestOpenTreeBeneathRace opens a folder that is exchanged for a link out of the volume all the while: the one or an error, never what the link leads to.
func TestOpenTreeBeneathRace(t *testing.T) {
	volume, outside := t.TempDir(), t.TempDir()
	sub, link := filepath.Join(volume, "sub"), filepath.Join(volume, "link")
	err := errors.Join(os.Mkdir(sub, 0o755), os.WriteFile(filepath.Join(sub, "inside"), nil, 0o644), os.WriteFile(filepath.Join(outside, "outside"), nil, 0o644),
		os.Symlink(outside, link))
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, sub, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
				stopped <- err
				return
			}
		}
	}()
	opened, refused := 0, 0
	for range 200 {
		p := &linux.Program{}
		p.OpenTreeBeneath(volume, "sub")
		f, err := receiveMount(linux.NewUser|linux.NewNS, p, volume)
		switch {
		case errors.Is(err, syscall.EXDEV):
			refused++
		case err != nil:
			t.Fatal(err)
		default:
			opened++
			name := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
			if _, err := os.Stat(name + "/inside"); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(name + "/outside"); err == nil {
				t.Error("it is what is outside")
			}
			f.Close()
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if opened == 0 || refused == 0 {
		t.Errorf("opened %d times, refused %d times: there was no race", opened, refused)
	}
}

package run

import (
	"os"

	"codeberg.org/minipod/minipod/runtime"
)

// Join is runtime.Join on a thread that lives until the child is gone.
func Join(r runtime.Record, args []string, files [3]*os.File) (int, error) {
	defer lockThread()()
	return runtime.Join(r, args, files)
}

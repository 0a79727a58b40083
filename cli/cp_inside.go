package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/files"
	"codeberg.org/minipod/minipod/runtime/idmap"
	"codeberg.org/minipod/minipod/state"
)

// copyVerb is the verb of our own process that copies from or to the tree of a container that does not run:
// `copyVerb ID ORDER`, inside the user's id range. For one that runs it is runtime.JoinVerb.
const copyVerb = "copy-files"

// A copyOrder is what the process at the container's side of a copy is told.
type copyOrder struct {
	Out             bool   // from the container, to standard output; else from standard input
	Container       string // for errors only
	Path            []byte // a file's name need not be the Unicode that a text in JSON is
	Follow, Archive bool
}

// copyEnd runs the process at the container's side, and returns when it has ended.
func (a *app) copyEnd(ctx context.Context, r runtime.Record, order copyOrder, stdio [3]*os.File) error {
	text, err := json.Marshal(order)
	if err != nil {
		return err
	}
	var status int
	if r.Status == runtime.StatusRunning {
		status, err = run.Join(r, []string{string(text)}, stdio)
	} else {
		status, err = a.copyStopped(ctx, r, string(text), stdio)
	}
	if err == nil && status != 0 {
		return statusError(status) // that process has said why
	}
	return err
}

// copyStopped holds the container meanwhile: nobody may start it while its tree is mounted here.
func (a *app) copyStopped(ctx context.Context, r runtime.Record, order string, stdio [3]*os.File) (int, error) {
	held, err := runtime.Adopt(a.dirs, r)
	if errors.Is(err, runtime.ErrRunning) {
		return 0, hint.Wrap(fmt.Errorf("container %s is being started, or another command works with its files", r.Name), "try again")
	}
	if err != nil {
		return 0, err
	}
	defer held.Close()
	uids, gids, _, err := idmap.ForUser(os.Geteuid(), os.Getegid())
	if err != nil {
		return 0, err
	}
	return run.Inside(ctx, uids, gids, []string{copyVerb, r.ID, order}, stdio)
}

// InContainer is `minipod in-container`, which joined a running container's user namespace.
func InContainer(args []string) int {
	if len(args) != 1 || !linux.IsDir(runtime.RootFD) {
		return status(fmt.Errorf("%s is minipod's own", runtime.JoinVerb))
	}
	return copyFiles(linux.File{FD: runtime.RootFD, Name: "/"}, args[0])
}

// copyStoppedFiles is copyVerb.
func copyStoppedFiles(id, order string) int {
	root, err := mountStopped(id)
	if err != nil {
		return status(err)
	}
	return copyFiles(root, order)
}

func mountStopped(id string) (root linux.File, err error) {
	dirs, err := state.Find(os.Getenv)
	if err != nil {
		return root, err
	}
	r, err := runtime.Find(dirs, id)
	if err != nil {
		return root, err
	}
	layers, err := layersOf(dirs, r)
	if err != nil {
		return root, err
	}
	fuse := ""
	if r.Storage(dirs) == rootfs.FuseOverlayfs {
		if fuse, err = exec.LookPath("fuse-overlayfs"); err != nil {
			return root, hint.Wrap(err, "run `minipod doctor`")
		}
	}
	return runtime.MountTree(dirs, r, layers, fuse)
}

// layersOf answers the layers of a container's image, the topmost first, relative to the data folder.
func layersOf(dirs state.Dirs, r runtime.Record) ([]string, error) {
	images, err := store.Open(dirs)
	if err != nil {
		return nil, err
	}
	img, err := images.Resolve(r.ImageID)
	if err != nil {
		return nil, fmt.Errorf("find the image of container %s: %w", r.Name, err)
	}
	return images.LayerDirs(img)
}

// copyFiles is one end of a copy: the one that sees the container's tree.
func copyFiles(root linux.File, text string) int {
	var order copyOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return status(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	tree, place := files.Tree{Root: root}, order.Container+":"+string(order.Path)
	var err error
	if order.Out {
		if err = files.Send(ctx, os.Stdout, tree, string(order.Path), order.Follow); err != nil {
			err = fmt.Errorf("copy from %s: %w", place, err)
		}
	} else {
		in := bufio.NewReaderSize(os.Stdin, 256<<10)
		err = files.Receive(ctx, in, tree, string(order.Path), files.Options{KeepOwners: order.Archive})
		if errors.Is(err, files.ErrCutOff) { // who sends has said why
			return exitFailure
		}
		if err != nil {
			err = fmt.Errorf("copy to %s: %w", place, err)
		}
	}
	if err != nil {
		hint.Print(os.Stderr, err)
		return exitFailure
	}
	return 0
}

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/image/compress"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/files"
)

func (a *app) cpVerb() *urfave.Command {
	return &urfave.Command{
		Name: "cp", Usage: "Copy files into a container or out of it", ArgsUsage: "CONTAINER:PATH LOCAL|-    or    LOCAL|- CONTAINER:PATH",
		Category: groupContainers,
		Description: "Folders are copied with all that is in them; SRC/. is what is in SRC. With - a tar is read or written.\n" +
			"What comes out is yours, what goes in belongs to the container's root.\n\n" +
			examples("minipod cp web:/etc/nginx/nginx.conf .", "minipod cp index.html web:/srv/", "minipod cp web:/var/log/. logs",
				"minipod cp web:/etc - | tar -tv"),
		Flags: append(podFlags(),
			&urfave.BoolFlag{Name: "archive", Aliases: []string{"a"}, Usage: "into a container: keep the numbers of the files' owners"},
			&urfave.BoolFlag{Name: "follow-link", Aliases: []string{"L"}, Usage: "copy what a symbolic link at the source leads to"},
			quietFlag("do not tell how much was copied"),
		),
		Action: a.cp,
	}
}

// A cpPlace is one side of a copy.
type cpPlace struct{ container, path string }

// parseCpPlace tells CONTAINER:PATH from a local path as docker does: what begins with / or . is local, whatever follows.
func parseCpPlace(arg string) cpPlace {
	container, path, ok := strings.Cut(arg, ":")
	if !ok || filepath.IsAbs(arg) || strings.HasPrefix(container, ".") {
		return cpPlace{path: arg}
	}
	return cpPlace{container, path}
}

func (a *app) cp(c *urfave.Context) error {
	if err := checkArgs(c, 2, 2); err != nil {
		return err
	}
	from, to := parseCpPlace(c.Args().Get(0)), parseCpPlace(c.Args().Get(1))
	switch {
	case from.container != "" && to.container != "":
		return hint.Wrap(errors.New("copying between containers is not supported"), "go by a pipe: minipod cp FROM:PATH - | minipod cp - TO:FOLDER")
	case from.container == "" && to.container == "":
		return usageError(c, "must specify at least one container source")
	}
	name, target := from.container, to.path
	if name == "" {
		name, target = to.container, to.container+":"+to.path
	}
	r, err := a.cpContainer(c, name)
	if err != nil {
		return err
	}
	var copied int64
	if from.container != "" {
		copied, err = a.copyOut(c.Context, r, from.path, to.path, c.Bool("follow-link"))
	} else {
		copied, err = a.copyIn(c.Context, r, from.path, to.path, c.Bool("follow-link"), c.Bool("archive"))
	}
	if err != nil {
		return err
	}
	if !c.Bool("quiet") && isTerminal(a.out) {
		fmt.Fprintf(a.err, "Successfully copied %s to %s\n", humanSize(copied, 3), target)
	}
	return nil
}

// copyOut copies what the container r has at path to a local place. It answers the bytes that came through the pipe.
func (a *app) copyOut(ctx context.Context, r runtime.Record, path, local string, follow bool) (int64, error) {
	if local == "-" && isTerminal(a.out) {
		return 0, hint.Wrap(errors.New("copy from a container: standard output is a terminal"), "redirect the tar: minipod cp CONTAINER:PATH - >FILE")
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	other := a.startOther(ctx, r, copyOrder{Out: true, Container: r.Name, Path: []byte(path), Follow: follow}, null, theirs)
	pipe := &countingReader{r: ours}
	err = receiveLocal(ctx, bufio.NewReaderSize(pipe, 256<<10), local, a.out)
	ours.Close() // whatever it still wants to write: it ends now
	return pipe.n, other.outcome(err)
}

func receiveLocal(ctx context.Context, r *bufio.Reader, local string, stdout io.Writer) error {
	if local == "-" {
		if _, err := files.Accept(r); err != nil {
			return err
		}
		_, err := io.Copy(stdout, r)
		return err
	}
	tree, local, err := localTree(local)
	if err != nil {
		return err
	}
	defer tree.Root.Close()
	return files.Receive(ctx, r, tree, local, files.Options{Mine: true})
}

// copyIn copies a local file or folder to path in the container r.
func (a *app) copyIn(ctx context.Context, r runtime.Record, local, path string, follow, archive bool) (int64, error) {
	if local == "-" && isTerminal(a.in) {
		return 0, hint.Wrap(errors.New("copy to a container: standard input is a terminal"), "redirect a tar: minipod cp - CONTAINER:FOLDER <FILE")
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	other := a.startOther(ctx, r, copyOrder{Container: r.Name, Path: []byte(path), Archive: archive}, theirs, os.Stderr)
	pipe := &countingWriter{w: ours}
	err = sendLocal(ctx, pipe, local, a.in, follow)
	ours.Close()
	return pipe.n, other.outcome(err)
}

func sendLocal(ctx context.Context, w io.Writer, local string, stdin io.Reader, follow bool) error {
	if local == "-" {
		plain, _, err := compress.NewReader(stdin)
		if err != nil {
			return fmt.Errorf("read the tar: %w", err)
		}
		defer plain.Close()
		if err := files.Announce(w, files.Source{Stream: true}); err != nil {
			return err
		}
		_, err = io.Copy(w, plain)
		return err
	}
	tree, local, err := localTree(local)
	if err != nil {
		return err
	}
	defer tree.Root.Close()
	return files.Send(ctx, w, tree, local, follow)
}

// localTree is the user's own tree, and the name of a local path in it.
func localTree(local string) (files.Tree, string, error) {
	if !filepath.IsAbs(local) {
		cwd, err := os.Getwd()
		if err != nil {
			return files.Tree{}, "", err
		}
		local = cwd + "/" + local // as it is: what it ends in means something
	}
	root, err := linux.OpenDir("/")
	return files.Tree{Root: root}, local, err
}

// An other is the process at the container's side of a copy, while it works.
type other struct{ ended chan error }

// startOther starts it with in and out as its standard input and output, of which out or in is a pipe's end that becomes the
// other's alone.
func (a *app) startOther(ctx context.Context, r runtime.Record, order copyOrder, in, out *os.File) other {
	o := other{make(chan error, 1)}
	go func() {
		err := a.copyEnd(ctx, r, order, [3]*os.File{in, out, os.Stderr})
		if order.Out {
			out.Close()
		} else {
			in.Close()
		}
		o.ended <- err
	}()
	return o
}

// outcome waits for the other process, and decides which of the two errors is the cause, and which its consequence.
func (o other) outcome(ours error) error {
	theirs := <-o.ended
	if theirs != nil && (ours == nil || errors.Is(ours, files.ErrCutOff) || errors.Is(ours, syscall.EPIPE)) {
		return theirs
	}
	return ours
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

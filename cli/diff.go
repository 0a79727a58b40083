package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/rootfs"
	"codeberg.org/minipod/minipod/runtime"
)

func (a *app) diffVerb() *urfave.Command {
	return &urfave.Command{
		Name: "diff", Usage: "List what a container changed in its image's files", ArgsUsage: "CONTAINER    or    -f FILE", Category: groupContainers,
		Description: "A was added, C was changed, D was deleted. Volumes are no part of it.\n\n" +
			"With -f: what `minipod apply -f` would change. The exit status is 1 if it is anything, and 2 after an error.\n\n" +
			examples("minipod diff web", "minipod diff -f web.yaml"),
		Flags: diffFlags(), Action: a.diffAny,
	}
}

func (a *app) exportVerb() *urfave.Command {
	return &urfave.Command{
		Name: "export", Usage: "Write a container's files to a tar", ArgsUsage: "CONTAINER", Category: groupContainers,
		Description: "All of them, as one flat tree; volumes are no part of it. `minipod import` makes an image of it.\n\n" +
			examples("minipod export -o web.tar web", "minipod export web | tar -t"),
		Flags:  []urfave.Flag{&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write `FILE` rather than standard output"}},
		Action: a.inNamespace(a.export),
	}
}

// A treeView is a container's tree and its image's, side by side.
type treeView struct {
	now, image *layer.Stack
	above      bool
}

func (v *treeView) close() {
	v.now.Close()
	v.image.Close()
}

// treeView opens both, inside the user's id range.
func (a *app) treeView(r runtime.Record) (*treeView, error) {
	layers, err := layersOf(a.dirs, r)
	if err != nil {
		return nil, err
	}
	v := &treeView{}
	var tree, image []string
	tree, v.above = r.Layers(a.dirs, layers)
	for _, dir := range layers {
		image = append(image, filepath.Join(a.dirs.Data, dir))
	}
	if v.now, err = layer.OpenStack(tree, v.above && r.Storage(a.dirs) == rootfs.FuseOverlayfs); err != nil {
		return nil, fmt.Errorf("look at the files of container %s: %w", r.Name, err)
	}
	if v.image, err = layer.OpenStack(image, false); err != nil {
		v.now.Close()
		return nil, err
	}
	return v, nil
}

func (a *app) diff(c *urfave.Context) error {
	if err := checkArgs(c, 1, 1); err != nil {
		return err
	}
	r, err := runtime.Find(a.dirs, c.Args().First())
	if err != nil {
		return err
	}
	v, err := a.treeView(r)
	if err != nil {
		return err
	}
	defer v.close()
	changes, err := v.now.CompareTo(c.Context, v.image, v.above, runtime.MountPoints())
	if err != nil {
		return fmt.Errorf("container %s: %w", r.Name, err)
	}
	out := bufio.NewWriter(a.out)
	for _, change := range changes {
		name := change.Path
		if isTerminal(a.out) && !printable(name) { // a name may hold what a terminal obeys
			name = strconv.Quote(name)
		}
		fmt.Fprintf(out, "%c %s\n", change.Kind, name)
	}
	return out.Flush()
}

func printable(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) })
}

func (a *app) export(c *urfave.Context) error {
	if err := checkArgs(c, 1, 1); err != nil {
		return err
	}
	output := c.String("output")
	if output == "" && isTerminal(a.out) {
		return hint.Wrap(errors.New("export a container: standard output is a terminal"), "name a file with -o, or redirect: minipod export CONTAINER >FILE")
	}
	r, err := runtime.Find(a.dirs, c.Args().First())
	if err != nil {
		return err
	}
	v, err := a.treeView(r)
	if err != nil {
		return err
	}
	defer v.close()
	write := func(w io.Writer) error {
		buffered := bufio.NewWriterSize(w, 256<<10)
		return errors.Join(v.now.Export(c.Context, buffered), buffered.Flush())
	}
	if output == "" {
		err = write(a.out)
	} else {
		err = writeOutput(output, write)
	}
	if err != nil {
		return fmt.Errorf("container %s: %w", r.Name, err)
	}
	return nil
}

// writeOutput has write fill the file name: it appears when it is whole. A device or a pipe is written to as it is.
func writeOutput(name string, write func(io.Writer) error) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".minipod-") // with mode 0600, as docker's: it may hold secrets
	if err != nil {
		return err
	}
	if err = errors.Join(write(f), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

package files

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"codeberg.org/minipod/minipod/image/layer"
)

// ErrCutOff says that the sender stopped in the middle. It knows why.
var ErrCutOff = errors.New("the copy was cut off")

// maxLine bounds the line ahead of the tar: a name, in JSON.
const maxLine = 64 << 10

// Send writes what the tree has at unsafePath to w: a Source and a tar. With follow, a symbolic link there is followed.
func Send(ctx context.Context, w io.Writer, t Tree, unsafePath string, follow bool) error {
	e, source, err := t.find(unsafePath, follow)
	if err != nil {
		return err
	}
	defer e.dir.Close()
	if err := Announce(w, source); err != nil {
		return err
	}
	return layer.WriteTree(ctx, w, e.dir, e.base, source.Name, e.kind())
}

// A sourceLine is a Source in JSON, in which a text is Unicode, and a file's name need not be.
type sourceLine struct {
	Name          []byte
	IsDir, Stream bool
}

// Announce writes the line ahead of a tar.
func Announce(w io.Writer, s Source) error {
	line, err := json.Marshal(sourceLine{[]byte(s.Name), s.IsDir, s.Stream})
	if err != nil {
		return fmt.Errorf("encode what is copied: %w", err)
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// Accept reads the line ahead of a tar; the tar remains in r.
func Accept(r *bufio.Reader) (s Source, err error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return s, errors.New("read what is copied: the line has no end")
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return s, ErrCutOff
		case err != nil:
			return s, err
		}
		var said sourceLine
		err = json.Unmarshal(line, &said)
		return Source{string(said.Name), said.IsDir, said.Stream}, err
	}
}

// Options say whose the copies are.
type Options struct {
	// Mine leaves them to who calls, as on the user's side: no owner is set, and no set-id bit.
	Mine bool
	// KeepOwners sets those that the tar tells; else what is made belongs to 0:0.
	KeepOwners bool
}

// Receive puts what Send wrote at unsafePath of the tree, by docker's rules. It reads r to its end. After an error some of it
// may be there.
func Receive(ctx context.Context, r *bufio.Reader, t Tree, unsafePath string, o Options) error {
	d, err := t.destination(unsafePath)
	if err != nil {
		return err
	}
	defer d.dir.Close()
	source, err := Accept(r)
	if err != nil {
		return err
	}
	into, err := place(source, d)
	if err != nil {
		return fmt.Errorf("%s: %w", unsafePath, err)
	}
	x := &extractor{tree: t, at: d.dir, path: d.path, options: o, buf: make([]byte, 256<<10)}
	switch {
	case !into:
		x.from, x.to = source.Name, d.base
	case d.base != ".":
		if x.at, err = d.dir.OpenBeneath(d.base); err != nil {
			return err
		}
		defer x.at.Close()
		x.path += "/" + d.base
	}
	err = x.extract(ctx, r)
	if errors.Is(err, io.ErrUnexpectedEOF) && !source.Stream {
		return ErrCutOff
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r) // what follows the tar's end, or its writer would meet a closed pipe
	return err
}

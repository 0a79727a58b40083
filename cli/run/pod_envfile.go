package run

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"codeberg.org/minipod/minipod/pod/volume"
)

// ReadVerb is the verb of our own process that reads a file in a folder, which is its standard input, to its standard output.
const ReadVerb = "read-file"

// readAsRoot reads a file of a volume that belongs to another user of the container's.
func (h *podHost) readAsRoot(folder *os.File, name string) ([]byte, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		w.Close()
		return nil, err
	}
	defer null.Close()
	type content struct {
		data []byte
		err  error
	}
	read := make(chan content, 1)
	go func() {
		data, err := io.ReadAll(r)
		read <- content{data, err}
	}()
	status, err := Inside(context.Background(), h.uids, h.gids, []string{ReadVerb, name}, [3]*os.File{folder, w, null})
	w.Close()
	c := <-read
	if err == nil && status != 0 {
		err = &fs.PathError{Op: "read", Path: name, Err: fs.ErrPermission}
	}
	return c.data, errors.Join(err, c.err)
}

// ReadFile is `minipod inside read-file`: what volume.ReadFile may not.
func ReadFile(name string) error {
	root, err := os.OpenRoot("/proc/self/fd/0")
	if err != nil {
		return err
	}
	defer root.Close()
	data, err := volume.ReadIn(root, name)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(data)
	return err
}

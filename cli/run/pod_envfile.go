package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"codeberg.org/minipod/minipod/internal/hint"
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
	complaints, complain, err := os.Pipe()
	if err != nil {
		w.Close()
		return nil, err
	}
	defer complaints.Close()
	said := make(chan string, 1)
	go func() { said <- errorIn(complaints) }()
	type content struct {
		data []byte
		err  error
	}
	read := make(chan content, 1)
	go func() {
		data, err := io.ReadAll(r)
		read <- content{data, err}
	}()
	status, err := Inside(context.Background(), h.uids, h.gids, []string{ReadVerb, name}, [3]*os.File{folder, w, complain})
	w.Close()
	complain.Close()
	c, text := <-read, <-said
	if err == nil {
		err = readError(status, name, text)
	}
	return c.data, errors.Join(err, c.err)
}

// readError is what came of `inside read-file`: the caller asks whether there is such a file at all.
func readError(status int, name, text string) error {
	switch status {
	case 0:
		return nil
	case hint.ExitNotFound:
		return &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	case hint.ExitNotExecutable:
		return &fs.PathError{Op: "read", Path: name, Err: fs.ErrPermission}
	}
	if text == "" {
		text = fmt.Sprintf("exit status %d", status)
	}
	return errors.New(text)
}

// ReadFile is `minipod inside read-file`: what volume.ReadFile may not. Its error has an exit status, by which readError knows it again.
func ReadFile(name string) error {
	err := readFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hint.Exit(err, hint.ExitNotFound)
	case errors.Is(err, fs.ErrPermission):
		return hint.Exit(err, hint.ExitNotExecutable)
	}
	return err
}

func readFile(name string) error {
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

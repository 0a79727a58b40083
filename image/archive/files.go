package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Bounds on what is kept in memory.
const (
	maxDocument = 8 << 20 // manifest.json, index.json, manifests, configs
	maxEntries  = 100_000 // files of an archive; docker writes three a layer
	maxLinks    = 8       // symbolic links to follow from one name
)

// files is an archive that is read like a folder. Names are relative, with slashes.
type files interface {
	// open returns the content of a regular file and its size; the caller closes it. A missing file answers
	// fs.ErrNotExist.
	open(name string) (io.ReadCloser, int64, error)
}

// readAll returns a small file.
func readAll(f files, name string) ([]byte, error) {
	r, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxDocument {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are allowed", name, size, maxDocument)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

func exists(f files, name string) bool {
	r, _, err := f.open(name)
	if err == nil {
		r.Close()
	}
	return err == nil
}

// A folder is a layout on disk. It may be somebody else's download: os.Root lets no symbolic link lead out of it.
// Links within are fine, and common (blobs that lead to files beside them).
type folder struct{ root *os.Root }

func (f folder) open(name string) (io.ReadCloser, int64, error) {
	// Look before opening: to open a FIFO is to wait for its writer.
	info, err := f.root.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a regular file", name)
	}
	file, err := f.root.Open(name)
	return file, info.Size(), err
}

// A tarball is a tar that can be read at any place, and where its files are.
type tarball struct {
	r     io.ReaderAt
	files map[string]tarFile
}

type tarFile struct {
	offset, size int64
	link         string // the whole name of what it links to
}

// openTar walks over the headers of a tar of that size. It answers errNoTar if not even the first is one.
func openTar(r io.ReaderAt, size int64) (*tarball, error) {
	t := &tarball{r, map[string]tarFile{}}
	section := io.NewSectionReader(r, 0, size) // seekable, so that the walk steps over contents
	headers := tar.NewReader(section)
	for {
		h, err := headers.Next()
		switch {
		case errors.Is(err, io.EOF) && len(t.files) > 0:
			return t, nil
		case errors.Is(err, io.EOF), errors.Is(err, tar.ErrHeader) && len(t.files) == 0:
			return nil, errNoTar
		case err != nil:
			return nil, fmt.Errorf("read tar: %w", err)
		case len(t.files) == maxEntries:
			return nil, fmt.Errorf("read tar: it has more than %d files", maxEntries)
		}
		name := path.Clean("/" + h.Name)[1:]
		switch h.Typeflag {
		case tar.TypeReg:
			offset, err := section.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			if h.Size > size-offset { // truncated, or sparse, which no archive of images is
				return nil, fmt.Errorf("read tar: %q: %w", h.Name, io.ErrUnexpectedEOF)
			}
			t.files[name] = tarFile{offset: offset, size: h.Size}
		case tar.TypeSymlink: // older dockers link layers that repeat
			t.files[name] = tarFile{link: path.Join(path.Dir("/"+name), h.Linkname)[1:]}
		case tar.TypeLink:
			t.files[name] = tarFile{link: path.Clean("/" + h.Linkname)[1:]}
		}
	}
}

var errNoTar = errors.New("it is no tar archive")

func (t *tarball) open(name string) (io.ReadCloser, int64, error) {
	next := strings.TrimPrefix(path.Clean("/"+name), "/")
	for range maxLinks {
		file, found := t.files[next]
		if !found {
			break
		}
		if file.link == "" {
			return io.NopCloser(io.NewSectionReader(t.r, file.offset, file.size)), file.size, nil
		}
		next = file.link
	}
	return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/image/compress"
	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// LoadOptions are the settings of Load; the zero value is good.
type LoadOptions struct {
	Name     reference.Reference // instead of the archive's names; only for an archive of one image
	Platform ocispec.Platform    // which of an index's images; this machine's where empty
	Layer    layer.Options
}

// A Loaded is one image that Load or Import brought.
type Loaded struct {
	Names []reference.Reference // none if it stays without a name
	ID    digest.Digest
}

// LoadPath is Load of a file, or of a folder with an OCI layout.
func LoadPath(ctx context.Context, s *store.Store, name string, o LoadOptions) ([]Loaded, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	if !info.IsDir() {
		return load(ctx, s, f, name, o)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	defer root.Close()
	return loadFiles(ctx, s, folder{root}, name, o)
}

// Load brings the images of a docker-archive or an OCI archive into the store and returns them. The archive may be
// compressed with gzip or zstd. If it fails, or ctx ends, the store is as it was: names are given last.
func Load(ctx context.Context, s *store.Store, r io.Reader, o LoadOptions) ([]Loaded, error) {
	return load(ctx, s, r, "", o)
}

func load(ctx context.Context, s *store.Store, r io.Reader, name string, o LoadOptions) ([]Loaded, error) {
	what := loading(name)
	f, size, err := seekable(ctx, s, r)
	if err != nil {
		return nil, fmt.Errorf("%s: read archive: %w", what, advise(err))
	}
	if f != r {
		defer f.Close()
	}
	tarball, err := openTar(f, size)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("%s: %w", what, err), "give it what docker save, podman save or minipod save wrote")
	}
	return loadFiles(ctx, s, tarball, name, o)
}

// loading says in errors what we do; a pipe has no name.
func loading(name string) string {
	if name == "" {
		return "load images"
	}
	return "load images from " + name
}

// seekable returns r itself if it is a plain file, else an unnamed file with what r decompresses to.
func seekable(ctx context.Context, s *store.Store, r io.Reader) (*os.File, int64, error) {
	if f, isFile := r.(*os.File); isFile {
		info, err := f.Stat()
		if err != nil {
			return nil, 0, err
		}
		if info.Mode().IsRegular() {
			z, kind, err := compress.NewReader(io.NewSectionReader(f, 0, info.Size()))
			if err != nil {
				return nil, 0, err
			}
			if kind == compress.None {
				return f, info.Size(), z.Close()
			}
			defer z.Close()
			return spool(ctx, s, z)
		}
	}
	z, _, err := compress.NewReader(r)
	if err != nil {
		return nil, 0, err
	}
	defer z.Close()
	return spool(ctx, s, z)
}

func spool(ctx context.Context, s *store.Store, r io.Reader) (*os.File, int64, error) {
	f, err := s.TempFile()
	if err != nil {
		return nil, 0, err
	}
	size, err := io.Copy(f, store.ContextReader(ctx, r))
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// found is an image of an archive, its blobs and layers in the store.
type found struct {
	manifest ocispec.Descriptor
	id       digest.Digest
	names    []reference.Reference
}

// loadFiles holds the store while blobs arrive that no name leads to.
func loadFiles(ctx context.Context, s *store.Store, f files, name string, o LoadOptions) ([]Loaded, error) {
	release, err := s.Hold(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	l := loader{ctx, s, f, o}
	images, err := l.images(name)
	if err == nil {
		err = l.rename(images)
	}
	if err == nil {
		err = l.tag(images)
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("%s: %w", loading(name), giveUp(ctx, s, err))
	}
	var loaded []Loaded
	for _, i := range images {
		loaded = append(loaded, Loaded{i.names, i.id})
	}
	return loaded, nil
}

// giveUp clears away what nobody needs now.
func giveUp(ctx context.Context, s *store.Store, err error) error {
	if _, collectErr := s.Collect(context.WithoutCancel(ctx)); collectErr != nil {
		err = errors.Join(err, collectErr)
	}
	return advise(err)
}

// advise adds what a person can do about err.
func advise(err error) error {
	if errors.Is(err, linux.ENOSPC) || errors.Is(err, linux.EDQUOT) {
		return hint.Wrap(err, "free some space: minipod image prune removes images that nothing uses")
	}
	return err
}

type loader struct {
	ctx   context.Context
	store *store.Store
	files files
	o     LoadOptions
}

// images tells the formats apart. An archive of `docker save` since version 25 is both, and the layout says more.
func (l *loader) images(name string) ([]found, error) {
	switch {
	case exists(l.files, ocispec.ImageIndexFile) && exists(l.files, ocispec.ImageLayoutFile):
		return l.layout(name)
	case exists(l.files, "manifest.json"):
		return l.dockerArchive()
	case exists(l.files, "repositories"):
		return nil, errors.New("the archive is of Docker before 1.10, which is not supported")
	}
	return nil, hint.Wrap(
		errors.New("it is neither a docker-archive nor an OCI layout: it has no manifest.json and no index.json"),
		"make an image of a root file system with: minipod import FILE NAME")
}

func (l *loader) rename(images []found) error {
	if len(images) == 0 {
		return errors.New("the archive has no images")
	}
	if l.o.Name == (reference.Reference{}) {
		return nil
	}
	if len(images) > 1 {
		return fmt.Errorf("the archive has %d images, they can't all be %s", len(images), l.o.Name.Familiar())
	}
	images[0].names = []reference.Reference{l.o.Name}
	return nil
}

func (l *loader) tag(images []found) error {
	for _, i := range images {
		for _, name := range i.names {
			if err := l.store.Tag(l.ctx, name, i.manifest); err != nil {
				return err
			}
		}
		if len(i.names) == 0 {
			if err := l.store.Add(l.ctx, i.manifest); err != nil {
				return err
			}
		}
	}
	return nil
}

// put copies a file of the archive into the store, where its digest and size are checked.
func (l *loader) put(desc ocispec.Descriptor, name string) error {
	r, _, err := l.files.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the archive lacks %s", name)
	}
	if err != nil {
		return err
	}
	defer r.Close()
	in, err := l.store.Ingest(l.ctx, desc)
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	if err != nil {
		return err
	}
	// What is there is a broken pull's. The archive has it all, from the first byte.
	err = in.Reset()
	if err == nil {
		_, err = io.Copy(in, store.ContextReader(l.ctx, r))
	}
	if err == nil {
		err = in.Commit()
	}
	if err != nil {
		return errors.Join(err, in.Discard())
	}
	return nil
}

// unpack makes the tree of a layer whose blob is in the store.
func (l *loader) unpack(blob, diffID digest.Digest) error {
	return unpack(l.ctx, l.store, blob, diffID, l.o.Layer)
}

func unpack(ctx context.Context, s *store.Store, blob, diffID digest.Digest, o layer.Options) error {
	if s.HasLayer(diffID) {
		return nil
	}
	f, err := s.OpenBlob(blob)
	if err != nil {
		return err
	}
	defer f.Close()
	z, _, err := compress.NewReader(f)
	if err != nil {
		return fmt.Errorf("unpack layer %s: %w", blob, err)
	}
	defer z.Close()
	return s.UnpackLayer(ctx, diffID, store.ContextReader(ctx, z), o)
}

// nameFor makes a name of a bare tag: the folder or file that it was loaded from, with that tag.
func nameFor(archiveName, tag string) (reference.Reference, bool) {
	base := filepath.Base(archiveName)
	for _, suffix := range []string{".gz", ".zst", ".tgz", ".tar"} {
		base = strings.TrimSuffix(base, suffix)
	}
	ref, err := reference.Parse(strings.ToLower(base) + ":" + tag)
	return ref, archiveName != "" && err == nil
}

func addName(names []reference.Reference, name reference.Reference) []reference.Reference {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

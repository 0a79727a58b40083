package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"codeberg.org/minipod/minipod/image/compress"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Format is what Save writes.
type Format string

// The formats of Save.
const (
	DockerArchive Format = "docker-archive"
	OCIArchive    Format = "oci-archive"
	OCIDir        Format = "oci-dir"
)

// ParseFormat returns the format of that name; "" is DockerArchive.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "":
		return DockerArchive, nil
	case DockerArchive, OCIArchive, OCIDir:
		return f, nil
	}
	return "", hint.Wrap(fmt.Errorf("unknown archive format %q", s), "choose docker-archive, oci-archive or oci-dir")
}

// A chosen image and the names under which it is saved: those that were asked for, none for an ID.
type chosen struct {
	*store.Image
	names []reference.Reference
}

// SavePath saves images to a new file, or for OCIDir to a new or empty folder. It appears whole or not at all; an
// existing file is replaced.
func SavePath(ctx context.Context, s *store.Store, names []string, format Format, name string) error {
	if format == OCIDir {
		return saveDir(ctx, s, names, name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".minipod-")
	if err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	err = Save(ctx, s, names, format, f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Save writes the images of those names or IDs to w as DockerArchive or OCIArchive. Blobs are checked while they are
// copied; after an error, what w got is no archive.
func Save(ctx context.Context, s *store.Store, names []string, format Format, w io.Writer) error {
	if format == OCIDir {
		return hint.Wrap(errors.New("save images: a folder can't be written to a pipe"), "name a folder with -o")
	}
	return save(ctx, s, names, format, &tarWriter{tar.NewWriter(w), map[string]bool{}})
}

func saveDir(ctx context.Context, s *store.Store, names []string, name string) error {
	temp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(name)), "."+filepath.Base(name)+"-")
	if err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	err = os.Chmod(temp, 0o755)
	if err == nil {
		err = save(ctx, s, names, OCIDir, dirWriter(temp))
	}
	if err == nil {
		err = os.Rename(temp, name) // replaces an empty folder, and nothing else
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return nil
}

// output is where an archive's files go, one after the other.
type output interface {
	create(name string, size int64, r io.Reader) error
	close() error
}

func save(ctx context.Context, s *store.Store, names []string, format Format, out output) error {
	release, err := s.Hold(ctx) // blobs stay while they are copied
	if err != nil {
		return err
	}
	defer release()
	images, err := choose(s, names)
	if err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	v := saver{ctx, s, out, map[string]bool{}}
	if format == DockerArchive {
		err = v.dockerArchive(images)
	} else {
		err = v.layout(images)
	}
	if err == nil {
		err = out.close()
	}
	if err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	return nil
}

// choose resolves all names before the first byte is written.
func choose(s *store.Store, names []string) ([]chosen, error) {
	if len(names) == 0 {
		return nil, errors.New("none is named")
	}
	var images []chosen
	for _, name := range names {
		img, err := s.Resolve(name)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(images, func(c chosen) bool { return c.Manifest.Digest == img.Manifest.Digest })
		if i < 0 {
			images, i = append(images, chosen{Image: img}), len(images)
		}
		if ref, err := reference.Parse(name); err == nil && slices.Contains(img.Names, ref.String()) {
			images[i].names = addName(images[i].names, ref)
		}
	}
	return images, nil
}

type saver struct {
	ctx  context.Context
	s    *store.Store
	out  output
	done map[string]bool // files written: images share layers
}

// layout writes blobs, then the index that leads to them.
func (v *saver) layout(images []chosen) error {
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
	for _, img := range images {
		manifest := ocispec.Descriptor{MediaType: img.Manifest.MediaType, Digest: img.Manifest.Digest, Size: img.Manifest.Size}
		config, err := v.configOf(img.Image)
		if err != nil {
			return err
		}
		for _, d := range slices.Concat(img.LayerDescs, []ocispec.Descriptor{config, manifest}) {
			if err := v.blob(blobName(d.Digest), d); err != nil {
				return err
			}
		}
		manifest.Platform = &img.Config.Platform
		if len(img.names) == 0 {
			index.Manifests = append(index.Manifests, manifest)
		}
		for _, name := range img.names {
			manifest.Annotations = map[string]string{ocispec.AnnotationRefName: name.String(), annotationName: name.String()}
			index.Manifests = append(index.Manifests, manifest)
		}
	}
	if err := v.json(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}); err != nil {
		return err
	}
	return v.json(ocispec.ImageIndexFile, index)
}

func (v *saver) configOf(img *store.Image) (ocispec.Descriptor, error) {
	data, err := v.s.ReadBlob(img.Manifest.Digest, maxDocument)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	manifest, err := store.ParseManifest(data)
	return manifest.Config, err
}

// dockerArchive writes layers as they are, plain or gzip: every docker and podman reads both. Only zstd, which older
// ones don't know, is undone.
func (v *saver) dockerArchive(images []chosen) error {
	var entries []dockerImage
	for _, img := range images {
		config, err := v.configOf(img.Image)
		if err != nil {
			return err
		}
		entry := dockerImage{Config: img.ID.Encoded() + ".json", Layers: []string{}}
		for i, desc := range img.LayerDescs {
			name, err := v.dockerLayer(desc, img.Layers[i])
			if err != nil {
				return err
			}
			entry.Layers = append(entry.Layers, name)
		}
		if err := v.blob(entry.Config, config); err != nil {
			return err
		}
		for _, name := range img.names {
			if name.Tag != "" { // docker load takes no digests for names, and podman load short ones for localhost's
				name.Digest = ""
				entry.RepoTags = append(entry.RepoTags, name.String())
			}
		}
		entries = append(entries, entry)
	}
	return v.json("manifest.json", entries)
}

func (v *saver) dockerLayer(desc ocispec.Descriptor, diffID digest.Digest) (string, error) {
	f, err := v.s.OpenBlob(desc.Digest)
	if err != nil {
		return "", err
	}
	defer f.Close()
	kind, _, err := compress.Detect(f)
	if err != nil {
		return "", err
	}
	switch kind {
	case compress.Gzip:
		name := desc.Digest.Encoded() + ".tar.gz"
		return name, v.blob(name, desc)
	case compress.None:
		name := desc.Digest.Encoded() + ".tar"
		return name, v.blob(name, desc)
	}
	name := diffID.Encoded() + ".tar"
	return name, v.inflated(name, f)
}

// inflated writes a layer decompressed. A tar wants to know sizes in advance, so it is inflated twice, which is
// cheaper than a temporary file.
func (v *saver) inflated(name string, f io.ReadSeeker) error {
	if v.done[name] {
		return nil
	}
	v.done[name] = true
	var size int64
	for pass := range 2 {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		z, _, err := compress.NewReader(store.ContextReader(v.ctx, f))
		if err != nil {
			return err
		}
		if pass == 0 {
			size, err = io.Copy(io.Discard, z)
		} else {
			err = v.out.create(name, size, z)
		}
		if err = errors.Join(err, z.Close()); err != nil {
			return err
		}
	}
	return nil
}

// blob copies a blob into a file of the archive, once, and checks it.
func (v *saver) blob(name string, desc ocispec.Descriptor) error {
	if v.done[name] {
		return nil
	}
	v.done[name] = true
	f, err := v.s.OpenBlob(desc.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	digester := desc.Digest.Algorithm().Digester()
	if err := v.out.create(name, info.Size(), io.TeeReader(store.ContextReader(v.ctx, f), digester.Hash())); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if got := digester.Digest(); got != desc.Digest {
		return fmt.Errorf("blob %s: %w: its content is %s", desc.Digest, store.ErrDigest, got)
	}
	return nil
}

func (v *saver) json(name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return v.out.create(name, int64(len(data)), bytes.NewReader(data))
}

// A tarWriter writes the files of a tar with nothing in it that depends on when or by whom it is written. Folders have
// their entries: for those that are only implied, skopeo asks for chown to root, which an ordinary user may not.
type tarWriter struct {
	w       *tar.Writer
	folders map[string]bool
}

func (t *tarWriter) create(name string, size int64, r io.Reader) error {
	if err := t.folder(path.Dir(name)); err != nil {
		return err
	}
	if err := t.w.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	_, err := io.Copy(t.w, r)
	return err
}

func (t *tarWriter) folder(name string) error {
	if name == "." || t.folders[name] {
		return nil
	}
	t.folders[name] = true
	if err := t.folder(path.Dir(name)); err != nil {
		return err
	}
	return t.w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
}

func (t *tarWriter) close() error { return t.w.Close() }

// A dirWriter writes below a folder, under names of our own making only.
type dirWriter string

func (d dirWriter) create(name string, _ int64, r io.Reader) error {
	name = filepath.Join(string(d), name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

func (d dirWriter) close() error { return nil }

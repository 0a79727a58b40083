package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"codeberg.org/minipod/minipod/image/compress"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A dockerImage is an entry of a docker-archive's manifest.json. Config and Layers are names of files in the archive.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string // the bottom layer first
}

func (l *loader) dockerArchive() ([]found, error) {
	data, err := readAll(l.files, "manifest.json")
	if err != nil {
		return nil, err
	}
	var entries []dockerImage
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("decode manifest.json: %w", err)
	}
	var images []found
	for _, entry := range entries {
		image, err := l.dockerImage(entry)
		if err != nil {
			return nil, fmt.Errorf("image %.100q: %w", append(entry.RepoTags, entry.Config)[0], err)
		}
		images = append(images, image)
	}
	return images, nil
}

// dockerImage writes the manifest that a docker-archive lacks. The image's ID is the config's digest, and so is the
// same as where it was saved.
func (l *loader) dockerImage(entry dockerImage) (found, error) {
	configData, err := readAll(l.files, entry.Config)
	if err != nil {
		return found{}, fmt.Errorf("config: %w", err)
	}
	config, err := store.ParseConfig(configData, len(entry.Layers))
	if err != nil {
		return found{}, err
	}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Layers:    []ocispec.Descriptor{},
	}
	for i, name := range entry.Layers {
		desc, err := l.dockerLayer(name, config.RootFS.DiffIDs[i])
		if err != nil {
			return found{}, fmt.Errorf("layer %d: %w", i+1, err)
		}
		manifest.Layers = append(manifest.Layers, desc)
	}
	if manifest.Config, err = l.store.PutBlob(l.ctx, ocispec.MediaTypeImageConfig, configData); err != nil {
		return found{}, err
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		return found{}, fmt.Errorf("encode manifest: %w", err)
	}
	image := found{id: manifest.Config.Digest}
	if image.manifest, err = l.store.PutBlob(l.ctx, ocispec.MediaTypeImageManifest, data); err != nil {
		return found{}, err
	}
	for _, tag := range entry.RepoTags {
		name, err := reference.Parse(tag)
		if err != nil {
			return found{}, err
		}
		image.names = addName(image.names, name)
	}
	return image, nil
}

// dockerLayer brings a layer in and unpacks it. Layers are plain in docker's own archives, and their digest known;
// other tools compress them.
func (l *loader) dockerLayer(name string, diffID digest.Digest) (ocispec.Descriptor, error) {
	r, size, err := l.files.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return ocispec.Descriptor{}, fmt.Errorf("the archive lacks %s", name)
	}
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer r.Close()
	kind, whole, err := compress.Detect(r)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: layerMediaType(kind), Digest: diffID, Size: size}
	if kind == compress.None {
		err = l.put(desc, name)
	} else {
		desc, err = l.store.PutStream(l.ctx, desc.MediaType, whole)
	}
	if err != nil {
		return desc, err
	}
	return desc, l.unpack(desc.Digest, diffID)
}

func layerMediaType(kind compress.Kind) string {
	switch kind {
	case compress.Gzip:
		return ocispec.MediaTypeImageLayerGzip
	case compress.Zstd:
		return ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.MediaTypeImageLayer
}

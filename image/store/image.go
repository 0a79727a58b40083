package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/image/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Docker's media types, which registries and archives use beside those of the OCI.
const (
	MediaTypeDockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// maxNesting is how many indexes may lead to one another before a manifest.
const maxNesting = 4

// An Image is a snapshot of what the store knows about one image. Changing it changes nothing in the store.
type Image struct {
	ID         digest.Digest        // of the config, as in Docker
	Manifest   ocispec.Descriptor   // annotations are those of its index.json entry, without ref.name and AnnotationSource
	Names      []string             // whole names, sorted; none for a dangling image
	Digests    []string             // NAME@DIGEST of each repository it was pulled from, sorted
	Created    time.Time            // zero where the config does not say
	Size       int64                // bytes of its blobs, as a registry sends them; see Unpacked
	Config     ocispec.Image        // platform, command, environment …
	Layers     []digest.Digest      // DiffIDs, the bottom layer first
	LayerDescs []ocispec.Descriptor // the compressed layers, in the same order
}

// Dangling reports whether the image has lost its last name.
func (img *Image) Dangling() bool { return len(img.Names) == 0 }

// ParseManifest decodes an image manifest from a stranger and checks what we rely on: that it is no index, and that
// each digest is one.
func ParseManifest(data []byte) (ocispec.Manifest, error) {
	// An index that poses as a manifest, or both in one, is how two tools are made to see two images in one digest
	// (CVE-2021-41190).
	var m struct {
		ocispec.Manifest
		Manifests json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return ocispec.Manifest{}, fmt.Errorf("decode manifest: %w", err)
	}
	if m.Manifests != nil {
		return ocispec.Manifest{}, errors.New("decode manifest: it is an index")
	}
	if m.MediaType != "" && m.MediaType != ocispec.MediaTypeImageManifest && m.MediaType != MediaTypeDockerManifest {
		return ocispec.Manifest{}, fmt.Errorf("decode manifest: media type %q is none", m.MediaType)
	}
	for i, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		err := CheckDigest(d.Digest)
		if err == nil && d.Size < 0 {
			err = fmt.Errorf("%w: %d bytes", ErrSize, d.Size)
		}
		if err != nil && i == 0 {
			return ocispec.Manifest{}, fmt.Errorf("decode manifest: config: %w", err)
		} else if err != nil {
			return ocispec.Manifest{}, fmt.Errorf("decode manifest: layer %d: %w", i, err)
		}
	}
	return m.Manifest, nil
}

// ParseConfig decodes the config of a manifest with that many layers, and checks that it names a DiffID for each.
func ParseConfig(data []byte, layers int) (ocispec.Image, error) {
	var config ocispec.Image
	if err := json.Unmarshal(data, &config); err != nil {
		return config, fmt.Errorf("decode image config: %w", err)
	}
	if n := len(config.RootFS.DiffIDs); n != layers {
		return config, fmt.Errorf("decode image config: it has %d layers, its manifest %d", n, layers)
	}
	for i, d := range config.RootFS.DiffIDs {
		if err := CheckDigest(d); err != nil {
			return config, fmt.Errorf("decode image config: layer %d: %w", i+1, err)
		}
	}
	return config, nil
}

// IsIndex reports whether a document of that media type lists manifests rather than being one.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == MediaTypeDockerManifestList
}

// image loads what an entry of index.json leads to. Its errors are ErrBroken.
func (s *Store) image(entry ocispec.Descriptor) (*Image, error) {
	img, err := s.loadImage(entry)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrBroken, entry.Digest, err)
	}
	return img, nil
}

func (s *Store) loadImage(entry ocispec.Descriptor) (*Image, error) {
	desc, err := s.manifestOf(entry, 0)
	if err != nil {
		return nil, err
	}
	data, err := s.ReadBlob(desc.Digest, maxManifest)
	if err != nil {
		return nil, err
	}
	manifest, err := ParseManifest(data)
	if err != nil {
		return nil, err
	}
	if data, err = s.ReadBlob(manifest.Config.Digest, maxConfig); err != nil {
		return nil, err
	}
	config, err := ParseConfig(data, len(manifest.Layers))
	if err != nil {
		return nil, err
	}
	desc.Annotations = withName(entry, "").Annotations
	delete(desc.Annotations, AnnotationSource) // it goes with one name, not with the others that the manifest may get
	img := &Image{
		ID:         manifest.Config.Digest,
		Manifest:   desc,
		Size:       desc.Size + manifest.Config.Size,
		Config:     config,
		Layers:     config.RootFS.DiffIDs,
		LayerDescs: manifest.Layers,
	}
	if config.Created != nil {
		img.Created = *config.Created
	}
	for _, d := range manifest.Layers {
		img.Size += d.Size
	}
	return img, nil
}

// manifestOf follows an index to the manifest for this machine. We never write entries that are indexes, but `skopeo
// copy --all` into our layout does.
func (s *Store) manifestOf(entry ocispec.Descriptor, depth int) (ocispec.Descriptor, error) {
	if !IsIndex(entry.MediaType) {
		return entry, nil
	}
	if depth == maxNesting {
		return entry, errors.New("its indexes are nested too deeply")
	}
	data, err := s.ReadBlob(entry.Digest, maxManifest)
	if err != nil {
		return entry, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return entry, fmt.Errorf("decode index: %w", err)
	}
	for _, d := range index.Manifests {
		if p := d.Platform; p != nil && (p.OS != "linux" || p.Architecture != runtime.GOARCH) {
			continue
		}
		if !s.HasBlob(d.Digest) { // of another platform that was not copied
			continue
		}
		return s.manifestOf(d, depth+1)
	}
	return entry, fmt.Errorf("its index has no image for linux/%s", runtime.GOARCH)
}

// describe fills in what the index knows about img.
func (img *Image) describe(index *ocispec.Index, entry digest.Digest) {
	for _, d := range index.Manifests {
		name := nameOf(d)
		if d.Digest != entry || name == "" {
			continue
		}
		img.Names = append(img.Names, name)
		if r, err := reference.Parse(name); err == nil && d.Annotations[AnnotationSource] != "" {
			img.Digests = append(img.Digests, r.Name()+"@"+string(sourceOf(d)))
		}
	}
	slices.Sort(img.Names)
	slices.Sort(img.Digests)
	img.Names, img.Digests = slices.Compact(img.Names), slices.Compact(img.Digests)
}

// sourceOf returns the digest under which the registry knows an entry.
func sourceOf(d ocispec.Descriptor) digest.Digest {
	if source := digest.Digest(d.Annotations[AnnotationSource]); CheckDigest(source) == nil {
		return source
	}
	return d.Digest
}

// isTransient tells a disk that can't be read now from a document that isn't there or isn't what it should be.
func isTransient(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && !errors.Is(err, fs.ErrNotExist)
}

// transient returns err if it is transient, else nil.
func transient(err error) error {
	if isTransient(err) {
		return err
	}
	return nil
}

func short(d digest.Digest) string { return strings.TrimPrefix(string(d), "sha256:")[:12] }

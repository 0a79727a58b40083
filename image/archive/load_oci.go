package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// annotationName is what containerd and docker write beside (or instead of) the OCI's ref.name.
	annotationName = "io.containerd.image.name"
	// annotationAttestation marks buildx's provenance, which sits among the platforms and is no image.
	annotationAttestation = "vnd.docker.reference.type"

	maxNesting = 4
)

// layout loads all images of an OCI layout.
func (l *loader) layout(archiveName string) ([]found, error) {
	data, err := readAll(l.files, ocispec.ImageIndexFile)
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("decode index.json: %w", err)
	}
	var images []found
	for _, entry := range index.Manifests {
		if entry.Annotations[annotationAttestation] != "" {
			continue
		}
		name, err := layoutName(entry, archiveName)
		if err != nil {
			return nil, err
		}
		desc, err := l.choose(entry, 0)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", describe(entry), err)
		}
		// One image under several names has as many entries.
		i := slices.IndexFunc(images, func(f found) bool { return f.manifest.Digest == desc.Digest })
		if i < 0 {
			image, err := l.manifest(desc)
			if err != nil {
				return nil, fmt.Errorf("image %s: %w", describe(entry), err)
			}
			images, i = append(images, image), len(images)
		}
		if name != (reference.Reference{}) {
			images[i].names = addName(images[i].names, name)
		}
	}
	return images, nil
}

// layoutName returns the name of an entry, or none.
func layoutName(entry ocispec.Descriptor, archiveName string) (reference.Reference, error) {
	if name := entry.Annotations[annotationName]; name != "" {
		return reference.Parse(name)
	}
	name := entry.Annotations[ocispec.AnnotationRefName]
	if name == "" {
		return reference.Reference{}, nil
	}
	if strings.ContainsAny(name, "/:") {
		return reference.Parse(name)
	}
	ref, _ := nameFor(archiveName, name)
	return ref, nil
}

func describe(entry ocispec.Descriptor) string {
	if name := entry.Annotations[ocispec.AnnotationRefName]; name != "" {
		return fmt.Sprintf("%.100q", name)
	}
	return fmt.Sprintf("%.80q", entry.Digest.String())
}

// choose follows indexes to the manifest of the platform. A manifest that stands alone is taken whatever its
// platform.
func (l *loader) choose(desc ocispec.Descriptor, depth int) (ocispec.Descriptor, error) {
	if !store.IsIndex(desc.MediaType) {
		return desc, nil
	}
	if depth == maxNesting {
		return desc, errors.New("its indexes are nested too deeply")
	}
	data, err := l.document(desc)
	if err != nil {
		return desc, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return desc, fmt.Errorf("decode index: %w", err)
	}
	var have []string
	for _, d := range index.Manifests {
		if d.Annotations[annotationAttestation] != "" {
			continue
		}
		if l.matches(d.Platform) {
			return l.choose(d, depth+1)
		}
		have = append(have, platformName(*d.Platform))
	}
	return desc, fmt.Errorf("no image for %s; there are: %s", platformName(l.platform()), strings.Join(have, ", "))
}

func (l *loader) platform() ocispec.Platform {
	p := l.o.Platform
	if p.OS == "" {
		p.OS = "linux"
	}
	if p.Architecture == "" {
		p.Architecture = runtime.GOARCH
	}
	return p
}

func (l *loader) matches(p *ocispec.Platform) bool {
	want := l.platform()
	return p == nil || p.OS == want.OS && p.Architecture == want.Architecture &&
		(want.Variant == "" || p.Variant == want.Variant)
}

func platformName(p ocispec.Platform) string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// document returns a manifest, an index or a config after checking it against its descriptor.
func (l *loader) document(desc ocispec.Descriptor) ([]byte, error) {
	if err := store.CheckDigest(desc.Digest); err != nil {
		return nil, err
	}
	data, err := readAll(l.files, blobName(desc.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the archive lacks blob %s", desc.Digest)
	}
	if err != nil {
		return nil, err
	}
	if got := desc.Digest.Algorithm().FromBytes(data); got != desc.Digest {
		return nil, fmt.Errorf("blob %s: %w: its content is %s", desc.Digest, store.ErrDigest, got)
	}
	return data, nil
}

func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// manifest brings one image's layers, config and manifest into the store, in this order, unpacked.
func (l *loader) manifest(desc ocispec.Descriptor) (found, error) {
	data, err := l.document(desc)
	if err != nil {
		return found{}, err
	}
	manifest, err := store.ParseManifest(data)
	if err != nil {
		return found{}, err
	}
	configData, err := l.document(manifest.Config)
	if err != nil {
		return found{}, fmt.Errorf("config: %w", err)
	}
	config, err := store.ParseConfig(configData, len(manifest.Layers))
	if err != nil {
		return found{}, err
	}
	for i, d := range manifest.Layers {
		if err := l.put(d, blobName(d.Digest)); err != nil {
			return found{}, fmt.Errorf("layer %d: %w", i+1, err)
		}
		if err := l.unpack(d.Digest, config.RootFS.DiffIDs[i]); err != nil {
			return found{}, err
		}
	}
	for _, d := range []ocispec.Descriptor{manifest.Config, desc} {
		if err := l.put(d, blobName(d.Digest)); err != nil {
			return found{}, err
		}
	}
	// What the archive says about the entry is not for our index.
	desc.Annotations, desc.Data, desc.URLs = nil, nil, nil
	return found{manifest: desc, id: manifest.Config.Digest}, nil
}

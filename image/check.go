package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"codeberg.org/minipod/minipod/image/registry"
	"codeberg.org/minipod/minipod/internal/hint"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxLayers is far above any builder's limit (docker: 125) and keeps a hostile manifest from costing a lock file and
// a goroutine per line.
const maxLayers = 512

// maxConfig bounds an image configuration; the store reads no longer ones.
const maxConfig = 8 << 20

// checkManifest decodes m and refuses what isn't an image that we can unpack. maxLayer bounds one compressed layer.
func checkManifest(m *registry.Manifest, maxLayer int64) (*ocispec.Manifest, error) {
	if types.MediaType(m.Desc.MediaType).IsSchema1() {
		return nil, hint.Wrap(errors.New("the image has the format of 2014 (manifest schema 1), which no current program accepts"), "push the image again with a current docker, podman or skopeo")
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(m.Body, &manifest); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", registry.ErrInvalid, err)
	}
	if !types.MediaType(manifest.Config.MediaType).IsConfig() || manifest.ArtifactType != "" {
		what := manifest.ArtifactType
		if what == "" {
			what = manifest.Config.MediaType
		}
		return nil, hint.Wrap(fmt.Errorf("%w: it is an artifact of type %q, not a container image", registry.ErrInvalid, what),
			"fetch artifacts with the tool that made them (helm, oras, cosign, …)")
	}
	if err := checkDescriptor(manifest.Config, maxConfig); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if len(manifest.Layers) > maxLayers {
		return nil, fmt.Errorf("%w: %d layers; at most %d are accepted", registry.ErrInvalid, len(manifest.Layers), maxLayers)
	}
	for i, l := range manifest.Layers {
		if err := checkLayer(l, maxLayer); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return &manifest, nil
}

func checkLayer(l ocispec.Descriptor, maxLayer int64) error {
	if err := checkDescriptor(l, maxLayer); err != nil {
		return err
	}
	switch {
	case len(l.URLs) > 0, strings.Contains(l.MediaType, ".foreign."), strings.Contains(l.MediaType, ".nondistributable."):
		// Such layers are fetched from any URL the image names: Windows' base layers, and a way to make us send
		// requests (and, in old docker, credentials: CVE-2020-15157) wherever the image's author wants.
		return fmt.Errorf("%w: %s is kept outside the registry (a foreign layer), which minipod does not follow", registry.ErrInvalid, l.Digest)
	case strings.HasSuffix(l.MediaType, "+encrypted"):
		return fmt.Errorf("%w: %s is encrypted", registry.ErrInvalid, l.Digest)
	case !strings.Contains(l.MediaType, ".tar"):
		return fmt.Errorf("%w: %s is no file system layer but %q", registry.ErrInvalid, l.Digest, l.MediaType)
	}
	return nil
}

// checkConfig decodes the image's configuration and pairs its DiffIDs with the manifest's layers.
func checkConfig(data []byte, layers int) (*ocispec.Image, error) {
	var config ocispec.Image
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, fmt.Errorf("%w: config: %w", registry.ErrInvalid, err)
	}
	if n := len(config.RootFS.DiffIDs); n != layers {
		return nil, fmt.Errorf("%w: the configuration lists %d layers, the manifest %d", registry.ErrInvalid, n, layers)
	}
	for _, id := range config.RootFS.DiffIDs {
		if err := id.Validate(); err != nil || id.Algorithm() != digest.SHA256 {
			return nil, fmt.Errorf("%w: DiffID %q is not a sha256", registry.ErrInvalid, id)
		}
	}
	return &config, nil
}

// checkDescriptor refuses what we could not verify.
func checkDescriptor(d ocispec.Descriptor, most int64) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("%w: digest %q: %w", registry.ErrInvalid, d.Digest, err)
	}
	if d.Digest.Algorithm() != digest.SHA256 {
		return fmt.Errorf("%w: digest %s is not a sha256", registry.ErrInvalid, d.Digest)
	}
	if d.Size < 0 || d.Size > most {
		return fmt.Errorf("%w: %s claims %d bytes; at most %d are accepted", registry.ErrInvalid, d.Digest, d.Size, most)
	}
	return nil
}

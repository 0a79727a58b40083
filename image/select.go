package image

import (
	"context"
	"encoding/json"
	"fmt"

	"codeberg.org/minipod/minipod/image/registry"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxNesting bounds indexes within indexes; real ones have one level, sometimes two.
const maxNesting = 4

// A source gives manifests; a *registry.Repository is one.
type source interface {
	Manifest(ctx context.Context, tagOrDigest string) (*registry.Manifest, error)
}

// selected is the end of the walk from a name to one image.
type selected struct {
	top      *registry.Manifest // what the name means: an index or the manifest itself
	manifest *registry.Manifest
	platform *ocispec.Platform // as the index has it; nil where there is none
}

// walk follows tagOrDigest through indexes to the manifest for want.
func walk(ctx context.Context, src source, tagOrDigest string, want ocispec.Platform) (*selected, error) {
	top, err := src.Manifest(ctx, tagOrDigest)
	if err != nil {
		return nil, err
	}
	m, p, others, err := descend(ctx, src, top, want, 0)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, noPlatform(want, others)
	}
	return &selected{top: top, manifest: m, platform: p}, nil
}

// descend answers a nil manifest and the platforms that it saw where m is an index without a fit.
func descend(ctx context.Context, src source, m *registry.Manifest, want ocispec.Platform, depth int) (
	found *registry.Manifest, platform *ocispec.Platform, others []string, err error,
) {
	if !isIndex(m.Desc.MediaType) {
		return m, nil, nil, nil
	}
	if depth == maxNesting {
		return nil, nil, nil, fmt.Errorf("%w: indexes nested more than %d deep", registry.ErrInvalid, maxNesting)
	}
	var index ocispec.Index
	if err := json.Unmarshal(m.Body, &index); err != nil {
		return nil, nil, nil, fmt.Errorf("%w: index: %w", registry.ErrInvalid, err)
	}
	fit, perhaps, others := choose(index.Manifests, want)
	for _, d := range append(fit, perhaps...) {
		if err := checkDescriptor(d, registry.MaxManifest); err != nil {
			return nil, nil, nil, fmt.Errorf("index: %w", err)
		}
		child, err := src.Manifest(ctx, d.Digest.String())
		if err != nil {
			return nil, nil, nil, err
		}
		if child.Desc.Size != d.Size {
			return nil, nil, nil, fmt.Errorf("%w: manifest %s has %d bytes, not the %d of the index", registry.ErrInvalid, d.Digest, child.Desc.Size, d.Size)
		}
		found, platform, below, err := descend(ctx, src, child, want, depth+1)
		if err != nil {
			return nil, nil, nil, err
		}
		if found != nil && platform == nil {
			platform = d.Platform
		}
		if found != nil {
			return found, platform, nil, nil
		}
		others = append(others, below...)
	}
	return nil, nil, others, nil
}

func isIndex(mediaType string) bool { return types.MediaType(mediaType).IsIndex() }

package archive

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"codeberg.org/minipod/minipod/image/compress"
	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ImportOptions are the settings of Import; the zero value is good.
type ImportOptions struct {
	Name     reference.Reference // none leaves the image without a name
	Changes  []string            // Dockerfile instructions, see ApplyChange
	Message  string              // the comment in the image's history
	Platform ocispec.Platform    // what the file system is for; this machine where empty
	Created  time.Time           // now, if zero
	Layer    layer.Options
}

// defaultPath is the PATH of an image that sets none, as docker run gives it.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Import makes an image of one layer from a root file system: a tar, plain or compressed with gzip or zstd. If it
// fails, or ctx ends, the store is as it was.
func Import(ctx context.Context, s *store.Store, r io.Reader, o ImportOptions) (Loaded, error) {
	config, err := importConfig(o)
	if err != nil {
		return Loaded{}, fmt.Errorf("import: %w", err)
	}
	release, err := s.Hold(ctx)
	if err != nil {
		return Loaded{}, err
	}
	defer release()
	loaded, err := importImage(ctx, s, r, config, o)
	if err != nil {
		release()
		return Loaded{}, fmt.Errorf("import: %w", giveUp(ctx, s, err))
	}
	return loaded, nil
}

// importConfig is the image's config but for the layer.
func importConfig(o ImportOptions) (ocispec.Image, error) {
	if o.Created.IsZero() {
		o.Created = time.Now().UTC()
	}
	if o.Platform.OS == "" {
		o.Platform.OS = "linux"
	}
	if o.Platform.Architecture == "" {
		o.Platform.Architecture = runtime.GOARCH
	}
	config := ocispec.Image{
		Created:  &o.Created,
		Platform: o.Platform,
		Config:   ocispec.ImageConfig{Env: []string{defaultPath}},
		History:  []ocispec.History{{Created: &o.Created, CreatedBy: "minipod import", Comment: o.Message}},
	}
	for _, change := range o.Changes {
		if err := ApplyChange(&config.Config, change); err != nil {
			return config, err
		}
	}
	return config, nil
}

func importImage(ctx context.Context, s *store.Store, r io.Reader, config ocispec.Image, o ImportOptions) (Loaded, error) {
	kind, whole, err := compress.Detect(r)
	if err != nil {
		return Loaded{}, err
	}
	blob, err := s.PutStream(ctx, layerMediaType(kind), whole)
	if err != nil {
		return Loaded{}, err
	}
	diffID, err := diffIDOf(ctx, s, blob.Digest)
	if err != nil {
		return Loaded{}, err
	}
	if err := unpack(ctx, s, blob.Digest, diffID, o.Layer); err != nil {
		return Loaded{}, err
	}
	if record, err := s.LayerRecord(diffID); err != nil {
		return Loaded{}, err
	} else if record.Summary.Entries == 0 {
		return Loaded{}, hint.Wrap(errors.New("the archive is empty"), "give it a tar of a root file system")
	}
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Layers:    []ocispec.Descriptor{blob},
	}
	if manifest.Config, err = putJSON(ctx, s, ocispec.MediaTypeImageConfig, config); err != nil {
		return Loaded{}, err
	}
	desc, err := putJSON(ctx, s, ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return Loaded{}, err
	}
	loaded := Loaded{ID: manifest.Config.Digest}
	if o.Name == (reference.Reference{}) {
		return loaded, s.Add(ctx, desc)
	}
	loaded.Names = []reference.Reference{o.Name}
	return loaded, s.Tag(ctx, o.Name, desc)
}

func putJSON(ctx context.Context, s *store.Store, mediaType string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encode %s: %w", mediaType, err)
	}
	return s.PutBlob(ctx, mediaType, data)
}

// diffIDOf returns the digest of a blob's decompressed content.
func diffIDOf(ctx context.Context, s *store.Store, blob digest.Digest) (digest.Digest, error) {
	f, err := s.OpenBlob(blob)
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, kind, err := compress.NewReader(store.ContextReader(ctx, f))
	if err != nil {
		return "", err
	}
	defer z.Close()
	if kind == compress.None {
		return blob, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, z); err != nil {
		return "", err
	}
	return digest.NewDigest(digest.SHA256, h), nil
}

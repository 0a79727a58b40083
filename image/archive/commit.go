package archive

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/image/compress"
	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// CommitOptions are what a container adds to its image.
type CommitOptions struct {
	Name    reference.Reference   // none leaves the image without a name
	Layer   func(io.Writer) error // writes what the container changed as a layer's tar; nil where it changed nothing
	Command []string              // becomes the image's command, where the container had one of its own
	Labels  map[string]string     // are added
	Changes []string              // Dockerfile instructions, see ApplyChange
	Author  string
	Message string
	Created time.Time // now, if zero
	Unpack  layer.Options
}

// Commit makes an image of base and one more layer. If it fails, or ctx ends, the store is as it was. The caller is root of
// the user's id range, and sees to it that base stays: it is the image of a container.
func Commit(ctx context.Context, s *store.Store, base *store.Image, o CommitOptions) (Loaded, error) {
	if o.Created.IsZero() {
		o.Created = time.Now().UTC()
	}
	release, err := s.Hold(ctx)
	if err != nil {
		return Loaded{}, err
	}
	defer release()
	loaded, err := commit(ctx, s, base, o)
	if err != nil {
		release()
		return Loaded{}, fmt.Errorf("commit: %w", giveUp(ctx, s, err))
	}
	return loaded, nil
}

func commit(ctx context.Context, s *store.Store, base *store.Image, o CommitOptions) (Loaded, error) {
	config := base.Config
	config.Created, config.Author = &o.Created, o.Author
	if err := commitConfig(&config.Config, o); err != nil {
		return Loaded{}, err
	}
	layers := make([]ocispec.Descriptor, 0, len(base.LayerDescs)+1)
	for _, desc := range base.LayerDescs {
		desc.MediaType = ociLayerType(desc.MediaType)
		layers = append(layers, desc)
	}
	config.RootFS.DiffIDs = append([]digest.Digest{}, base.Layers...)
	if o.Layer != nil {
		blob, diffID, err := putLayer(ctx, s, o.Layer)
		if err != nil {
			return Loaded{}, err
		}
		if err := unpack(ctx, s, blob.Digest, diffID, o.Unpack); err != nil {
			return Loaded{}, err
		}
		layers, config.RootFS.DiffIDs = append(layers, blob), append(config.RootFS.DiffIDs, diffID)
	}
	config.History = append(append([]ocispec.History{}, base.Config.History...), ocispec.History{
		Created: &o.Created, CreatedBy: strings.Join(o.Command, " "), Author: o.Author, Comment: o.Message, EmptyLayer: o.Layer == nil,
	})
	merged, err := mergeConfig(s, base, config)
	if err != nil {
		return Loaded{}, err
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: layers}
	if manifest.Config, err = putJSON(ctx, s, ocispec.MediaTypeImageConfig, merged); err != nil {
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

// commitConfig gives the image what the container had of its own, and what was asked for.
func commitConfig(config *ocispec.ImageConfig, o CommitOptions) error {
	if len(o.Command) > 0 {
		config.Cmd = o.Command
	}
	// The maps and lists are still the base's, which is not ours to change.
	config.Env = append([]string{}, config.Env...)
	config.Labels = maps.Clone(config.Labels)
	config.ExposedPorts, config.Volumes = maps.Clone(config.ExposedPorts), maps.Clone(config.Volumes)
	if config.Labels == nil && len(o.Labels) > 0 {
		config.Labels = map[string]string{}
	}
	maps.Copy(config.Labels, o.Labels)
	commandSet := false
	for _, change := range o.Changes {
		verb, _, _ := strings.Cut(strings.TrimSpace(change), " ")
		commandSet = commandSet || strings.EqualFold(verb, "CMD")
		if strings.EqualFold(verb, "ENTRYPOINT") && !commandSet { // which does not get the old one's arguments, as in a Dockerfile
			config.Cmd = nil
		}
		if err := ApplyChange(config, change); err != nil {
			return err
		}
	}
	return nil
}

// putLayer stores what write writes as a blob, compressed, and answers its DiffID, too.
func putLayer(ctx context.Context, s *store.Store, write func(io.Writer) error) (blob ocispec.Descriptor, diffID digest.Digest, err error) {
	r, w := io.Pipe()
	h := sha256.New()
	written := make(chan error, 1)
	go func() {
		z := gzip.NewWriter(w)
		err := write(io.MultiWriter(h, z))
		if err == nil {
			err = z.Close()
		}
		w.CloseWithError(err) // nil: the end
		written <- err
	}()
	blob, err = s.PutStream(ctx, layerMediaType(compress.Gzip), r)
	r.CloseWithError(context.Canceled)
	if e := <-written; err == nil {
		err = e
	}
	return blob, digest.NewDigest(digest.SHA256, h), err
}

// ociLayerType is the OCI's name for what docker calls otherwise: a manifest of the OCI has layers of the OCI.
func ociLayerType(mediaType string) string {
	switch mediaType {
	case "application/vnd.docker.image.rootfs.diff.tar.gzip":
		return ocispec.MediaTypeImageLayerGzip
	case "application/vnd.docker.image.rootfs.diff.tar":
		return ocispec.MediaTypeImageLayer
	}
	return mediaType
}

// mergeConfig puts what we know into the base's own document, so that what only others know (HEALTHCHECK, ONBUILD, SHELL)
// outlives the commit.
func mergeConfig(s *store.Store, base *store.Image, config ocispec.Image) (map[string]json.RawMessage, error) {
	data, err := s.ReadBlob(base.ID, maxDocument)
	if err != nil {
		return nil, err
	}
	var whole, inner map[string]json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, fmt.Errorf("decode image config: %w", err)
	}
	if raw, ok := whole["config"]; ok {
		if err := json.Unmarshal(raw, &inner); err != nil {
			return nil, fmt.Errorf("decode image config: %w", err)
		}
	}
	if inner, err = merge(inner, config.Config, "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"); err != nil {
		return nil, err
	}
	// docker's records of the container that once made the base
	if whole, err = merge(whole, config, "created", "author", "rootfs", "history", "config", "container", "container_config"); err != nil {
		return nil, err
	}
	whole["config"], err = json.Marshal(inner)
	return whole, err
}

// merge replaces keys of document by what v says, or does not say.
func merge(document map[string]json.RawMessage, v any, keys ...string) (map[string]json.RawMessage, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var said map[string]json.RawMessage
	if err := json.Unmarshal(data, &said); err != nil {
		return nil, err
	}
	if document == nil {
		document = map[string]json.RawMessage{}
	}
	for _, key := range keys {
		delete(document, key)
		if value, ok := said[key]; ok {
			document[key] = value
		}
	}
	return document, nil
}

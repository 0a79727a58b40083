package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/registry"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PullOptions are what a pull may be told; the zero value pulls for the host with the defaults.
type PullOptions struct {
	Platform string         // "linux/arm64", "arm/v7"; "" is the host's
	Config   *config.Config // mirrors, insecure registries, concurrency; nil is config.Default()
	Layer    layer.Options  // bounds; a zero MaxBytes is the configuration's maxLayerSize
	Progress Progress       // hears what happens; nil for silence
	Explain  Explain        // hears why; nil for silence
	Registry registry.Options
}

// Explain receives one stage of a pull, after it happened: its name, the call that it amounts to, the call's result and
// the reason for it all.
type Explain func(step, call, result, why string)

// serially makes calls take turns, since layers come side by side.
func serially(f Explain) Explain {
	if f == nil {
		return func(_, _, _, _ string) {}
	}
	var mu sync.Mutex
	return func(step, call, result, why string) {
		mu.Lock()
		defer mu.Unlock()
		f(step, call, result, why)
	}
}

// again is the note of an event that says what went wrong and when it is tried again.
func again(err error, wait time.Duration) string {
	return fmt.Sprintf("%v; again in %s", err, wait.Round(100*time.Millisecond))
}

// Pull brings the image that ref names into the store and makes the name mean it. It must run where image/layer can
// unpack: as root of a user namespace with the user's whole id range, else with Layer.TolerateChown.
//
// It is idempotent: what is there already is not fetched again. It is atomic: the name means the old image until the
// new one is complete. On an error, and when ctx is cancelled, nothing of the image can be seen; what was downloaded
// is kept for the next attempt, unless it was wrong. Concurrent pulls share their work.
//
// Errors: those of image/registry, ErrNoPlatform, and of image/store and image/layer; all carry a hint.
func Pull(ctx context.Context, st *store.Store, ref reference.Reference, o PullOptions) (*store.Image, Report, error) {
	p, err := newPull(st, ref, o)
	if err != nil {
		return nil, Report{}, fmt.Errorf("pull %s: %w", ref.Familiar(), err)
	}
	defer p.repo.Close()
	img, err := p.run(ctx)
	p.report.Took = time.Since(p.started)
	if isContent(err) {
		// Nobody will continue this one. After a broken connection the layers that did arrive stay, for the next pull.
		_, collectErr := st.Collect(context.WithoutCancel(ctx))
		err = errors.Join(err, collectErr)
	}
	if errors.Is(err, registry.ErrInvalid) && hint.Of(err) == "" {
		err = hint.Wrap(err, "the image is broken, not the download: tell its author, or take another version")
	}
	if err != nil {
		return nil, p.report, fmt.Errorf("pull %s: %w", ref.Familiar(), err)
	}
	return img, p.report, nil
}

// A pull is one run of Pull.
type pull struct {
	store    *store.Store
	ref      reference.Reference
	repo     *registry.Repository
	options  PullOptions
	platform ocispec.Platform
	progress Progress
	explain  Explain
	started  time.Time
	report   Report
}

func newPull(st *store.Store, ref reference.Reference, o PullOptions) (*pull, error) {
	platform, err := ParsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	if o.Config == nil {
		o.Config = config.Default()
	}
	if o.Layer.MaxBytes == 0 {
		o.Layer.MaxBytes = int64(o.Config.Storage.MaxLayerSize)
	}
	if o.Progress == nil {
		o.Progress = silence{}
	}
	o.Registry.Config = o.Config
	o.Registry.Retries.Report = func(err error, wait time.Duration) {
		o.Progress.Event(Event{State: Resolving, Name: ref, Note: again(err, wait)})
	}
	repo, err := registry.Open(ref.Registry, ref.Repository, o.Registry)
	if err != nil {
		return nil, err
	}
	return &pull{
		store: st, ref: ref, repo: repo, options: o, platform: platform,
		progress: o.Progress, explain: serially(o.Explain), started: time.Now(),
		report: Report{Name: ref, Platform: PlatformString(platform)},
	}, nil
}

func (p *pull) run(ctx context.Context) (*store.Image, error) {
	p.explain("resolve", "mirrors of "+p.ref.Registry+", then itself", strings.Join(p.repo.Places(), ", "),
		"a name says which registry to ask; the configuration may name closer places for it")

	release, err := p.store.Hold(ctx) // until the tag, nothing but this hold protects our blobs from the collector
	if err != nil {
		return nil, err
	}
	defer release()

	tagOrDigest := p.ref.Tag
	if p.ref.Digest != "" {
		tagOrDigest = p.ref.Digest
	}
	p.progress.Event(Event{State: Resolving, Name: p.ref})
	found, err := walk(ctx, p.repo, tagOrDigest, p.platform)
	if err != nil {
		return nil, err
	}
	p.report.Digest, p.report.From = found.top.Desc.Digest, found.top.From
	p.explain("manifest", "GET /v2/"+p.ref.Repository+"/manifests/"+tagOrDigest, found.manifest.Desc.Digest.String(),
		"the tag leads to a document that names all parts by their sha256; an index has one for each platform, ours is "+p.report.Platform)

	return p.fetch(ctx, found)
}

// fetch brings in what found's manifest names, and tags it.
func (p *pull) fetch(ctx context.Context, found *selected) (*store.Image, error) {
	manifest, err := checkManifest(found.manifest, p.options.Layer.MaxBytes)
	if err != nil {
		return nil, err
	}
	data, err := p.config(ctx, manifest.Config)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	image, err := checkConfig(data, len(manifest.Layers))
	if err != nil {
		return nil, err
	}
	if err := p.checkPlatform(found, image); err != nil {
		return nil, err
	}
	p.explain("config", "GET …/blobs/"+manifest.Config.Digest.String(), fmt.Sprintf("layers: %d, command: %q", len(manifest.Layers), image.Config.Cmd),
		"it says what to run, and the sha256 of each layer once decompressed (its DiffID)")

	old, err := p.store.Resolve(p.ref.String())
	p.report.UpToDate = err == nil && old.Manifest.Digest == found.manifest.Desc.Digest
	if err := p.layers(ctx, manifest.Layers, image.RootFS.DiffIDs); err != nil {
		return nil, err
	}
	desc, err := p.store.PutBlob(ctx, found.manifest.Desc.MediaType, found.manifest.Body)
	if err != nil {
		return nil, err
	}
	// The top document goes into the name's annotations, so that NAME@DIGEST of an index is known here too.
	desc.Annotations = map[string]string{store.AnnotationSource: found.top.Desc.Digest.String()}
	if err := p.store.Tag(ctx, p.ref, desc); err != nil {
		return nil, err
	}
	p.explain("tag", "rename(index.json)", p.ref.String()+" = "+desc.Digest.String(),
		"last: whoever looks the name up before this moment gets the old image, and after it the whole new one")
	return p.store.Resolve(p.ref.String())
}

// config fetches the image configuration into the store.
func (p *pull) config(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if data, err := p.store.ReadBlob(desc.Digest, maxConfig); err == nil {
		return data, nil
	}
	body := p.repo.Blob(ctx, desc, 0, nil)
	defer body.Close()
	data, err := io.ReadAll(body) // ends after desc.Size bytes, which checkManifest has bounded
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(data); got != desc.Digest {
		return nil, p.repo.Invalid("blob %s has the digest %s", desc.Digest, got)
	}
	_, err = p.store.PutBlob(ctx, desc.MediaType, bytes.Clone(data))
	return data, err
}

// checkPlatform compares what was asked for with what the configuration says. An index has been searched for the
// platform; a lone manifest is all there is, so without an explicit wish it is taken, with a warning.
func (p *pull) checkPlatform(found *selected, image *ocispec.Image) error {
	there := normal(image.Platform)
	if found.platform != nil && there.Variant == "" {
		there.Variant = normal(*found.platform).Variant // many configurations leave it out
	}
	if image.OS == "" || rank(there, p.platform) >= 0 {
		return nil
	}
	if p.options.Platform != "" || there.OS != "linux" {
		return noPlatform(p.platform, []string{PlatformString(there)})
	}
	p.report.Platform = PlatformString(there)
	p.report.Warnings = append(p.report.Warnings, fmt.Sprintf("%s is built for %s; this machine is %s", p.ref.Familiar(), PlatformString(there), PlatformString(p.platform)))
	return nil
}

// isContent reports whether err condemns the data rather than the way that it came.
func isContent(err error) bool {
	var entry *layer.EntryError
	return errors.As(err, &entry) || errors.Is(err, registry.ErrInvalid) || errors.Is(err, store.ErrDigest) ||
		errors.Is(err, store.ErrSize) || errors.Is(err, layer.ErrTooBig)
}

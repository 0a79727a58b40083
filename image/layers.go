package image

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"codeberg.org/minipod/minipod/image/compress"
	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/registry"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// The blocks of a layer's pipeline: 1.5 MiB a layer, besides the decompressor's window. Small enough that what one stage wrote
// is still in the processor's cache when the next one reads it.
const (
	pumpBlocks      = 8
	compressedBlock = 64 << 10
	tarBlock        = 128 << 10
)

// layers brings all layers in, a few at a time.
func (p *pull) layers(ctx context.Context, descs []ocispec.Descriptor, diffIDs []digest.Digest) error {
	p.report.Layers = make([]LayerReport, len(descs))
	var order []*LayerReport
	seen := map[digest.Digest]bool{} // images repeat their empty layers
	for i, d := range descs {
		l := &p.report.Layers[i]
		*l = LayerReport{Desc: d, DiffID: diffIDs[i]}
		if seen[d.Digest] {
			l.Existed = true
			continue
		}
		seen[d.Digest] = true
		order = append(order, l)
		p.progress.Event(Event{State: Waiting, Layer: short(d), Total: d.Size})
	}
	// The biggest first, or it would be alone at the end with all other processors idle.
	slices.SortStableFunc(order, func(a, b *LayerReport) int { return cmp.Compare(b.Desc.Size, a.Desc.Size) })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.options.Config.Pull.Downloads)
	for _, l := range order {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := p.layer(ctx, l); err != nil {
				p.progress.Event(Event{State: Failed, Layer: short(l.Desc)})
				return fmt.Errorf("layer %s: %w", short(l.Desc), err)
			}
			return nil
		})
	}
	return group.Wait()
}

// layer makes sure of one layer: its tree, which run needs, and its blob, which save and skopeo need.
func (p *pull) layer(ctx context.Context, l *LayerReport) error {
	start := time.Now()
	hadBlob, hadTree := p.store.HasBlob(l.Desc.Digest), p.store.HasLayer(l.DiffID)
	for attempt := 1; ; attempt++ {
		err := p.layerOnce(ctx, l)
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrDigest) || attempt > len(p.repo.Places()) || ctx.Err() != nil {
			return err
		}
		// Wrong bytes may have begun with an earlier download, or be one mirror's fault. The blob was thrown away.
		if l.Resumed == 0 && !p.repo.Discredit() {
			return err
		}
		l.Resumed, l.Downloaded = 0, 0
		p.progress.Event(Event{State: Retrying, Layer: short(l.Desc), Note: "wrong digest"})
	}
	record, err := p.store.LayerRecord(l.DiffID)
	if err != nil {
		return err
	}
	l.Summary, l.Took, l.Existed = record.Summary, time.Since(start), hadBlob && hadTree
	if l.Existed {
		p.progress.Event(Event{State: Exists, Layer: short(l.Desc)})
		p.explain("layer", "stat(layers/"+l.DiffID.Encoded()[:12]+"…)", "exists", "layers are unpacked once, under the sha256 of their content, and shared by all images")
		return nil
	}
	p.progress.Event(Event{State: Done, Layer: short(l.Desc), Current: l.Desc.Size, Total: l.Desc.Size})
	p.explain("layer", "GET …/blobs/"+l.Desc.Digest.String(), fmt.Sprintf("%d entries, %d bytes in %s", l.Summary.Entries, l.Summary.Bytes, l.Took.Round(time.Millisecond)),
		"downloaded, hashed, decompressed, hashed and unpacked at the same time; visible only now that both hashes hold")
	return nil
}

// layerOnce is one attempt at tree and blob.
func (p *pull) layerOnce(ctx context.Context, l *LayerReport) error {
	err := p.store.Layer(ctx, l.DiffID, func(dir string) (layer.Summary, error) {
		return p.receive(ctx, l, func(src io.Reader, tap func([]byte) error) (layer.Summary, error) {
			return p.unpack(ctx, dir, l, src, tap)
		})
	})
	if err != nil || p.store.HasBlob(l.Desc.Digest) {
		return err
	}
	// The tree came from another blob, compressed differently, or the blob was removed: fetch it alone.
	_, err = p.receive(ctx, l, func(src io.Reader, tap func([]byte) error) (layer.Summary, error) {
		blob := newPump(src, pumpBlocks, compressedBlock, tap)
		_, err := io.Copy(io.Discard, blob)
		if end := ended(blob.stop()); end != nil {
			err = end
		}
		return layer.Summary{}, err
	})
	return err
}

// receive finds the layer's compressed bytes, in the store, in a partial blob and at the registry, and lets use have
// them as one stream; tap is to be called with each block as it comes. A downloaded blob is committed if use succeeds.
// Otherwise the partial blob stays if it may be continued, and goes if it is to blame.
func (p *pull) receive(ctx context.Context, l *LayerReport, use func(io.Reader, func([]byte) error) (layer.Summary, error)) (layer.Summary, error) {
	in, err := p.store.Ingest(ctx, l.Desc)
	if errors.Is(err, store.ErrExists) {
		f, err := p.store.OpenBlob(l.Desc.Digest)
		if err != nil {
			return layer.Summary{}, err
		}
		defer f.Close()
		return use(f, nil)
	}
	if err != nil {
		return layer.Summary{}, err
	}
	defer in.Close()
	l.Resumed = in.Offset()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body := p.repo.Blob(ctx, l.Desc, l.Resumed, func(err error, wait time.Duration) {
		p.progress.Event(Event{State: Retrying, Layer: short(l.Desc), Note: again(err, wait)})
	})
	defer body.Close()
	d := &download{pull: p, layer: l, in: in, left: l.Resumed}
	sum, err := use(io.MultiReader(io.NewSectionReader(in, 0, l.Resumed), body), d.tap)
	if err == nil {
		p.progress.Event(Event{State: Verifying, Layer: short(l.Desc), Current: l.Desc.Size, Total: l.Desc.Size})
		return sum, p.wrongDigest(in.Commit())
	}
	return sum, p.giveUp(in, l, err)
}

// giveUp decides what becomes of a blob whose use failed, and whose fault it was: nonsense in a layer may be the
// layer's or the registry's, and only the digest tells. Kept is what another attempt can continue.
func (p *pull) giveUp(in *store.Ingest, l *LayerReport, err error) error {
	whole := in.Offset() == l.Desc.Size
	if whole {
		h := sha256.New()
		if _, readErr := io.Copy(h, io.NewSectionReader(in, 0, l.Desc.Size)); readErr != nil {
			return errors.Join(err, readErr)
		}
		if got := digest.NewDigest(digest.SHA256, h); got != l.Desc.Digest {
			err = p.wrongDigest(fmt.Errorf("%w: its content is %s", store.ErrDigest, got))
		}
	}
	if errors.Is(err, linux.ENOSPC) && hint.Of(err) == "" {
		err = hint.Wrap(err, "free some space: minipod image prune removes images that nothing uses")
	}
	if whole || isContent(err) || errors.Is(err, linux.ENOSPC) {
		return errors.Join(err, in.Discard())
	}
	return err // in.Close, which keeps the partial blob, is deferred
}

func (p *pull) wrongDigest(err error) error {
	if errors.Is(err, store.ErrDigest) {
		return hint.Wrap(fmt.Errorf("%w: %w", registry.ErrInvalid, err),
			"the registry, a mirror or a proxy between sends wrong data: try again, or another mirror in "+p.options.Config.File())
	}
	return err
}

// A download is what the first goroutine of the pipeline does to each block: into the partial blob, unless it came
// from there, and on the screen.
type download struct {
	pull  *pull
	layer *LayerReport
	in    *store.Ingest
	left  int64 // bytes still to come that the partial blob has already
	seen  int64
}

func (d *download) tap(block []byte) error {
	d.seen += int64(len(block))
	old := min(d.left, int64(len(block)))
	d.left -= old
	if fresh := block[old:]; len(fresh) > 0 {
		if _, err := d.in.Write(fresh); err != nil {
			return err
		}
		d.layer.Downloaded += int64(len(fresh))
	}
	state := Downloading
	if d.seen == d.layer.Desc.Size {
		state = Unpacking
	}
	d.pull.progress.Event(Event{State: state, Layer: short(d.layer.Desc), Current: d.seen, Total: d.layer.Desc.Size})
	return nil
}

// unpack is the pipeline: src → tap → decompress → DiffID → dir. It reads src to its end even if the layer is bad,
// so that the blob's digest can tell why, unless ctx ends or the layer is too big.
func (p *pull) unpack(ctx context.Context, dir string, l *LayerReport, src io.Reader, tap func([]byte) error) (layer.Summary, error) {
	blob := newPump(src, pumpBlocks, compressedBlock, tap)
	sum, err := p.decompress(ctx, dir, l, blob)
	if ctx.Err() == nil && !errors.Is(err, layer.ErrTooBig) {
		_, _ = io.Copy(io.Discard, blob) // its error is what stop answers
	}
	end := ended(blob.stop())
	switch {
	case ctx.Err() != nil:
		return sum, context.Cause(ctx)
	case end != nil:
		return sum, end // the network's or the disk's; what the layer seemed to lack follows from it
	}
	return sum, err
}

func (p *pull) decompress(ctx context.Context, dir string, l *LayerReport, blob io.Reader) (layer.Summary, error) {
	plain, _, err := compress.NewReader(blob)
	if err != nil {
		return layer.Summary{}, corrupt(err)
	}
	defer plain.Close()
	diff := sha256.New()
	unpacked := newPump(plain, pumpBlocks, tarBlock, func(b []byte) error {
		diff.Write(b)
		return nil
	})
	sum, err := layer.Unpack(ctx, dir, unpacked, p.options.Layer)
	end := ended(unpacked.stop())
	switch {
	case err != nil && end != nil:
		return sum, corrupt(end)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
		return sum, corrupt(err)
	case err != nil:
		return sum, err
	}
	if got := digest.NewDigest(digest.SHA256, diff); got != l.DiffID {
		return sum, hint.Wrap(fmt.Errorf("%w: unpacked it is %s, the image's configuration says %s", registry.ErrInvalid, got, l.DiffID),
			"the image is broken, not the download: tell its author, or take another version")
	}
	return sum, nil
}

// ended is what ended a pump's source, if it was not its proper end nor we ourselves.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, errAbandoned) {
		return nil
	}
	return err
}

// corrupt is the error of a layer that is no tar, or no well-compressed one.
func corrupt(err error) error {
	return hint.Wrap(fmt.Errorf("%w: the layer is damaged: %w", registry.ErrInvalid, err),
		"the image is broken, not the download: tell its author, or take another version")
}

func short(d ocispec.Descriptor) string { return d.Digest.Encoded()[:12] }

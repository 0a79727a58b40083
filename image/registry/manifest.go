package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"codeberg.org/minipod/minipod/internal/hint"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxManifest bounds a manifest and an index, as registries themselves do.
const MaxManifest = 4 << 20

// A Manifest is a manifest or an index as it was served: Body hashes to Desc.Digest.
type Manifest struct {
	Desc ocispec.Descriptor
	Body []byte
	From string // the place that served it
}

// accept is what we understand and, last, what we only recognise in order to say why not.
func accept() []string {
	return []string{
		string(types.OCIImageIndex), string(types.DockerManifestList),
		string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
		string(types.DockerManifestSchema1Signed) + ";q=0.1",
	}
}

// Manifest fetches what tagOrDigest names. A digest is verified; for a tag the digest is computed and, where the
// registry states one, compared. The media type is the document's own word before the header's.
func (r *Repository) Manifest(ctx context.Context, tagOrDigest string) (*Manifest, error) {
	var m *Manifest
	err := r.eachPlace(ctx, "get manifest "+tagOrDigest, func(p *place) error {
		return p.attempt(ctx, r.retries.Report, func() (err error) {
			m, err = p.manifest(ctx, tagOrDigest)
			return err
		})
	})
	return m, err
}

func (p *place) manifest(ctx context.Context, tagOrDigest string) (*Manifest, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := p.do(ctx, "manifests/"+tagOrDigest, http.Header{"Accept": accept()})
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if err := checkStatus(resp, http.StatusOK); err != nil {
		cancel(nil)
		return nil, err
	}
	stream := p.watch(ctx, cancel, resp.Body)
	defer stream.Close()
	body, err := io.ReadAll(io.LimitReader(stream, MaxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(body) > MaxManifest {
		return nil, p.invalid("manifest %s is longer than %d MiB", tagOrDigest, MaxManifest>>20)
	}
	got := digest.FromBytes(body)
	want := digest.Digest(tagOrDigest)
	if want.Validate() != nil { // a tag
		want = digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	}
	if want.Validate() == nil && want.Algorithm() == digest.SHA256 && want != got {
		return nil, p.invalid("manifest %s has the digest %s, not %s", tagOrDigest, got, want)
	}
	mediaType, err := typeOf(body, resp.Header.Get("Content-Type"))
	if err != nil {
		return nil, p.invalid("manifest %s: %w", tagOrDigest, err)
	}
	return &Manifest{
		Desc: ocispec.Descriptor{MediaType: mediaType, Digest: got, Size: int64(len(body))},
		Body: body, From: p.host,
	}, nil
}

// typeOf decides what a document is. One that is a manifest and an index at once means different things to
// different readers, an attack with a number (CVE-2021-41190), so it is refused.
func typeOf(body []byte, header string) (string, error) {
	var shape struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Layers        json.RawMessage `json:"layers"`
		Config        json.RawMessage `json:"config"`
		FSLayers      json.RawMessage `json:"fsLayers"`
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&shape); err != nil {
		return "", fmt.Errorf("not JSON (%s): %w", printable(header), err)
	}
	index, image := shape.Manifests != nil, shape.Layers != nil || shape.Config != nil
	switch {
	case index && image:
		return "", fmt.Errorf("both an index and an image manifest")
	case shape.SchemaVersion == 1 || shape.FSLayers != nil:
		return string(types.DockerManifestSchema1Signed), nil
	case index && shape.MediaType == string(types.DockerManifestList), image && shape.MediaType == string(types.DockerManifestSchema2):
		return shape.MediaType, nil
	case index && (shape.MediaType == "" || shape.MediaType == ocispec.MediaTypeImageIndex):
		return ocispec.MediaTypeImageIndex, nil
	case image && (shape.MediaType == "" || shape.MediaType == ocispec.MediaTypeImageManifest):
		return ocispec.MediaTypeImageManifest, nil
	}
	return "", fmt.Errorf("neither an image manifest nor an index (%s)", printable(shape.MediaType+" "+header))
}

// invalid is an ErrInvalid about what this place sent.
func (p *place) invalid(format string, args ...any) error {
	return hint.Wrap(fmt.Errorf("registry %s: %w: %w", p.host, ErrInvalid, fmt.Errorf(format, args...)),
		fmt.Sprintf("the registry, a mirror or a proxy between sends wrong data: try again, or another mirror in %s", p.repo.config.File()))
}

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/image/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestParsePlatform(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64": "linux/amd64", "amd64": "linux/amd64", "Linux/x86_64": "linux/amd64", "amd64/v1": "",
		"linux/amd64/v1": "linux/amd64", "linux/amd64/v3": "linux/amd64/v3", "aarch64": "linux/arm64", "linux/arm64/v8": "linux/arm64",
		"arm": "linux/arm/v7", "armhf": "linux/arm/v7", "linux/arm/7": "linux/arm/v7", "armel": "linux/arm/v6",
		"windows/amd64": "windows/amd64", "//": "", "linux/": "", "a/b/c/d": "",
	} {
		p, err := ParsePlatform(in)
		if in == "amd64/v1" { // an OS called amd64: syntax can't know better
			continue
		}
		if (err != nil) != (want == "") || err == nil && PlatformString(p) != want {
			t.Errorf("ParsePlatform(%q) = %s, %v, want %q", in, PlatformString(p), err, want)
		}
	}
}

// library is a source of manifests by digest.
type library map[digest.Digest]*registry.Manifest

func (l library) add(mediaType string, document any) ocispec.Descriptor {
	body, _ := json.Marshal(document)
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
	l[d.Digest] = &registry.Manifest{Desc: d, Body: body}
	return d
}

func (l library) Manifest(_ context.Context, d string) (*registry.Manifest, error) {
	if m := l[digest.Digest(d)]; m != nil {
		return m, nil
	}
	return nil, errors.New("no manifest " + d)
}

func TestWalk(t *testing.T) {
	l := library{}
	image := func(platform string) ocispec.Descriptor {
		d := l.add(ocispec.MediaTypeImageManifest, map[string]string{"for": platform})
		if platform != "" {
			parts := append(strings.Split(platform, "/"), "")
			d.Platform = &ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
		}
		return d
	}
	index := func(entries ...ocispec.Descriptor) ocispec.Descriptor {
		return l.add(ocispec.MediaTypeImageIndex, ocispec.Index{Manifests: entries})
	}
	attestation := image("unknown/unknown")
	attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	usual := index(attestation, image("linux/arm/v5"), image("linux/arm/v7"), image("linux/amd64"), image("linux/amd64/v3"), image("linux/arm64/v8"), image("windows/amd64"))
	deep := index(usual)
	for range maxNesting {
		deep = index(deep)
	}
	for _, test := range []struct {
		top            ocispec.Descriptor
		platform, want string // want: a part of the manifest or of the error
	}{
		{usual, "linux/amd64", `"linux/amd64"`},
		{usual, "linux/amd64/v2", `"linux/amd64"`},
		{usual, "linux/amd64/v4", `"linux/amd64/v3"`},
		{usual, "linux/arm/v6", `"linux/arm/v5"`},
		{usual, "linux/arm/v8", `"linux/arm/v7"`},
		{usual, "linux/arm64", `"linux/arm64/v8"`},
		{usual, "linux/s390x", "there are: linux/amd64, linux/amd64/v3, linux/arm/v5, linux/arm/v7, linux/arm64, windows/amd64"},
		{index(usual), "linux/arm64", `"linux/arm64/v8"`},
		{index(image("linux/s390x"), usual), "linux/riscv64", "linux/amd64, linux/amd64/v3"},
		{index(image("linux/386"), image("")), "linux/amd64", `"for":""`},
		{index(), "linux/amd64", "lists no image at all"},
		{index(attestation), "linux/amd64", "lists no image at all"},
		{deep, "linux/amd64", "nested more than"},
		{index(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:abc", Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64"}}), "linux/amd64", "invalid"},
		{image(""), "linux/amd64", `"for":""`},
	} {
		p, err := ParsePlatform(test.platform)
		if err != nil {
			t.Fatal(err)
		}
		found, err := walk(t.Context(), l, test.top.Digest.String(), p)
		got := fmt.Sprint(err)
		if err == nil {
			got = string(found.manifest.Body)
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: got %s, want %s", test.platform, got, test.want)
		}
	}
}

// Whatever a registry sends, what passes the checks can be verified and stored.
func FuzzCheckManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "size": 2},
		"layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "size": 5}]}`),
		[]byte(`{"rootfs": {"diff_ids": ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}`))
	f.Add([]byte(`{"layers": [{}]}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		m, err := checkManifest(&registry.Manifest{Desc: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest}, Body: manifest}, 1<<30)
		if err != nil {
			return
		}
		for _, d := range append(m.Layers, m.Config) {
			if d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256 || d.Size < 0 || d.Size > 1<<30 || len(d.Digest.Encoded()) != 64 {
				t.Errorf("accepted %+v", d)
			}
		}
		image, err := checkConfig(config, len(m.Layers))
		if err == nil && len(image.RootFS.DiffIDs) != len(m.Layers) {
			t.Error("layers without DiffIDs")
		}
	})
}

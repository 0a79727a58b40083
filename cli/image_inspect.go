package cli

import (
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/image/store"
)

// imageRecord is docker's `image inspect`, and what -o json prints.
type imageRecord struct {
	ID             string `json:"Id"`
	RepoTags       []string
	RepoDigests    []string
	Comment        string
	Created        *time.Time `json:",omitempty"`
	Author         string
	Architecture   string
	Variant        string `json:",omitempty"`
	Os             string
	Size           int64 // of the unpacked layers
	CompressedSize int64 // of what the registry sent; docker has no such field
	Config         ocispec.ImageConfig
	RootFS         rootFS
	Manifest       string // digest of the manifest; `skopeo inspect` shows the same
}

type rootFS struct {
	Type   string
	Layers []string
}

func newImageRecord(images *store.Store, img *store.Image) (imageRecord, error) {
	size, err := images.Unpacked(img)
	if err != nil {
		return imageRecord{}, err
	}
	r := imageRecord{
		ID: string(img.ID), RepoTags: []string{}, RepoDigests: []string{}, Author: img.Config.Author,
		Architecture: img.Config.Architecture, Variant: img.Config.Variant, Os: img.Config.OS,
		Size: size, CompressedSize: img.Size, Config: img.Config.Config, Manifest: string(img.Manifest.Digest),
		RootFS: rootFS{Type: "layers", Layers: []string{}},
	}
	if !img.Created.IsZero() {
		r.Created = &img.Created
	}
	for _, name := range img.Names {
		r.RepoTags = append(r.RepoTags, familiar(name))
	}
	for _, name := range img.Digests {
		r.RepoDigests = append(r.RepoDigests, familiar(name))
	}
	for _, diffID := range img.Layers {
		r.RootFS.Layers = append(r.RootFS.Layers, string(diffID))
	}
	if n := len(img.Config.History); n > 0 {
		r.Comment = img.Config.History[n-1].Comment
	}
	return r, nil
}

func (r imageRecord) platform() string {
	p := r.Os + "/" + r.Architecture
	if r.Variant != "" {
		p += "/" + r.Variant
	}
	return p
}

func (a *app) imageInspectVerb() *urfave.Command {
	return &urfave.Command{
		Name: "inspect", Usage: "Print all there is to know about images, as JSON", ArgsUsage: "IMAGE...",
		Description: examples("minipod image inspect alpine", "minipod image inspect -f '{{json .Config.Env}}' alpine"),
		Flags:       []urfave.Flag{inspectFormatFlag()},
		Action: func(c *urfave.Context) error {
			if err := checkArgs(c, 1, -1); err != nil {
				return err
			}
			images, err := store.Open(a.dirs)
			if err != nil {
				return err
			}
			return inspectEach(a, c, func(name string) (imageRecord, error) { return a.inspectImage(images, name) })
		},
	}
}

func (a *app) inspectImage(images *store.Store, name string) (imageRecord, error) {
	img, err := images.Resolve(name)
	if err != nil {
		return imageRecord{}, err
	}
	return newImageRecord(images, img)
}

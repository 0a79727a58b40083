// Package image brings images into the store: Pull, from a registry to trees that overlay can mount.
//
// A pull is five stages, each of which --explain narrates:
//
//	resolve    name → mirrors in order, then the registry        image/registry
//	manifest   index → the manifest for our platform → layers    select.go
//	config     the image's configuration and its DiffIDs         check.go
//	layers     blobs → verified, unpacked trees, side by side    layers.go, below
//	tag        the name now means this manifest                  image/store
//
// A layer is never whole in memory and is read once. Four goroutines hand it on in big blocks:
//
//	registry ──▶ receive ─────────▶ decompress ─────────▶ unpack ──▶ layers/.new-…  ──rename──▶ layers/<DiffID>
//	             │ sha256 of blob   │ sha256 of tar       │ image/layer
//	             ▼                  ▼                     ▼
//	           partial blob       DiffID                files
//	             └─rename─▶ blobs/sha256/…   only after size, digest and DiffID are what the manifest says
//
// Unpacking before the digest is known is safe, since nothing of it can be seen under its final name until both
// digests hold, and because image/layer trusts no tar in any case. It is what makes a pull take as long as its
// slowest stage and not the sum of them.
//
// Killed at any moment, a pull leaves partial blobs, which the next pull of that layer continues by Range, and
// temporary trees, which the store sweeps. Two pulls of one layer, in one process or two, do the work once: the
// second waits for the first one's lock and then finds the layer there.
package image

// Package store keeps images on disk: what a registry sent, by digest, and the file trees made of it.
//
//	Data/
//	├─ images/                       an OCI image layout; skopeo reads it as oci:DIR:docker.io/library/alpine:latest
//	│  ├─ oci-layout
//	│  ├─ index.json                 the names: each entry points to a manifest, its ref.name annotation is the name
//	│  └─ blobs/sha256/<64 hex>      manifests, configs, compressed layers
//	├─ layers/
//	│  ├─ <24 hex of the DiffID>/    one layer, unpacked: a lower folder of overlay, shared by all images
//	│  └─ <24 hex of the DiffID>.json   what unpacking it found
//	└─ tmp/                          locks, and blobs that are still arriving
//
// An entry of index.json without a name is an image that lost its name to a newer one ("dangling"). An image's ID is
// the digest of its config, as in Docker.
//
// # Crashes
//
// Everything appears by rename: a blob after its hash was checked and its bytes were fsynced, a layer's tree after its
// last entry, a name with the whole new index.json. A kill -9 at any moment leaves only files in tmp/, and in layers/
// and images/ what has a name that starts with a dot; the next comer who takes the same lock goes on from the first and drops the
// second. Layer trees are not fsynced (it would cost as much again as unpacking them): after a power cut, remove
// an image that misbehaves and pull it again.
//
// # Locks
//
// All are flocks, which die with their holder. Taken in this order:
//
//	tmp/store.lock   shared: Hold, whoever adds.     exclusive: the collector of garbage, which never waits for it
//	tmp/blob-*.lock, tmp/layer-*.lock                exclusive: one writer a digest, so that two pulls do the work once
//	tmp/index.lock   shared: Pin, whoever relies on a name for a moment.     exclusive: whoever changes names
//
// What Hold protects: blobs and layers that no name leads to yet. A pull holds from its first blob until its Tag; a
// collector that comes meanwhile does nothing and says so (Removed.Deferred). What Pin protects: the answer of
// Resolve. `run` pins, resolves, writes the container's record, and unpins; Remove waits for that moment, and then its
// InUse sees the container.
//
// # Methods
//
//	                    idempotent   atomic   closes
//	Hold, Pin           –            –        the caller calls release
//	Ingest, Commit      yes          yes      the caller closes the Ingest; Commit closes it too
//	PutBlob, PutStream  yes          yes      –
//	Layer, UnpackLayer  yes          yes      –
//	Tag, Add, Untag     yes          yes      –
//	Remove              no (1)       yes (2)  –
//	Prune, Collect      yes          yes (2)  –
//	Resolve, List       reads        –        –
//	OpenBlob            reads        –        the caller closes the file
//	TempFile            –            –        the caller closes the file, which then is gone
//
// (1) The second Remove answers ErrNotFound. (2) Names go in one step; the space follows, and a crash in between leaves
// it to the next Remove or Prune.
//
// # Trust
//
// Documents come from strangers. Their sizes are bounded before they are read, their digests are checked to be digests
// before they become file names, their content is checked against the digest at each reading, and a config must
// name as many layers as its manifest. What is in a layer is the matter of package layer.
package store

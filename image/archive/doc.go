// Package archive moves images between the store and files: `load`, `save` and `import`; and makes one of a container: `commit`.
//
//	docker-archive   a tar: manifest.json lists images; each has a config file and layer files      docker save
//	oci-archive      a tar of an OCI image layout                                                   skopeo, podman, buildx
//	oci-dir          the layout itself, a folder                                                    skopeo, umoci
//	rootfs           a tar of a root file system: no image, but one can be made of it               import
//
// Loading reads an archive like a small file system (type files), because nothing in these formats says in which
// order their parts come: docker writes the list last. A tar that can be read at any place is read in place; one from
// a pipe, or a compressed one, is first copied to a file without a name. No layer is ever in memory.
//
// The names of files in an archive are keys and nothing more: none is ever used as a path on our disk. Each blob is
// checked against its digest on its way into the store, each layer against its DiffID while it is unpacked. A failure
// removes what the load has brought.
//
// What a layout's entry is called is a matter of taste between tools. We take containerd's and docker's annotation
// io.containerd.image.name first, then org.opencontainers.image.ref.name where it is a whole name ("busybox:1.38"),
// and where it is only a tag ("3.20.3", as umoci and the specification have it), the name of the folder or file with
// that tag. An image without any name is kept without one, as `docker load` does.
package archive

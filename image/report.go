package image

import (
	"fmt"
	"time"

	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Report says what a pull did, and after an error how far it came.
type Report struct {
	Name     reference.Reference
	Digest   digest.Digest // what the name leads to at the registry: an index or a manifest
	Platform string
	From     string        // the mirror or registry that served the manifest
	UpToDate bool          // the name led to this very image before
	Layers   []LayerReport // bottom first
	Warnings []string
	Took     time.Duration
}

// A LayerReport is the part about one layer.
type LayerReport struct {
	Desc       ocispec.Descriptor
	DiffID     digest.Digest
	Existed    bool  // nothing was to be done
	Resumed    int64 // bytes that an earlier pull had left
	Downloaded int64 // bytes that this one fetched
	Summary    layer.Summary
	Took       time.Duration
}

// Downloaded is the sum over the layers.
func (r *Report) Downloaded() (n int64) {
	for _, l := range r.Layers {
		n += l.Downloaded
	}
	return n
}

// Lines are the last lines of `pull`, as docker has them, after what a person should know: what could not be unpacked
// as it is.
func (r *Report) Lines() []string {
	var lines []string
	var devices, chowns, xattrs int
	for _, l := range r.Layers {
		if !l.Existed {
			devices, chowns, xattrs = devices+l.Summary.Devices, chowns+l.Summary.Chowns, xattrs+l.Summary.Xattrs
		}
	}
	count := func(n int, one, many, why string) {
		if n == 1 {
			lines = append(lines, "Skipped: 1 "+one+", "+why)
		} else if n > 1 {
			lines = append(lines, fmt.Sprintf("Skipped: %d %s, %s", n, many, why))
		}
	}
	count(devices, "device node", "device nodes", "which only the host's root can make (containers get their own /dev)")
	count(chowns, "owner", "owners", "since there is but one user id to map")
	count(xattrs, "extended attribute", "extended attributes", "which an unprivileged user can't set")
	status := "Downloaded newer image for "
	if r.UpToDate {
		status = "Image is up to date for "
	}
	return append(lines, "Digest: "+r.Digest.String(), "Status: "+status+r.Name.Familiar())
}

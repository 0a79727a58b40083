package image

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrNoPlatform is returned for an image that exists, though not for the platform asked for.
var ErrNoPlatform = errors.New("no matching platform")

// ParsePlatform reads "linux/amd64", "linux/arm/v7" or a bare "arm64"; "" is the host's. The names of uname and of
// Debian (x86_64, aarch64, armhf, …) are understood.
func ParsePlatform(s string) (ocispec.Platform, error) {
	if s == "" {
		return normal(ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}), nil
	}
	parts := strings.Split(strings.ToLower(s), "/")
	if slices.Contains(parts, "") || len(parts) > 3 {
		return ocispec.Platform{}, hint.Wrap(fmt.Errorf("platform %q is not OS/ARCH[/VARIANT]", s), "write for example --platform linux/arm64")
	}
	p := ocispec.Platform{OS: "linux"}
	switch {
	case len(parts) == 1 && parts[0] == "linux":
		p.Architecture = runtime.GOARCH
	case len(parts) == 1:
		p.Architecture = parts[0]
	default:
		p.OS, p.Architecture = parts[0], parts[1]
		if len(parts) == 3 {
			p.Variant = parts[2]
		}
	}
	return normal(p), nil
}

// PlatformString writes p as ParsePlatform reads it.
func PlatformString(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// normal gives each platform one spelling: the variant that an architecture has anyway is left out, and "arm" is v7.
func normal(p ocispec.Platform) ocispec.Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "i386", "i686", "x86":
		p.Architecture = "386"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	switch {
	case p.Architecture == "amd64" && p.Variant == "v1", p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "8"):
		p.Variant = ""
	case p.Architecture == "arm" && p.Variant == "":
		p.Variant = "v7"
	case p.Architecture == "arm" && len(p.Variant) == 1:
		p.Variant = "v" + p.Variant
	}
	return p
}

// variants are the ones that a machine of platform p can run, the best first: an ARMv7 runs v6, an x86-64-v3 runs v2.
// We don't look at the host's CPU, so amd64 without a variant means the baseline that each x86-64 machine runs.
func variants(p ocispec.Platform) []string {
	ladder := map[string][]string{
		"arm":   {"v8", "v7", "v6", "v5"},
		"arm64": {"v9", ""},
		"amd64": {"v4", "v3", "v2", ""},
	}[p.Architecture]
	if i := slices.Index(ladder, p.Variant); i >= 0 {
		return ladder[i:]
	}
	return []string{p.Variant}
}

// rank says how good an offer is for want: 0 is the best, -1 means that it won't do.
func rank(offer, want ocispec.Platform) int {
	offer = normal(offer)
	if offer.OS != want.OS || offer.Architecture != want.Architecture {
		return -1
	}
	return slices.Index(variants(want), offer.Variant)
}

// choose orders the index's entries for the platform, the best first. Entries of indexes and entries that don't say
// what they are for come last, to be looked into. Attestations ("unknown/unknown") are no images.
func choose(entries []ocispec.Descriptor, want ocispec.Platform) (fit, perhaps []ocispec.Descriptor, others []string) {
	best := map[int][]ocispec.Descriptor{}
	for _, d := range entries {
		switch {
		case d.Annotations["vnd.docker.reference.type"] != "":
		case d.Platform == nil || isIndex(d.MediaType) && d.Platform.Architecture == "":
			perhaps = append(perhaps, d)
		case d.Platform.OS == "unknown" || d.Platform.Architecture == "unknown":
		default:
			if r := rank(*d.Platform, want); r >= 0 {
				best[r] = append(best[r], d)
			} else if s := PlatformString(normal(*d.Platform)); !slices.Contains(others, s) {
				others = append(others, s)
			}
		}
	}
	for r := range variants(want) {
		fit = append(fit, best[r]...)
	}
	return fit, perhaps, others
}

func noPlatform(want ocispec.Platform, there []string) error {
	if len(there) == 0 {
		return fmt.Errorf("%w: its index lists no image at all", ErrNoPlatform)
	}
	slices.Sort(there)
	return hint.Wrap(fmt.Errorf("%w for %s; there are: %s", ErrNoPlatform, PlatformString(want), strings.Join(there, ", ")),
		"choose one with --platform, for example --platform "+there[0]+" (a foreign architecture needs qemu-user and binfmt)")
}

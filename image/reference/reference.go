package reference

import (
	"errors"
	"fmt"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
)

const (
	// DefaultRegistry is the registry of a name that has none.
	DefaultRegistry = "docker.io"
	// DefaultTag is the tag of a name that has neither tag nor digest.
	DefaultTag = "latest"

	legacyRegistry = "index.docker.io"
	official       = "library/"

	maxRepository = 255 // bytes; distribution's RepositoryNameTotalLengthMax
	maxTag        = 128
)

// ErrInvalid is in the tree of each error that Parse returns.
var ErrInvalid = errors.New("invalid image name")

// A Reference is a whole image name. The zero value names nothing; Parse makes the others. References are comparable.
type Reference struct {
	Registry   string // host, or host:port; "docker.io" for Docker Hub
	Repository string // "library/alpine"
	Tag        string // "latest"; may be empty where there is a digest
	Digest     string // "sha256:" and 64 hex digits, "sha512:" and 128, or empty
}

// String returns the whole name, which Parse reads back to the same Reference.
func (r Reference) String() string { return r.Name() + r.suffix() }

// Name returns registry and repository, without tag and digest.
func (r Reference) Name() string { return r.Registry + "/" + r.Repository }

// Familiar returns the name as Docker prints it: without "docker.io/library/" where that goes without saying, but
// always with its tag or digest. Parse reads it back to the same Reference.
func (r Reference) Familiar() string {
	if r.Registry != DefaultRegistry {
		return r.String()
	}
	short := r.Repository
	if rest, found := strings.CutPrefix(short, official); found && !strings.Contains(rest, "/") {
		short = rest
	}
	// "docker.io/localhost/x" is a good name, and its short form is another's.
	if registry, repository, err := split(short); err != nil || registry != r.Registry || repository != r.Repository {
		return r.String()
	}
	return short + r.suffix()
}

func (r Reference) suffix() string {
	var s string
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// Parse reads a name as people type it. Its errors wrap ErrInvalid and carry a hint where one helps.
func Parse(s string) (Reference, error) {
	r, err := parse(s)
	if err != nil {
		return Reference{}, fmt.Errorf("%w %q: %w", ErrInvalid, s, err)
	}
	return r, nil
}

func parse(s string) (Reference, error) {
	if s == "" {
		return Reference{}, hint.Wrap(errors.New("it is empty"), "name an image, like alpine or docker.io/library/alpine:latest")
	}
	if scheme, rest, found := strings.Cut(s, "://"); found {
		return Reference{}, hint.Wrap(fmt.Errorf("a name has no scheme (%s://)", scheme), "write it as "+rest)
	}
	name, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		if err := checkDigest(digest); err != nil {
			return Reference{}, err
		}
	}
	// A colon after the last slash starts the tag; one before it belongs to a port or an IPv6 host.
	var tag string
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
		if err := checkTag(tag); err != nil {
			return Reference{}, err
		}
	} else if !hasDigest {
		tag = DefaultTag
	}
	registry, repository, err := split(name)
	if err != nil {
		return Reference{}, err
	}
	return Reference{registry, repository, tag, digest}, nil
}

// split fills in registry and "library/", and checks both halves.
func split(name string) (registry, repository string, err error) {
	if len(name) == 64 && isHex(name) {
		// Docker's rule: 64 hex digits always mean an image ID, so that no repository can pose as one.
		return "", "", hint.Wrap(errors.New("64 hex digits are an image ID, not a name"),
			"list the local images with: minipod images --no-trunc")
	}
	registry, repository = DefaultRegistry, name
	if host, rest, found := strings.Cut(name, "/"); found && looksLikeHost(host) {
		registry, repository = host, rest
		if host == legacyRegistry {
			registry = DefaultRegistry
		}
	}
	if registry == DefaultRegistry && !strings.Contains(repository, "/") {
		repository = official + repository
	}
	if err := checkRegistry(registry); err != nil {
		return "", "", err
	}
	if err := checkRepository(repository); err != nil {
		if lower := strings.ToLower(name); lower != name {
			err = hint.Wrap(err, "write it as "+lower)
		}
		return "", "", err
	}
	return registry, repository, nil
}

func looksLikeHost(s string) bool {
	return s == "localhost" || strings.ContainsAny(s, ".:") || strings.ToLower(s) != s
}

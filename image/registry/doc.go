// Package registry reads images from registries that speak the OCI distribution protocol, and survives the ones
// that speak it badly.
//
// A Repository is one repository at the places that may have it: the mirrors of the user's configuration in order,
// then the registry itself. The first place that answers a manifest serves it, and the blobs are asked of the same
// place first. Nothing a place says is believed: a manifest is bounded and hashed here, a blob is bounded here and
// hashed by its receiver (image.Pull), so a mirror can withhold but not forge what a digest names. What a *tag*
// points to, a mirror decides: configure only those that you trust.
//
// go-containerregistry does the talking that is a protocol of its own: the /v2/ ping, basic and token
// authentication with refresh, and never sending credentials to the host of a redirect. The requests for manifests
// and blobs are made here, since we want what its remote package does not have: ranges, so that a broken download
// goes on where it broke; several places; a stall timeout instead of a total one; and errors that tell a person
// what to do.
//
// Errors: every refusal is one of ErrNotFound, ErrDenied, ErrUnreachable, ErrRateLimited, ErrInvalid (test with
// errors.Is), and carries a hint.
//
// Trust boundary: plain HTTP and unverified TLS happen only to registries that the configuration calls insecure, to
// mirrors written with http:// and on loopback. Everywhere else a request over http, be it from a redirect, is
// refused before a byte is sent.
package registry

package stage

import "os"

// The stage dispatch. A sandbox (and an envoy, which enters one for a moment) must be small and start fast, whatever else this binary can do: so it takes its leave
// here, before the packages of the CLI initialise. Go initialises ready packages in the order of their import paths,
// and ours sorts before github.com; what this package imports is all that a sandbox pays for.
func init() { //nolint:gochecknoinits // see above
	if IsSandbox(os.Args) {
		Main()
	}
	if IsEnvoy(os.Args) {
		envoyMain()
	}
	if isAnchor(os.Args) {
		anchorMain()
	}
}

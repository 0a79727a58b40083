package pod

// An ImageVolume is an image's files, read-only.
type ImageVolume struct {
	Reference  string `json:"reference,omitempty"`
	PullPolicy string `json:"pullPolicy,omitempty"` // Always, IfNotPresent, Never
}

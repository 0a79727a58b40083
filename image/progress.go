package image

import "codeberg.org/minipod/minipod/image/reference"

// Progress hears what a pull does. Event is called from several goroutines at once, often, and must not block.
type Progress interface {
	Event(e Event)
}

// An Event is a change in one layer, or for Resolving in the whole pull.
type Event struct {
	State          State
	Name           reference.Reference // with Resolving
	Layer          string              // the first 12 digits of the blob's digest
	Current, Total int64               // compressed bytes
	Note           string              // with Retrying, and with a repeated Resolving: why
}

// State is what a layer is at.
type State string

// The states, in docker's words.
const (
	Resolving   State = "Pulling from"
	Waiting     State = "Waiting"
	Downloading State = "Downloading"
	Retrying    State = "Retrying"
	Unpacking   State = "Extracting" // all bytes are here; what is left is to unpack the last of them
	Verifying   State = "Verifying Checksum"
	Done        State = "Pull complete"
	Exists      State = "Already exists"
	Failed      State = "Failed"
)

// last reports whether a layer's story ends with s.
func (s State) last() bool { return s == Done || s == Exists || s == Failed }

type silence struct{}

func (silence) Event(Event) {}

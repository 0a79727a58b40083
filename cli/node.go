package cli

import "codeberg.org/minipod/minipod/node/daemon"

// Node is the life of `minipod node`, which gives pods their network. People never type it: whoever needs it starts it.
func Node() int { return daemon.Main(thisVersion().Version) }

package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
)

// LabFile is the file in Data that makes it a lab's world: see package labs.
const LabFile = "lab.json"

// LabsDir is the folder of the labs: $XDG_STATE_HOME/minipod/labs; "" where the environment names none. $MINIPOD_ROOT changes nothing here, since
// in a lab it names that lab's world.
func LabsDir(getenv func(string) string) string {
	if dir := getenv("XDG_STATE_HOME"); path.IsAbs(dir) {
		return path.Join(dir, "minipod", "labs")
	}
	if home := getenv("HOME"); path.IsAbs(home) {
		return path.Join(home, ".local", "state", "minipod", "labs")
	}
	return ""
}

// World is the folder of a lab's world, below LabsDir.
func World(labs, id string) string { return path.Join(labs, "worlds", id) }

// labOf is the lab whose world $MINIPOD_ROOT names, or "".
func labOf(getenv func(string) string, labs string) string {
	if labs == "" {
		return ""
	}
	dir, id := path.Split(path.Clean(getenv("MINIPOD_ROOT")))
	if path.Clean(dir) != path.Join(labs, "worlds") {
		return ""
	}
	return id
}

var errGone = errors.New("which is not there")

// CheckWorld refuses a $MINIPOD_ROOT that names a world which `lab reset` has removed: whatever is done there would make a folder that looks like one.
func CheckWorld(getenv func(string) string) error {
	root := getenv("MINIPOD_ROOT")
	if !strings.Contains(root, "/labs/worlds/") { // most of the time
		return nil
	}
	id := labOf(getenv, LabsDir(getenv))
	if id == "" {
		return nil
	}
	if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
		return nil // anything else is told by whoever needs it
	}
	return hint.Wrap(fmt.Errorf("MINIPOD_ROOT names the world of lab %s, %w: it was reset, or never started", id, errGone),
		fmt.Sprintf("minipod lab start %s; or leave the labs: unset MINIPOD_ROOT", id))
}

// Placed adds Astray's advice to an error, before its own.
func Placed(err error, getenv func(string) string, unset bool) error {
	advice := Astray(getenv, unset)
	if advice == "" {
		return err
	}
	if own := hint.Of(err); own != "" && !errors.Is(err, errGone) {
		advice += "; else: " + own
	}
	return hint.Wrap(err, advice)
}

// Astray is advice for somebody whose command failed while this terminal is not in the world of the lab that is open: in another lab's, or, where
// unset counts, in none. It is "" where that can't be the reason.
func Astray(getenv func(string) string, unset bool) string {
	labs := LabsDir(getenv)
	if labs == "" {
		return ""
	}
	data, err := os.ReadFile(path.Join(labs, "progress.json"))
	if err != nil {
		return ""
	}
	var progress struct{ Current string }
	if json.Unmarshal(data, &progress) != nil {
		return ""
	}
	root, here, open := getenv("MINIPOD_ROOT"), labOf(getenv, labs), progress.Current
	switch {
	case here != "" && open == "":
		return fmt.Sprintf("no lab is open, and MINIPOD_ROOT here is that of lab %s: minipod lab start %s, or unset MINIPOD_ROOT", here, here)
	case here != "" && here != open:
		return fmt.Sprintf("lab %s is open, and MINIPOD_ROOT here is that of lab %s: export MINIPOD_ROOT=%s", open, here, World(labs, open))
	case unset && root == "" && open != "":
		return fmt.Sprintf("lab %s is open, and MINIPOD_ROOT is not set here; if this belongs to the lab: export MINIPOD_ROOT=%s", open, World(labs, open))
	}
	return ""
}

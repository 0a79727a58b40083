// Package events is the log of what happened to containers, images and volumes: docker's events, kept without a daemon.
//
// Each command appends its own, one JSON object a line, to events.jsonl in the data folder. Many append at once, and none waits
// for another: a line is one write(2) to a file opened with O_APPEND, which the kernel keeps apart. Beyond 10 MB (20, where
// there never is a moment for it) the file becomes events.jsonl.1, and the one before that goes away.
//
// Rotation is the only race, and a lock on the file itself settles it (flock(2)). Whoever appends holds it shared and looks
// once more whether the name still is that file; whoever rotates holds it exclusively, so that nobody writes into a part
// that readers have left.
package events

// Package jsonl reads a file of lines to which others append, and which they rotate: name is the newest part, name.1 the one
// before it, and so on. Container logs are kept that way, and the log of events.
//
// The writer's side of the contract, which is all that readers need for losing and repeating nothing:
//
//   - A line is complete with its newline. A part never changes but at its end.
//   - A rotation renames the older parts first, from the oldest on, then name to name.1, or over it. Whoever renamed name
//     writes no more to that file.
//   - Each part carries its number, one more than that of the part before it (SetNumber), where the file system has room
//     for it: so a reader who was slower than the rotation can tell that it missed something.
//
// A reader holds the part that it reads open. Once name is another file, its own will not grow any more: it reads to the
// end of it, and then the next one, which it finds by looking for its own among the names.
//
// Foreign bytes are expected: the file is its owner's, who may have edited, truncated or replaced it. A line longer than
// MaxLine is skipped, and so is a last one without its newline, which a writer who died has left.
package jsonl

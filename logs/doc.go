// Package logs is a container's log file: docker's json-file, one object a line.
//
//	{"log":"text\n","stream":"stdout","time":"2026-11-27T11:22:33.123456789Z"}
//
// The supervisor opens a Writer, and runs a Copier for each pipe that the command writes to:
//
//	command ─pipe─▶ Copier (stdout) ─┬─ whole batches of records ─▶ Writer ─▶ log.json
//	        ─pipe─▶ Copier (stderr) ─┤                                        log.json.1 …
//	                                 └─ raw chunks ─▶ tee (attached clients)
//
// Three promises hold whatever happens. The command never waits for the disk to be fixed: its output is read on, and what
// could not be written is counted, and told in the log itself as soon as writing works again. A record is whole or it is the
// last one of a writer that died, and readers skip it. And every line of the file is valid JSON, whatever bytes the command
// writes: those that are not UTF-8 become U+FFFD, as docker has it.
//
// Read prints a log, or the end of it, and follows it across rotations; package jsonl draws that contract. The file is its
// owner's: bytes that no Writer wrote are skipped, and never trusted.
package logs

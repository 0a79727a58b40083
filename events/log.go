package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"codeberg.org/minipod/minipod/internal/jsonl"
	"codeberg.org/minipod/minipod/state"
)

// maxSize is how long a part may grow, in bytes.
const maxSize = 10 << 20

// A Log is the events of one data folder.
type Log struct {
	name    string
	maxSize int64
}

// Open names the log of that user. Nothing is made before there is an event.
func Open(dirs state.Dirs) *Log { return &Log{path.Join(dirs.Data, "events.jsonl"), maxSize} }

// Append writes e down. Where it has no time that is now. An event that can't be written changes nothing of what has happened:
// callers warn, and go on.
func (l *Log) Append(e Event) error {
	if e.TimeNano == 0 {
		e.TimeNano = time.Now().UnixNano()
	}
	e.Time, e.Scope = e.TimeNano/int64(time.Second), "local"
	line, err := json.Marshal(e)
	if err == nil {
		err = jsonl.Append(l.name, l.maxSize, append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("append to the log of events: %w", err)
	}
	return nil
}

// ReadOptions say which events are wanted.
type ReadOptions struct {
	Since  time.Time // zero: only those that happen from now on
	Until  time.Time // zero: for ever
	Filter Filter
}

// Read calls do with each event, in the order in which they were written. It waits for what happens until o.Until, or answers
// ctx's error; or that of do, as it is.
func (l *Log) Read(ctx context.Context, o ReadOptions, do func(Event) error) error {
	var refused error
	err := l.read(ctx, o, func(e Event) error {
		refused = do(e)
		return refused
	})
	if refused != nil {
		return refused
	}
	if err != nil {
		return fmt.Errorf("read the log of events: %w", err)
	}
	return nil
}

func (l *Log) read(ctx context.Context, o ReadOptions, do func(Event) error) error {
	files, err := jsonl.Open(l.name)
	if err != nil {
		return err
	}
	defer files.Close()
	if o.Since.IsZero() {
		err = files.Rewind(func([]byte) bool { return false })
	} else {
		files.SkipBefore(o.Since)
	}
	if err != nil {
		return err
	}
	show := func(line []byte) error {
		var e Event
		if ours := json.Unmarshal(line, &e) == nil && e.Type != ""; !ours {
			return nil
		}
		if e.at().Before(o.Since) || !o.Until.IsZero() && e.at().After(o.Until) || !o.Filter.Match(e) {
			return nil
		}
		return do(e)
	}
	if !o.Until.IsZero() && !o.Until.After(time.Now()) {
		return files.Read(show)
	}
	until := ctx
	if !o.Until.IsZero() {
		var cancel context.CancelFunc
		until, cancel = context.WithDeadline(ctx, o.Until)
		defer cancel()
	}
	if err := state.Make(path.Dir(l.name)); err != nil { // or there is nothing to watch
		return err
	}
	err = files.Follow(until, nil, show, func() error { return nil })
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

package image

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Lines is a Progress for pipes and log files, in docker's words: a line for each layer, when it is finished.
type Lines struct {
	mu sync.Mutex
	w  io.Writer
}

// NewLines returns a Progress that writes to w. Errors of w are ignored: a pull does not fail for want of an audience.
func NewLines(w io.Writer) *Lines { return &Lines{w: w} }

// Event implements Progress.
func (l *Lines) Event(e Event) {
	if e.State != Resolving && e.State != Retrying && !e.State.last() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.w, line(e, 0))
}

// A Screen is a Progress for terminals: what is under way is redrawn in place, with a bar; what is finished scrolls
// away above it, so that an image of a hundred layers fits a small window.
//
// It uses two escape sequences, cursor up and erase below, and leaves the terminal's modes and cursor alone: a killed
// pull has nothing to restore.
type Screen struct {
	w       io.Writer
	columns func() int

	mu       sync.Mutex
	order    []string         // layers not yet finished, as they came
	active   map[string]Event // their last events
	finished []string         // lines to scroll away at the next drawing
	drawn    int              // lines to go up first
	stale    bool

	stop, stopped chan struct{}
	once          sync.Once
}

const (
	redraw     = 100 * time.Millisecond
	barWidth   = 30
	maxWaiting = 6 // layers shown that do nothing yet
)

// NewScreen returns a Progress that draws on w, whose width columns returns (0: unknown). The caller closes it before
// it writes anything else there.
func NewScreen(w io.Writer, columns func() int) *Screen {
	s := &Screen{w: w, columns: columns, active: map[string]Event{}, stop: make(chan struct{}), stopped: make(chan struct{})}
	go s.run()
	return s
}

// Event implements Progress.
func (s *Screen) Event(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
	_, known := s.active[e.Layer]
	switch {
	case e.State == Resolving:
		s.finished = append(s.finished, line(e, 0))
	case e.State.last():
		delete(s.active, e.Layer)
		s.finished = append(s.finished, line(e, 0))
	default:
		if !known {
			s.order = append(s.order, e.Layer)
		}
		s.active[e.Layer] = e
	}
}

// Close draws the last state and stops. It is idempotent.
func (s *Screen) Close() error {
	s.once.Do(func() { close(s.stop) })
	<-s.stopped
	return nil
}

func (s *Screen) run() {
	defer close(s.stopped)
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.draw()
		case <-s.stop:
			s.draw()
			return
		}
	}
}

// draw writes one frame in one write, so that it does not flicker.
func (s *Screen) draw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stale {
		return
	}
	s.stale = false
	columns := s.columns()
	if columns <= 0 {
		columns = 80
	}
	var frame bytes.Buffer
	if s.drawn > 0 {
		fmt.Fprintf(&frame, "\x1b[%dA", s.drawn)
	}
	frame.WriteString("\r\x1b[J")
	for _, text := range s.finished {
		fmt.Fprintln(&frame, cut(text, columns))
	}
	s.finished = nil
	lines := s.current(columns)
	for _, text := range lines {
		fmt.Fprintln(&frame, cut(text, columns))
	}
	s.drawn = len(lines)
	s.w.Write(frame.Bytes()) //nolint:errcheck // see NewLines
}

// current are the lines below: the layers in work, then some of those that wait.
func (s *Screen) current(columns int) (lines []string) {
	var waiting []string
	order := s.order[:0]
	for _, layer := range s.order {
		e, there := s.active[layer]
		if !there {
			continue
		}
		order = append(order, layer)
		if e.State == Waiting {
			waiting = append(waiting, line(e, 0))
		} else {
			lines = append(lines, line(e, columns))
		}
	}
	s.order = order
	if more := len(waiting) - maxWaiting; more > 0 {
		waiting = append(waiting[:maxWaiting], fmt.Sprintf("… and %d more", more))
	}
	return append(lines, waiting...)
}

// line is an event in docker's words, with a bar if there is room for one.
func line(e Event, columns int) string {
	if e.State == Resolving {
		tag := e.Name.Tag
		if e.Name.Digest != "" {
			tag = e.Name.Digest
		}
		text := tag + ": " + string(e.State) + " " + e.Name.Repository
		if e.Note != "" {
			text += " (" + e.Note + ")"
		}
		return printable(text)
	}
	text := e.Layer + ": " + string(e.State)
	if e.Note != "" {
		text += " (" + e.Note + ")"
	}
	if e.State != Downloading && e.State != Unpacking || e.Total == 0 {
		return printable(text)
	}
	amount := fmt.Sprintf(" %7s/%s", size(e.Current), size(e.Total))
	if columns < len(text)+len(amount)+barWidth+4 {
		return text + amount
	}
	full := int(int64(barWidth) * e.Current / e.Total)
	bar := strings.Repeat("=", full)
	if full < barWidth {
		bar += ">" + strings.Repeat(" ", barWidth-full-1)
	}
	return fmt.Sprintf("%s [%s]%s", fmt.Sprintf("%-25s", text), bar, amount)
}

// size writes bytes as docker does, in powers of ten.
func size(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if f < 1000 || unit == "GB" {
			if unit == "B" || f >= 100 {
				return fmt.Sprintf("%.0f%s", f, unit)
			}
			return fmt.Sprintf("%.3g%s", f, unit)
		}
		f /= 1000
	}
	return ""
}

// cut keeps a line from wrapping, which would put the next frame in the wrong place.
func cut(text string, columns int) string {
	if r := []rune(text); len(r) >= columns {
		return string(r[:columns-1])
	}
	return text
}

// printable keeps control characters, of which a registry's error text may have some, from the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

package image_test

import (
	"bytes"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/image"
	"codeberg.org/minipod/minipod/image/reference"
)

func story(p image.Progress) {
	ref, _ := reference.Parse("alpine")
	p.Event(image.Event{State: image.Resolving, Name: ref})
	p.Event(image.Event{State: image.Waiting, Layer: "aaaaaaaaaaaa", Total: 100})
	p.Event(image.Event{State: image.Waiting, Layer: "bbbbbbbbbbbb", Total: 2_500_000})
	p.Event(image.Event{State: image.Exists, Layer: "aaaaaaaaaaaa"})
	p.Event(image.Event{State: image.Downloading, Layer: "bbbbbbbbbbbb", Current: 1_250_000, Total: 2_500_000})
	p.Event(image.Event{State: image.Retrying, Layer: "bbbbbbbbbbbb", Note: "bad \x1b[2J\nnews"})
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	story(image.NewLines(&out))
	want := "latest: Pulling from library/alpine\naaaaaaaaaaaa: Already exists\nbbbbbbbbbbbb: Retrying (bad  [2J news)\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := image.NewScreen(&out, func() int { return 40 })
	story(s)
	s.Event(image.Event{State: image.Downloading, Layer: "bbbbbbbbbbbb", Current: 1_250_000, Total: 2_500_000})
	s.Close()
	s.Close()
	_, frame, _ := strings.Cut(out.String(), "\x1b[J")
	if !strings.Contains(frame, "aaaaaaaaaaaa: Already exists\n") || !strings.HasSuffix(frame, "bbbbbbbbbbbb: Downloading  1.25MB/2.5MB\n") {
		t.Errorf("last frame %q", frame)
	}
	for _, l := range strings.Split(frame, "\n") {
		if len(l) >= 40 {
			t.Errorf("line %q wraps", l)
		}
	}

	out.Reset()
	s = image.NewScreen(&out, func() int { return 100 })
	story(s)
	s.Event(image.Event{State: image.Unpacking, Layer: "bbbbbbbbbbbb", Current: 2_500_000, Total: 2_500_000})
	s.Close()
	if !strings.Contains(out.String(), "bbbbbbbbbbbb: Extracting  [==============================]   2.5MB/2.5MB") {
		t.Errorf("no full bar in %q", out.String())
	}
}

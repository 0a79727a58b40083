package run

import (
	"strings"
	"testing"
	"unicode"

	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/runtime/stage"
)

// TestWhy: each step that --explain tells of is told in each language, and nothing is told of a step that is gone.
func TestWhy(t *testing.T) {
	for _, step := range stage.Steps() {
		e := stage.Event{Step: step, Why: "because"}
		if got := whyIn(lang.English, e); got != "because" {
			t.Errorf("%s in English: %q", step, got)
		}
		if got := whyIn(lang.Chinese, e); !strings.ContainsFunc(got, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%s in Chinese: %q", step, got)
		}
	}
	if got := whyIn(lang.Chinese, stage.Event{Step: "new-step", Why: "because"}); got != "because" {
		t.Errorf("a step that has no Chinese: %q", got)
	}
}

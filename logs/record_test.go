package logs

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

func TestRecordForm(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 22, 33, 123456780, time.FixedZone("", 3600))
	for text, want := range map[string]string{
		"plain, and long enough for a word\n": `plain, and long enough for a word\n`,
		"":                                    ``,
		"\"\\/<>&\t\r\x00\x1f\x7f":            `\"\\/\u003c\u003e\u0026\u0009\r\u0000\u001f` + "\x7f",
		"é\u2028\u2029\ufffd中😀":               `é\u2028\u2029` + "\ufffd中😀",
		"1234567\xff\xc3(\xe4\xb8":            `1234567\ufffd\ufffd(\ufffd\ufffd`,
		"=;?A[]#!%'":                          `=;?A[]#!%'`,
	} {
		got := string(appendRecord(nil, []byte(text), appendTail(nil, Stderr, at)))
		if want := `{"log":"` + want + `","stream":"stderr","time":"2026-11-27T11:22:33.12345678Z"}` + "\n"; got != want {
			t.Errorf("%q\n%s want\n%s", text, got, want)
		}
	}
}

// each byte that is no UTF-8 becomes one U+FFFD.
func valid(text []byte) string {
	var b strings.Builder
	for len(text) > 0 {
		r, width := utf8.DecodeRune(text)
		b.WriteRune(r)
		text = text[width:]
	}
	return b.String()
}

// FuzzRecord writes any text, and expects valid JSON which both parsers read back, and the right count of bytes.
func FuzzRecord(f *testing.F) {
	f.Add([]byte("text\n"), []byte("a\\u202b\"<>&\u2028\xff"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		tail := appendTail(nil, Stdout, time.Unix(1, 5))
		records := appendRecord(appendRecord(nil, one, tail), two, tail)
		if got := textLength(records); got != int64(len(one)+len(two)) {
			t.Errorf("%s stand for %d bytes, not %d", records, len(one)+len(two), got)
		}
		var p parser
		i := 0
		for line := range bytes.Lines(records) {
			want := valid([][]byte{one, two}[i])
			var foreign struct{ Log, Stream, Time string }
			if err := json.Unmarshal(line, &foreign); err != nil || foreign.Log != want {
				t.Errorf("%s: %v, %q, want %q", line, err, foreign.Log, want)
			}
			r, ok := p.own(bytes.TrimSuffix(line, []byte("\n")))
			if !ok || string(r.text) != want || r.stream != Stdout || !r.time().Equal(time.Unix(1, 5)) {
				t.Errorf("%s: %q %v, want %q", line, r.text, ok, want)
			}
			i++
		}
		if i != 2 {
			t.Errorf("%q: %d lines", records, i)
		}
	})
}

// FuzzParse parses what anybody may have written. What the fast parser reads encoding/json must read the same, where it is JSON
// at all.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"log":"text\n","stream":"stderr","time":"2026-11-27T11:22:33.123456789Z"}`,
		`{"log":"\u00e9\"\\\/\n\r\t\u2028\ud83d\ude00","stream":"stdout","time":""}`,
		`{"log":"a","stream":"stdout","time":"x","attrs":{"tag":"b"}}`, `{"log":"a\`, `{"log":"a\u12"`, `{"log":null}`, `[]`, ``,
		`{"log":"a","stream":"stdout","time":"2026-11-27T11:22:33Z","log":"b"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var p parser
		r, ok := p.parse(line)
		var foreign struct {
			Log    *string `json:"log"`
			Stream string  `json:"stream"`
			Time   string  `json:"time"`
		}
		err := json.Unmarshal(line, &foreign)
		if json.Valid(line) && ok != (err == nil && foreign.Log != nil) {
			t.Fatalf("%q is a record: %v; encoding/json: %v", line, ok, err)
		}
		if !ok || !json.Valid(line) {
			return
		}
		if string(r.text) != *foreign.Log || (r.stream == Stderr) != (foreign.Stream == "stderr") || string(r.stamp) != foreign.Time {
			t.Errorf("%q: %q %v %q, want %q", line, r.text, r.stream, r.stamp, *foreign.Log)
		}
		if !utf8.Valid(r.text) {
			t.Errorf("%q is not UTF-8", r.text)
		}
		_ = r.time()
	})
}

// A line in which every byte is an escape is no trap: sixteen times the length takes sixteen times as long, and not the square of that. How
// long that is depends on the machine.
func TestParseIsLinear(t *testing.T) {
	const times = 16
	parse := func(length int) time.Duration {
		text := bytes.Repeat([]byte{'\\', '"'}, length)
		line := bytes.TrimSuffix(appendRecord(nil, text, appendTail(nil, Stdout, time.Now())), []byte("\n"))
		var p parser
		best := time.Hour
		for range 5 { // of which other work on this machine may disturb four
			start := processorTime(t)
			if r, ok := p.own(line); !ok || len(r.text) != len(text) {
				t.Fatal("not read")
			}
			line[len(line)-1] = ' ' // no record any more: to the end, in vain
			if _, ok := p.own(line); ok {
				t.Fatal("read")
			}
			line[len(line)-1] = '}'
			best = min(best, processorTime(t)-start)
		}
		return best
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if short, long := parse(12_500), parse(times*12_500); long > 4*times*short {
		t.Errorf("%s, and %s for %d times the length", short, long, times)
	}
}

// processorTime is what this thread, to which the caller is locked, has had of a processor: other work on this machine does not count.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}

package logs

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"strconv"
	"time"
	"unicode/utf8"
)

// A Stream is where the command wrote.
type Stream int

const (
	Stdout Stream = iota
	Stderr
)

func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// maxText is how much of a line one record holds, in bytes without the newline: docker's 16 KiB.
const maxText = 16 << 10

// stampLayout is docker's: RFC 3339 in UTC, up to nanoseconds.
const stampLayout = time.RFC3339Nano

// appendRecord appends the record of text, and its newline. tail is what follows the text: see appendTail.
func appendRecord(dst, text, tail []byte) []byte {
	dst = append(dst, `{"log":"`...)
	dst = appendEscaped(dst, text)
	return append(dst, tail...)
}

// appendTail appends the end of a record, which is the same for all of one read.
func appendTail(dst []byte, stream Stream, at time.Time) []byte {
	dst = append(dst, `","stream":"`...)
	dst = append(dst, stream.String()...)
	dst = append(dst, `","time":"`...)
	dst = at.UTC().AppendFormat(dst, stampLayout)
	return append(dst, "\"}\n"...)
}

// appendEscaped appends text as the inside of a JSON string, escaped as docker and encoding/json escape: what ends a string,
// control characters, what HTML would read, and the two line ends of JavaScript.
func appendEscaped(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	asked, wide := false, false // whether the text is UTF-8: once, and only if it isn't ASCII
	for len(text) > 0 {
		n := plainPrefix(text, wide)
		if n < len(text) && text[n] >= utf8.RuneSelf && !asked {
			asked, wide = true, utf8.Valid(text[n:])
			n += plainPrefix(text[n:], wide)
		}
		dst = append(dst, text[:n]...)
		if text = text[n:]; len(text) == 0 {
			break
		}
		b := text[0]
		if b >= utf8.RuneSelf {
			r, width := utf8.DecodeRune(text)
			switch {
			case r == utf8.RuneError && width == 1:
				dst = append(dst, `\ufffd`...)
			case r == '\u2028' || r == '\u2029':
				dst = append(dst, `\u202`...)
				dst = append(dst, hex[r&15])
			default:
				dst = append(dst, text[:width]...)
			}
			text = text[width:]
			continue
		}
		switch b {
		case '"', '\\':
			dst = append(dst, '\\', b)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
		text = text[1:]
	}
	return dst
}

// plainPrefix answers how many bytes text begins with that need no escape. Those of other characters than ASCII's are among them if
// wide says that all of text is UTF-8, but for 0xe2, which may begin a line end of JavaScript's.
//
// It looks at eight bytes at a time ("Bit Twiddling Hacks", S. E. Anderson): where a byte of v is below 0x80, the high bit of
// v-n tells whether it is below n, and that of (v^c)-1 whether it is c. A borrow makes that wrong only above a byte of which
// it is true, and the lowest is what counts.
func plainPrefix(text []byte, wide bool) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(text); i += 8 {
		v := binary.LittleEndian.Uint64(text[i:])
		special := (v - ' '*ones) | ((v ^ '"'*ones) - ones) | ((v ^ '\\'*ones) - ones) | ((v ^ '&'*ones) - ones) |
			(((v | 2*ones) ^ '>'*ones) - ones) // '<' is '>' without that bit
		if wide {
			e2 := v ^ 0xe2*ones
			special = special&^v | (e2-ones)&^e2
		} else {
			special |= v
		}
		if special &= highs; special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for ; i < len(text); i++ {
		switch b := text[i]; {
		case b < ' ', b == '"', b == '\\', b == '&', b == '<', b == '>', b == 0xe2, b >= utf8.RuneSelf && !wide:
			return i
		}
	}
	return i
}

// textLength answers how many bytes of a command's output stand in records that appendRecord wrote. Each escape stands for one byte,
// but those of U+2028 and U+2029; a U+FFFD that the command wrote itself is not escaped.
func textLength(records []byte) int64 {
	var length int64
	for line := range bytes.Lines(records) {
		text, _ := bytes.CutPrefix(line, []byte(`{"log":"`))
		for len(text) > 0 && text[0] != '"' {
			width := 1
			switch {
			case text[0] != '\\':
			case bytes.HasPrefix(text, []byte(`\u202`)):
				width, length = 6, length+2
			case text[1] == 'u':
				width = 6
			default:
				width = 2
			}
			text, length = text[min(width, len(text)):], length+1
		}
	}
	return length
}

// A record is what a line of the file says. Its slices are good until the next line is parsed.
type record struct {
	text   []byte
	stream Stream
	stamp  []byte // as it is written
}

// time answers when the record was made; the zero time where nobody can tell.
func (r record) time() time.Time {
	t, err := time.Parse(time.RFC3339Nano, string(r.stamp))
	if err != nil {
		return time.Time{}
	}
	return t
}

// endsLine tells whether the record ends a line of the command's.
func (r record) endsLine() bool { return bytes.HasSuffix(r.text, []byte{'\n'}) }

// A parser reads records. Lines of our own form are read at the speed of the disk, others by encoding/json.
type parser struct{ text []byte }

// parse answers false for what is no record.
func (p *parser) parse(line []byte) (record, bool) {
	if r, ok := p.own(line); ok {
		return r, true
	}
	var foreign struct {
		Log    *string `json:"log"`
		Stream string  `json:"stream"`
		Time   string  `json:"time"`
	}
	if json.Unmarshal(line, &foreign) != nil || foreign.Log == nil {
		return record{}, false
	}
	r := record{text: []byte(*foreign.Log), stamp: []byte(foreign.Time)}
	if foreign.Stream == "stderr" {
		r.stream = Stderr
	}
	return r, true
}

// own reads what appendRecord wrote, and answers false for anything else.
func (p *parser) own(line []byte) (record, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"log":"`))
	if !ok || !utf8.Valid(line) {
		return record{}, false
	}
	if rest, ok = p.unescape(rest); !ok {
		return record{}, false
	}
	r := record{text: p.text}
	if after, ok := bytes.CutPrefix(rest, []byte(`,"stream":"stdout","time":"`)); ok {
		rest = after
	} else if after, ok := bytes.CutPrefix(rest, []byte(`,"stream":"stderr","time":"`)); ok {
		rest, r.stream = after, Stderr
	} else {
		return record{}, false
	}
	stamp, ok := bytes.CutSuffix(rest, []byte(`"}`))
	if !ok || plainPrefix(stamp, false) != len(stamp) {
		return record{}, false
	}
	r.stamp = stamp
	return r, true
}

// unescape writes a JSON string, which begins behind its quote, to p.text, and answers what follows it.
func (p *parser) unescape(rest []byte) ([]byte, bool) {
	p.text = p.text[:0]
	quote := bytes.IndexByte(rest, '"')
	for quote >= 0 {
		escape := bytes.IndexByte(rest[:quote], '\\')
		if escape < 0 {
			p.text = append(p.text, rest[:quote]...)
			return rest[quote+1:], true
		}
		p.text = append(p.text, rest[:escape]...)
		rest, quote = rest[escape+1:], quote-escape-1
		width := 1
		switch rest[0] {
		case '"', '\\', '/':
			p.text = append(p.text, rest[0])
		case 'n':
			p.text = append(p.text, '\n')
		case 'r':
			p.text = append(p.text, '\r')
		case 't':
			p.text = append(p.text, '\t')
		case 'u':
			if width = 5; quote < width {
				return nil, false
			}
			r, err := strconv.ParseUint(string(rest[1:5]), 16, 16)
			if err != nil || 0xd800 <= r && r < 0xe000 { // half of a character: not of ours
				return nil, false
			}
			p.text = utf8.AppendRune(p.text, rune(r))
		default:
			return nil, false
		}
		rest, quote = rest[width:], quote-width
		if quote < 0 { // it was escaped
			quote = bytes.IndexByte(rest, '"')
		}
	}
	return nil, false
}

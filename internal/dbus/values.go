package dbus

import (
	"encoding/binary"
	"fmt"
)

// An Encoder writes values, little-endian, each aligned to its size. The zero value is ready, for a body.
type Encoder struct{ buf []byte }

// Bytes returns what was written.
func (e *Encoder) Bytes() []byte { return e.buf }

func (e *Encoder) pad(to int) {
	for len(e.buf)%to != 0 {
		e.buf = append(e.buf, 0)
	}
}

// Uint32 writes a u.
func (e *Encoder) Uint32(n uint32) {
	e.pad(4)
	e.buf = binary.LittleEndian.AppendUint32(e.buf, n)
}

// Uint64 writes a t.
func (e *Encoder) Uint64(n uint64) {
	e.pad(8)
	e.buf = binary.LittleEndian.AppendUint64(e.buf, n)
}

// Bool writes a b.
func (e *Encoder) Bool(b bool) {
	if b {
		e.Uint32(1)
	} else {
		e.Uint32(0)
	}
}

// String writes an s or an o.
func (e *Encoder) String(s string) {
	e.Uint32(uint32(len(s)))
	e.buf = append(append(e.buf, s...), 0)
}

// Signature writes a g, which is also what a variant begins with.
func (e *Encoder) Signature(s string) {
	e.buf = append(append(append(e.buf, byte(len(s))), s...), 0)
}

// Struct begins a struct or a dictionary's entry.
func (e *Encoder) Struct() { e.pad(8) }

// Array writes an array of elements of the given alignment, which the function writes.
func (e *Encoder) Array(alignment int, elements func()) {
	e.Uint32(0)
	length := len(e.buf) - 4
	e.pad(alignment) // does not count as length
	start := len(e.buf)
	elements()
	binary.LittleEndian.PutUint32(e.buf[length:], uint32(len(e.buf)-start))
}

// A Decoder reads values that somebody else wrote. After the first that isn't there it answers zero values, and Err says so.
type Decoder struct {
	data  []byte
	pos   int
	order binary.ByteOrder
	err   error
}

// Err returns what was wrong with the values so far.
func (d *Decoder) Err() error { return d.err }

func (d *Decoder) fail() {
	if d.err == nil {
		d.err = fmt.Errorf("%w: a value at byte %d does not fit", errMalformed, d.pos)
	}
	d.pos = len(d.data)
}

// take returns the next n bytes; n is at most 2^32, so the sum does not overflow.
func (d *Decoder) take(n int64) []byte {
	if d.err != nil || int64(d.pos)+n > int64(len(d.data)) {
		d.fail()
		return nil
	}
	b := d.data[d.pos : d.pos+int(n)]
	d.pos += int(n)
	return b
}

func (d *Decoder) align(to int) { d.take(int64(-d.pos & (to - 1))) }

func (d *Decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint32 reads a u or a b.
func (d *Decoder) Uint32() uint32 {
	d.align(4)
	if b := d.take(4); b != nil {
		return d.order.Uint32(b)
	}
	return 0
}

// String reads an s or an o.
func (d *Decoder) String() string { return d.text(int64(d.Uint32())) }

// Signature reads a g.
func (d *Decoder) Signature() string { return d.text(int64(d.byte())) }

// text reads n bytes and the NUL behind them.
func (d *Decoder) text(n int64) string {
	b := d.take(n + 1)
	if b == nil {
		return ""
	}
	if b[n] != 0 {
		d.fail()
		return ""
	}
	return string(b[:n])
}

// basic reads a value of one basic type: what there is of text, or of a number of 32 bits.
func (d *Decoder) basic(signature string) (text string, number uint32) {
	var width int
	switch signature {
	case "s", "o":
		return d.String(), 0
	case "g":
		return d.Signature(), 0
	case "u", "b", "i", "h":
		return "", d.Uint32()
	case "y":
		width = 1
	case "n", "q":
		width = 2
	case "x", "t", "d":
		width = 8
	default: // no header field has a container for a value, and none will: a client must be able to pass over it
		d.fail()
		return "", 0
	}
	d.align(width)
	d.take(int64(width))
	return "", 0
}

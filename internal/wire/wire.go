// Package wire passes plain data from this binary to another copy of it, quickly and in little memory.
//
// Both ends are one build, so there are neither field names nor versions: a type is described by one function that visits its
// fields in order, and the same function writes them and reads them. Integers are varints, lengths come before what
// they count. encoding/json would do the same, by reflection that costs PID 1 60 kB and each start half a millisecond.
package wire

import (
	"encoding/binary"
	"errors"
)

// ErrFormat is what Decode returns for bytes that Encode did not make of the same type.
var ErrFormat = errors.New("malformed record")

// A Codec is at one place of a record, which it writes or reads. After an error it does nothing.
type Codec struct {
	data    []byte // what was written, or is left to read
	reading bool
	failed  bool
}

// Encode returns the record of what fields visits.
func Encode(fields func(*Codec)) []byte {
	c := &Codec{data: make([]byte, 0, 512)}
	fields(c)
	return c.data
}

// Decode has fields visit what the record sets. It may have set some of it when it returns ErrFormat.
func Decode(record []byte, fields func(*Codec)) error {
	c := &Codec{data: record, reading: true}
	fields(c)
	if c.failed || len(c.data) > 0 {
		return ErrFormat
	}
	return nil
}

// String visits a string, of any bytes.
func (c *Codec) String(s *string) {
	if !c.reading {
		c.data = append(binary.AppendUvarint(c.data, uint64(len(*s))), *s...)
		return
	}
	*s = string(c.take())
}

// Bytes visits a slice of bytes. An empty one is read as nil; what is read is a part of the record.
func (c *Codec) Bytes(b *[]byte) {
	if !c.reading {
		c.data = append(binary.AppendUvarint(c.data, uint64(len(*b))), *b...)
		return
	}
	if *b = c.take(); len(*b) == 0 {
		*b = nil
	}
}

// Bool visits a truth.
func (c *Codec) Bool(b *bool) {
	var number uint8
	if *b {
		number = 1
	}
	Int(c, &number)
	*b = number != 0
}

// Int visits an integer.
func Int[T ~int | ~int64 | ~uint8 | ~uint32 | ~uint64 | ~uintptr](c *Codec, number *T) {
	if !c.reading {
		c.data = binary.AppendUvarint(c.data, uint64(*number))
		return
	}
	*number = T(c.number())
}

// List visits a slice by its elements. An empty one is read as nil.
func List[T any](c *Codec, list *[]T, element func(*Codec, *T)) {
	if !c.reading {
		c.data = binary.AppendUvarint(c.data, uint64(len(*list)))
	} else {
		count := c.number()
		*list = nil
		if count > uint64(len(c.data)) { // each element takes a byte at least
			c.failed = true
		} else if count > 0 {
			*list = make([]T, count)
		}
	}
	for i := range *list {
		element(c, &(*list)[i])
	}
}

// Strings visits a slice of strings.
func (c *Codec) Strings(list *[]string) { List(c, list, (*Codec).String) }

// Optional visits what a pointer may point to.
func Optional[T any](c *Codec, p **T, value func(*Codec, *T)) {
	there := *p != nil
	c.Bool(&there)
	if !there {
		return
	}
	if c.reading {
		*p = new(T)
	}
	value(c, *p)
}

func (c *Codec) number() uint64 {
	if c.failed {
		return 0
	}
	n, length := binary.Uvarint(c.data)
	if length <= 0 {
		c.failed = true
		return 0
	}
	c.data = c.data[length:]
	return n
}

func (c *Codec) take() []byte {
	length := c.number()
	if length > uint64(len(c.data)) {
		c.failed = true
		return nil
	}
	taken := c.data[:length]
	c.data = c.data[length:]
	return taken
}

package dbus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Kind is a message's type.
type Kind byte

const (
	MethodCall Kind = 1 + iota
	MethodReturn
	ErrorReply
	Signal
)

// A Message is what goes over the bus. Which fields it has depends on its kind.
type Message struct {
	Kind        Kind
	Serial      uint32
	ReplySerial uint32 // of the call that a return or an error answers

	Destination, Sender     string
	Path, Interface, Member string
	Error                   string // the error's name

	Signature string // of the body
	Body      []byte

	order binary.ByteOrder // the sender's choice
}

// Codes of header fields.
const (
	fieldPath = 1 + iota
	fieldInterface
	fieldMember
	fieldError
	fieldReplySerial
	fieldDestination
	fieldSender
	fieldSignature
)

// fixedSize is the part of a header that has the same size in every message: up to and with the length of the fields.
const fixedSize = 16

// maxSize of a message is far above what we ask for, and far below the specification's 128 MiB.
const maxSize = 1 << 20

var errMalformed = errors.New("malformed D-Bus message")

// Marshal returns the message as it goes over the wire.
func (m *Message) Marshal() []byte {
	e := &Encoder{}
	e.buf = append(e.buf, 'l', byte(m.Kind), 0, 1) // little-endian, no flags, protocol version 1
	e.Uint32(uint32(len(m.Body)))
	e.Uint32(m.Serial)
	e.Array(8, func() {
		field := func(code byte, signature string) {
			e.Struct()
			e.buf = append(e.buf, code)
			e.Signature(signature)
		}
		for _, f := range [...]struct {
			code             byte
			signature, value string
		}{
			{fieldPath, "o", m.Path},
			{fieldInterface, "s", m.Interface},
			{fieldMember, "s", m.Member},
			{fieldError, "s", m.Error},
			{fieldDestination, "s", m.Destination},
			{fieldSender, "s", m.Sender},
		} {
			if f.value != "" {
				field(f.code, f.signature)
				e.String(f.value)
			}
		}
		if m.ReplySerial != 0 {
			field(fieldReplySerial, "u")
			e.Uint32(m.ReplySerial)
		}
		if m.Signature != "" {
			field(fieldSignature, "g")
			e.Signature(m.Signature)
		}
	})
	e.pad(8)
	return append(e.buf, m.Body...)
}

// size returns how long the message is that begins with these fixedSize bytes.
func size(fixed []byte) (int, error) {
	order, err := byteOrder(fixed[0])
	if err != nil {
		return 0, err
	}
	if fixed[3] != 1 {
		return 0, fmt.Errorf("%w: protocol version %d", errMalformed, fixed[3])
	}
	body, fields := uint64(order.Uint32(fixed[4:])), uint64(order.Uint32(fixed[12:]))
	total := fixedSize + (fields+7)&^7 + body
	if total > maxSize {
		return 0, fmt.Errorf("%w: %d bytes are too many", errMalformed, total)
	}
	return int(total), nil
}

func byteOrder(mark byte) (binary.ByteOrder, error) {
	switch mark {
	case 'l':
		return binary.LittleEndian, nil
	case 'B':
		return binary.BigEndian, nil
	}
	return nil, fmt.Errorf("%w: byte order %q", errMalformed, mark)
}

// Read reads the next message.
func Read(from *bufio.Reader) (*Message, error) {
	fixed, err := from.Peek(fixedSize)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	total, err := size(fixed)
	if err != nil {
		return nil, err
	}
	data := make([]byte, total)
	if _, err := io.ReadFull(from, data); err != nil {
		return nil, err
	}
	return decode(data)
}

// decode reads a whole message. Fields that it doesn't know are passed over, as the specification asks.
func decode(data []byte) (*Message, error) {
	if len(data) < fixedSize {
		return nil, errMalformed
	}
	total, err := size(data)
	if err != nil {
		return nil, err
	}
	if total != len(data) {
		return nil, fmt.Errorf("%w: %d bytes, and %d announced", errMalformed, len(data), total)
	}
	m := &Message{Kind: Kind(data[1])}
	m.order, _ = byteOrder(data[0])
	m.Serial = m.order.Uint32(data[8:])
	end := fixedSize + int(m.order.Uint32(data[12:]))
	d := &Decoder{data: data[:end], pos: fixedSize, order: m.order}
	for d.pos < end && d.err == nil {
		d.align(8)
		code, signature := d.byte(), d.Signature()
		text, number := d.basic(signature)
		switch code {
		case fieldPath:
			m.Path = text
		case fieldInterface:
			m.Interface = text
		case fieldMember:
			m.Member = text
		case fieldError:
			m.Error = text
		case fieldReplySerial:
			m.ReplySerial = number
		case fieldDestination:
			m.Destination = text
		case fieldSender:
			m.Sender = text
		case fieldSignature:
			m.Signature = text
		}
	}
	m.Body = data[(end+7)&^7:]
	return m, d.err
}

// Values begins to read the body, which must have the given signature.
func (m *Message) Values(signature string) *Decoder {
	d := &Decoder{data: m.Body, order: m.order}
	if m.Signature != signature {
		d.err = fmt.Errorf("%w: its values are %q, want %q", errMalformed, m.Signature, signature)
	}
	return d
}

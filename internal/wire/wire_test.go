package wire

import (
	"errors"
	"math"
	"reflect"
	"testing"
)

type thing struct {
	Name  string
	Raw   []byte
	Yes   bool
	Small uint8
	Big   uint64
	Minus int
	Names []string
	Less  *thing
	More  []thing
}

func (t *thing) visit(c *Codec) {
	c.String(&t.Name)
	c.Bytes(&t.Raw)
	c.Bool(&t.Yes)
	Int(c, &t.Small)
	Int(c, &t.Big)
	Int(c, &t.Minus)
	c.Strings(&t.Names)
	Optional(c, &t.Less, func(c *Codec, t *thing) { t.visit(c) })
	List(c, &t.More, func(c *Codec, t *thing) { t.visit(c) })
}

func TestThereAndBack(t *testing.T) {
	for _, want := range []thing{
		{},
		{
			Name: "\x00\xff ü", Raw: []byte{0}, Yes: true, Small: 255, Big: math.MaxUint64, Minus: math.MinInt, Names: []string{"", "b"},
			Less: &thing{Minus: -1}, More: []thing{{}, {Less: &thing{}, Name: "last"}},
		},
	} {
		var got thing
		if err := Decode(Encode(want.visit), got.visit); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v came back as %+v: %v", want, got, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	whole := Encode((&thing{Name: "name", Names: []string{"a"}, More: []thing{{Name: "x"}}}).visit)
	for i := range whole {
		if err := Decode(whole[:i], new(thing).visit); !errors.Is(err, ErrFormat) {
			t.Errorf("the first %d bytes of %d: %v", i, len(whole), err)
		}
	}
	if err := Decode(append(whole, 0), new(thing).visit); !errors.Is(err, ErrFormat) {
		t.Error("a byte too many: ", err)
	}
	var list []thing
	if err := Decode([]byte{0xff, 0xff, 0xff, 0xff, 0x7f}, func(c *Codec) { List(c, &list, func(*Codec, *thing) {}) }); !errors.Is(err, ErrFormat) || list != nil {
		t.Errorf("a list longer than its record: %d, %v", len(list), err)
	}
}

// FuzzDecode: whatever comes, it ends without a panic, and what could be read is written as something that reads the same.
func FuzzDecode(f *testing.F) {
	f.Add(Encode(new(thing).visit))
	f.Add(Encode((&thing{Name: "n", Less: &thing{}, More: []thing{{}}}).visit))
	f.Fuzz(func(t *testing.T, record []byte) {
		var first, second thing
		if Decode(record, first.visit) != nil {
			return
		}
		if err := Decode(Encode(first.visit), second.visit); err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("%+v, then %+v: %v", first, second, err)
		}
	})
}

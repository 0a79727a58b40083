package compress

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}

func TestNewReader(t *testing.T) {
	text := []byte(strings.Repeat("layer ", 100_000))
	tests := []struct {
		name string
		in   []byte
		kind Kind
		want []byte
	}{
		{"plain", text, None, text},
		{"empty", nil, None, nil},
		{"one byte", []byte{0x1f}, None, []byte{0x1f}},
		{"gzip", gzipped(t, text), Gzip, text},
		{"two gzip members", append(gzipped(t, text), gzipped(t, text)...), Gzip, append(bytes.Clone(text), text...)},
		{"zstd", zstded(t, text), Zstd, text},
		{"two zstd frames", append(zstded(t, text), zstded(t, text)...), Zstd, append(bytes.Clone(text), text...)},
		{"skippable frame", append([]byte{0x5e, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'}, zstded(t, text)...), Zstd, text},
	}
	for _, test := range tests {
		r, kind, err := NewReader(bytes.NewReader(test.in))
		if err != nil || kind != test.kind {
			t.Errorf("%s: kind %s, %v; want %s", test.name, kind, err, test.kind)
			continue
		}
		got, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, test.want) {
			t.Errorf("%s: %d bytes, %v; want %d", test.name, len(got), err, len(test.want))
		}
	}
}

func TestTruncated(t *testing.T) {
	text := []byte(strings.Repeat("layer ", 1000))
	for name, whole := range map[string][]byte{"gzip": gzipped(t, text), "zstd": zstded(t, text)} {
		for n := 6; n < len(whole); n++ {
			r, _, err := NewReader(bytes.NewReader(whole[:n]))
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				r.Close()
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%s of %d bytes cut at %d: %v", name, len(whole), n, err)
			}
		}
	}
}

func TestUnsupported(t *testing.T) {
	for _, in := range []string{"BZh91AY&SY", "\xfd7zXZ\x00\x00\x04"} {
		if _, _, err := NewReader(strings.NewReader(in)); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("broken")
	if _, _, err := NewReader(io.MultiReader(strings.NewReader("x"), errReader{broken})); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// FuzzUnpack unpacks arbitrary bytes. Nothing outside may change, what is left must be removable, and what was
// unpacked can be packed.
func FuzzUnpack(f *testing.F) {
	for _, entries := range stack {
		f.Add(archive(f, entries...))
	}
	f.Add(archive(f, symlink("l", "../../outside"), file("l/file", "x"), hardlink("h", "l/file"), file("../file", "x")))
	f.Add(archive(f, dir("d").mode(0o777), file("d/a", "x"), symlink("d", "../.."), file("d/.wh.a", ""), special("d/c", tar.TypeChar)))
	f.Add(archive(f, file("x", "x").xattr("user.overlay.opaque", "y").owner(-1, 1<<32)))
	y := newFuzzYard(f)
	f.Fuzz(func(t *testing.T, data []byte) { y.check(t, repaired(data)) })
}

// repaired gives each header of data the checksum that it should have: no mutation survives it otherwise.
func repaired(data []byte) []byte {
	data = bytes.Clone(data)
	for at := 0; at+512 <= len(data); at += 512 {
		block := data[at : at+512]
		if string(block[257:262]) != "ustar" {
			continue
		}
		copy(block[148:156], "        ")
		sum := 0
		for _, b := range block {
			sum += int(b)
		}
		copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return data
}

// FuzzEntries reads its input as entries with few names, so that they meet: every three bytes are a type, a name and
// a target.
func FuzzEntries(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		program := make([]byte, 3*40)
		for i := range program {
			program[i] = byte(random.Uint32())
		}
		f.Add(program)
	}
	y := newFuzzYard(f)
	f.Fuzz(func(t *testing.T, program []byte) { y.check(t, archive(t, entriesOf(program, y.base)...)) })
}

// entriesOf names nothing absolute but base, so that a broken Unpack harms the yard alone, even as root.
func entriesOf(program []byte, base string) (entries []entry) {
	names := []string{
		"a", "b", "a/b", "b/a", "a/b/a", "b/a/b", "a/a/b/b", ".", "a/..", "..", "../file", "/a", "c/file", "c", "a/c", "a/c/b",
		".wh.a", "a/.wh.b", "b/.wh..wh..opq", ".wh..wh..opq", "a/b/.wh..wh..opq", "c/.wh.file", ".wh..", "a/.wh.c",
	}
	targets := []string{
		"a", "b", "a/b", "../a", "/b/a", "..", "../..", "../../outside", "../../outside/file", ".", "a/../b", base,
		base + "/outside", base + "/outside/file", "/proc/self/cwd/no", "c",
	}
	types := []byte{tar.TypeReg, tar.TypeReg, tar.TypeDir, tar.TypeDir, tar.TypeSymlink, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo, tar.TypeChar}
	for op := range slices.Chunk(program, 3) {
		if len(op) < 3 || len(entries) == 100 {
			break
		}
		e := entry{Header: tar.Header{Typeflag: types[int(op[0])%len(types)], Name: names[int(op[1])%len(names)], Mode: 0o700 + int64(op[2])}}
		switch e.Typeflag {
		case tar.TypeReg:
			e.body = fmt.Sprint(len(entries))
		case tar.TypeSymlink, tar.TypeLink:
			e.Linkname = targets[int(op[2])%len(targets)]
		}
		entries = append(entries, e)
	}
	return entries
}

// A fuzzYard is a yard for many layers: making one for each would be most of the work.
type fuzzYard struct{ base, layers, before string }

func newFuzzYard(f *testing.F) *fuzzYard {
	base, root := yard(f)
	y := &fuzzYard{base: base, layers: filepath.Dir(root)}
	if err := os.Remove(root); err != nil {
		f.Fatal(err)
	}
	y.before = y.now(f)
	return y
}

// now lists the yard. The folder of the layers changes its time as they come and go.
func (y *fuzzYard) now(t testing.TB) string {
	if err := os.Chtimes(y.layers, epoch, epoch); err != nil {
		t.Fatal(err)
	}
	return list(t, y.base, "")
}

func (y *fuzzYard) check(t *testing.T, data []byte) {
	root, err := os.MkdirTemp(y.layers, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Unpack(context.Background(), root, bytes.NewReader(data), Options{TolerateChown: true, MaxBytes: 1 << 20, MaxEntries: 200})
	if err == nil {
		y.checkPack(t, root)
		// As the user who owns it: root of a namespace needs no mode to remove a folder.
		filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if d.IsDir() {
				os.Chmod(name, 0o700)
			}
			return nil
		})
	}
	if err := os.RemoveAll(root); err != nil {
		t.Errorf("what is left can't be removed: %v", err)
	}
	if after := y.now(t); after != y.before {
		t.Fatalf("outside changed:\n%s\nwas\n%s", after, y.before)
	}
}

// checkPack: packing is a fixed point after one round.
func (y *fuzzYard) checkPack(t *testing.T, root string) {
	var first, second bytes.Buffer
	if err := Pack(context.Background(), &first, root); errors.Is(err, fs.ErrPermission) {
		return
	} else if err != nil {
		t.Fatalf("pack what was unpacked: %v", err)
	}
	again, err := os.MkdirTemp(y.layers, "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(again)
	if _, err := Unpack(context.Background(), again, bytes.NewReader(first.Bytes()), Options{TolerateChown: true}); err != nil {
		t.Fatalf("unpack what was packed: %v", err)
	}
	if err := Pack(context.Background(), &second, again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("packed, unpacked and packed again differs")
	}
}

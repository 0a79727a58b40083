package layer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
)

// BenchmarkUnpack unpacks what images are made of. Each round has a folder of its own and all are removed at the end:
// ext4 is several times slower where a large tree was just deleted.
func BenchmarkUnpack(b *testing.B) {
	random := rand.NewChaCha8([32]byte{})
	noise := func(size int) string {
		data := make([]byte, size)
		random.Read(data)
		return string(data)
	}
	var small, links []entry
	for d := range 100 {
		small = append(small, dir(fmt.Sprintf("usr/share/d%d", d)))
		for f := range 100 {
			small = append(small, file(fmt.Sprintf("usr/share/d%d/f%d", d, f), noise(2000)))
			links = append(links, symlink(fmt.Sprintf("usr/share/d%d/f%d", d, f), "../../lib/x"))
		}
	}
	base := b.TempDir()
	for _, bench := range []struct {
		name    string
		entries []entry
	}{
		{"small", small},
		{"links", links},
		{"large", []entry{file("model", noise(128<<20))}},
		{"sparse", []entry{file("disk", string(make([]byte, 128<<20)))}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			data := archive(b, bench.entries...)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				root, err := os.MkdirTemp(base, "")
				if err != nil {
					b.Fatal(err)
				}
				if _, err := Unpack(context.Background(), root, bytes.NewReader(data), Options{TolerateChown: true}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(bench.entries)*b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func pack(t testing.TB, root string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Pack(context.Background(), &b, root); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPackRoundTrip: what Unpack makes of Pack's bytes is the tree again, and packs to the same bytes.
func TestPackRoundTrip(t *testing.T) {
	long := strings.Repeat("long/", 60) + strings.Repeat("n", 200)
	root, _ := unpack(t,
		dir("./").mode(0o711),
		file("a", "a").mode(0o4755), hardlink("b/c", "a"), hardlink("a2", "a"), symlink("l", strings.Repeat("../", 60)+"x"), hardlink("l2", "l"),
		file(long, "deep"), file("\xff", "not UTF-8"), file("empty", ""), file("x", "x").xattr("user.a", "1\x00").xattr("user.empty", "").xattr("user.long", strings.Repeat("long", 700)),
		special("fifo", tar.TypeFifo), dir("sticky").mode(0o1777).xattr("user.d", "d"),
		file("etc/.wh.motd", ""), file("var/.wh..wh..opq", ""), file("var/x", "x"), file("sparse", string(make([]byte, 1<<20))),
	)
	settleTimes(t, root)
	first := pack(t, root)
	again := t.TempDir()
	if _, err := Unpack(context.Background(), again, bytes.NewReader(first), Options{TolerateChown: true}); err != nil {
		t.Fatal(err)
	}
	if got, want := list(t, again, ""), list(t, root, ""); withoutWhiteoutTimes(got) != withoutWhiteoutTimes(want) {
		t.Errorf("round trip gives\n%s\nwant\n%s", got, want)
	}
	if !bytes.Equal(pack(t, again), first) {
		t.Error("the same tree packs to other bytes")
	}
}

// settleTimes gives folders that no entry named a time in whole seconds, as a layer keeps them.
func settleTimes(t testing.TB, root string) {
	filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if d.IsDir() {
			os.Chtimes(name, epoch, epoch)
		}
		return err
	})
}

func withoutWhiteoutTimes(listing string) string {
	var b strings.Builder
	for line := range strings.Lines(listing) {
		if strings.Contains(line, "dev=0") {
			line = strings.Fields(line)[0] + " whiteout\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

func TestPackOrder(t *testing.T) {
	root, _ := unpack(t, file("b/x", ""), file("a", ""), file("b/.wh.gone", ""), file("b/.wh..wh..opq", ""), file("c", ""))
	var names []string
	r := tar.NewReader(bytes.NewReader(pack(t, root)))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if got, want := strings.Join(names, " "), "./ a c b/ b/.wh..wh..opq b/x"; got != want {
		t.Errorf("entries %s, want %s", got, want)
	}
}

func TestPackRefuses(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, ".wh.etc"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var bad *EntryError
	if err := Pack(context.Background(), io.Discard, root); !errors.As(err, &bad) || bad.Entry != ".wh.etc" {
		t.Errorf("a file that would be a whiteout: %v", err)
	}
}

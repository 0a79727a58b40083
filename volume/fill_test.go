package volume_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/minipod/minipod/volume"
)

// fromImage copies what an image has at the mount point: two files, in a folder of mode 0700.
func fromImage(dir string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "one"), []byte("1"), 0o600),
		os.WriteFile(filepath.Join(dir, "two"), []byte("2"), 0o600),
		os.Chmod(dir, 0o700),
	)
}

func mustNotCopy(t *testing.T) func(string) error {
	return func(string) error { t.Helper(); t.Error("copied again"); return nil }
}

func volumeAt(t *testing.T) string {
	t.Helper()
	s, _ := open(t)
	v, err := s.Create("data", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.Mountpoint
}

func checkFilled(t *testing.T, mountpoint string) {
	t.Helper()
	for _, name := range []string{"one", "two"} {
		if _, err := os.Stat(filepath.Join(mountpoint, name)); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(mountpoint); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the volume: %v, %v; want the image's 0700", info.Mode(), err)
	}
	for _, left := range []string{"_copy", "_ready"} {
		if _, err := os.Stat(filepath.Join(mountpoint, "..", left)); err == nil {
			t.Errorf("%s is left behind", left)
		}
	}
	if needs, err := volume.NeedsFill(mountpoint); err != nil || needs {
		t.Errorf("NeedsFill = %t, %v after Fill", needs, err)
	}
}

func TestFillOnce(t *testing.T) {
	at := volumeAt(t)
	if needs, err := volume.NeedsFill(at); err != nil || !needs {
		t.Fatalf("NeedsFill of a new volume = %t, %v", needs, err)
	}
	if err := volume.Fill(at, fromImage); err != nil {
		t.Fatal(err)
	}
	checkFilled(t, at)
	if err := volume.Fill(at, mustNotCopy(t)); err != nil {
		t.Error(err)
	}
}

func TestFillLeavesUsedVolumesAlone(t *testing.T) {
	at := volumeAt(t)
	if err := os.WriteFile(filepath.Join(at, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := volume.Fill(at, mustNotCopy(t)); err != nil {
		t.Error(err)
	}
}

func TestFillFailedIsUndone(t *testing.T) {
	at := volumeAt(t)
	full := errors.New("no space left")
	err := volume.Fill(at, func(dir string) error { return errors.Join(fromImage(dir), full) })
	if !errors.Is(err, full) {
		t.Fatalf("Fill = %v", err)
	}
	if err := volume.Fill(at, fromImage); err != nil {
		t.Fatal(err)
	}
	checkFilled(t, at)
}

// A fill dies by kill -9 at each point of the drawing in doc.go; the next one completes it.
func TestFillAfterDeath(t *testing.T) {
	for name, died := range map[string]func(t *testing.T, dir string){
		"in the middle of the copy": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "_copy", "one"), "half")
			write(t, filepath.Join(dir, "_copy", "half"), "half")
		},
		"after the copy": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "_ready", "one"), "1")
			write(t, filepath.Join(dir, "_ready", "two"), "2")
		},
		"between two moves": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "_data", "one"), "1")
			write(t, filepath.Join(dir, "_ready", "two"), "2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			at := volumeAt(t)
			died(t, filepath.Dir(at))
			if needs, err := volume.NeedsFill(at); err != nil || !needs {
				t.Errorf("NeedsFill = %t, %v", needs, err)
			}
			if err := volume.Fill(at, fromImage); err != nil {
				t.Fatal(err)
			}
			checkFilled(t, at)
			if _, err := os.Stat(filepath.Join(at, "half")); err == nil {
				t.Error("what the dead one copied was taken for whole")
			}
			if one, err := os.ReadFile(filepath.Join(at, "one")); err != nil || string(one) != "1" {
				t.Errorf("one = %q, %v", one, err)
			}
		})
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

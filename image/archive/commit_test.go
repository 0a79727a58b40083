package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"

	"codeberg.org/minipod/minipod/image/layer"
	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestCommitConfig(t *testing.T) {
	base := ocispec.ImageConfig{Cmd: []string{"sh"}, Entrypoint: []string{"tini"}, Env: []string{"A=1"}, Labels: map[string]string{"a": "1"}}
	for _, tt := range []struct {
		options CommitOptions
		want    ocispec.ImageConfig
	}{
		{CommitOptions{}, base},
		{
			CommitOptions{Command: []string{"top"}, Labels: map[string]string{"b": "2"}},
			ocispec.ImageConfig{Cmd: []string{"top"}, Entrypoint: []string{"tini"}, Env: []string{"A=1"}, Labels: map[string]string{"a": "1", "b": "2"}},
		},
		{
			CommitOptions{Changes: []string{`entrypoint ["x"]`, "ENV A=2 B=3"}},
			ocispec.ImageConfig{Entrypoint: []string{"x"}, Env: []string{"A=2", "B=3"}, Labels: base.Labels},
		},
		{
			CommitOptions{Changes: []string{`CMD ["y"]`, `ENTRYPOINT ["x"]`}},
			ocispec.ImageConfig{Cmd: []string{"y"}, Entrypoint: []string{"x"}, Env: []string{"A=1"}, Labels: base.Labels},
		},
	} {
		got := base
		if err := commitConfig(&got, tt.options); err != nil {
			t.Errorf("%+v: %v", tt.options, err)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: %+v, want %+v", tt.options, got, tt.want)
		}
	}
	if base.Env[0] != "A=1" || len(base.Labels) != 1 {
		t.Errorf("the base was changed: %+v", base)
	}
	if err := commitConfig(&ocispec.ImageConfig{}, CommitOptions{Labels: map[string]string{"a": "1"}, Changes: []string{"LABEL b=2"}}); err != nil {
		t.Error(err)
	}
}

// TestCommit: what only docker knows of an image outlives the commit, and a failure leaves nothing.
func TestCommit(t *testing.T) {
	s, dirs := newStore(t)
	imported(t, s, "base:1")
	before := leftovers(t, dirs)
	ctx := context.Background()
	base, err := s.Resolve("base:1")
	if err != nil {
		t.Fatal(err)
	}
	add := func(w io.Writer) error {
		_, err := w.Write(tarOf(t, map[string]string{"added": "x"}))
		return err
	}
	_, err = Commit(ctx, s, base, CommitOptions{Layer: func(w io.Writer) error { return errors.Join(add(w), io.ErrClosedPipe) }})
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a layer that can't be written: %v", err)
	}
	if after := leftovers(t, dirs); !reflect.DeepEqual(before, after) {
		t.Errorf("a failure left %v, before %v", after, before)
	}
	name, err := reference.Parse("new:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Commit(ctx, s, withHealthcheck(t, s, base), CommitOptions{Name: name, Layer: add, Unpack: layer.Options{TolerateChown: true}, Message: "why", Author: "me"}); err != nil {
		t.Fatal(err)
	}
	img, err := s.Resolve("new:1")
	if err != nil {
		t.Fatal(err)
	}
	if len(img.Layers) != len(base.Layers)+1 || img.Config.Author != "me" || img.Config.History[len(img.Config.History)-1].Comment != "why" {
		t.Errorf("%+v", img.Config)
	}
	if dirs, err := s.LayerDirs(img); err != nil || len(dirs) != len(img.Layers) {
		t.Errorf("its layers: %v, %v", dirs, err)
	}
	data, err := s.ReadBlob(img.ID, 1<<20)
	if err != nil || !bytes.Contains(data, []byte(`"Healthcheck":{"Test":["NONE"]}`)) || bytes.Contains(data, []byte("container_config")) {
		t.Errorf("%s, %v", data, err)
	}
}

// withHealthcheck is base as docker might have written its config.
func withHealthcheck(t *testing.T, s *store.Store, base *store.Image) *store.Image {
	t.Helper()
	data, err := s.ReadBlob(base.ID, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	config["config"].(map[string]any)["Healthcheck"] = map[string]any{"Test": []string{"NONE"}}
	config["container_config"] = map[string]any{}
	if data, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	release, err := s.Hold(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	desc, err := s.PutBlob(context.Background(), ocispec.MediaTypeImageConfig, data)
	if err != nil {
		t.Fatal(err)
	}
	changed := *base
	changed.ID = desc.Digest
	return &changed
}

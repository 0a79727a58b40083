package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
)

func TestStore(t *testing.T) {
	dirs := state.Dirs{Data: t.TempDir()}
	a, b := Key{KindConfigMap, "default", "a"}, Key{KindConfigMap, "default", "a-b.c"}
	_, err := get(dirs, a)
	if !errors.Is(err, ErrNotFound) || err.Error() != `configmaps "a" not found` || hint.Of(err) != "list what is there with: minipod get configmaps -n default" {
		t.Errorf("an object that is not there: %v, hint %q", err, hint.Of(err))
	}
	if keys, err := List(dirs, KindConfigMap, ""); err != nil || len(keys) != 0 {
		t.Errorf("an empty store lists %v, %v", keys, err)
	}
	for _, k := range []Key{a, b, {KindConfigMap, "apps", "z"}, {KindSecret, "default", "a"}} {
		if err := Put(dirs, k.Kind, k.Namespace, k.Name, []byte(k.String())); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := get(dirs, a); err != nil || string(data) != `configmaps "a"` {
		t.Errorf("got %q, %v", data, err)
	}
	info, err := os.Stat(filepath.Join(dirs.Data, "kube/secrets/default/a.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a secret's file: %v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(dirs.Data, "kube/configmaps/default/.tmp-a.json-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if keys, err := List(dirs, KindConfigMap, ""); err != nil || !slices.Equal(keys, []Key{{KindConfigMap, "apps", "z"}, a, b}) {
		t.Errorf("all namespaces: %v, %v", keys, err)
	}
	if keys, err := List(dirs, KindConfigMap, "default"); err != nil || !slices.Equal(keys, []Key{a, b}) {
		t.Errorf("one namespace: %v, %v", keys, err)
	}
	if err := Put(dirs, a.Kind, a.Namespace, a.Name, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dirs.Data, "kube/configmaps/default/.tmp-a.json-1")); err == nil {
		t.Error("what a dead writer left is still there")
	}
	if err := Delete(dirs, a.Kind, a.Namespace, a.Name); err != nil {
		t.Error(err)
	}
	if err := Delete(dirs, a.Kind, a.Namespace, a.Name); !errors.Is(err, ErrNotFound) {
		t.Errorf("a second delete: %v", err)
	}
	if _, err := get(dirs, b); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
}

func TestNamesStayInside(t *testing.T) {
	dirs := state.Dirs{Data: t.TempDir()}
	for _, name := range []string{
		"", ".", "..", "../a", "a/b", "/a", ".a", "a.", "a..b", "-a", "a-", "A", "a_b", "a b", "a\x00", "ä", "a\n", strings.Repeat("a", 254),
	} {
		for _, k := range []Key{{KindSecret, "default", name}, {KindSecret, name, "a"}} {
			_, getting := Get(dirs, k.Kind, k.Namespace, k.Name)
			if putting, deleting := Put(dirs, k.Kind, k.Namespace, k.Name, nil), Delete(dirs, k.Kind, k.Namespace, k.Name); !errors.Is(putting, ErrName) || !errors.Is(getting, ErrName) || !errors.Is(deleting, ErrName) {
				t.Errorf("%q: put %v, get %v, delete %v", k, putting, getting, deleting)
			}
		}
		if name != "" {
			if _, err := List(dirs, KindSecret, name); !errors.Is(err, ErrName) {
				t.Errorf("list %q: %v", name, err)
			}
		}
	}
	if err := Put(dirs, KindSecret, "a.b", "a", nil); !errors.Is(err, ErrName) {
		t.Errorf("a namespace with a dot: %v", err)
	}
	if err := Put(dirs, "../x", "a", "a", nil); err == nil {
		t.Error("a kind may be a path")
	}
	if found, err := os.ReadDir(dirs.Data); err != nil || len(found) != 0 {
		t.Errorf("a refused name left %v, %v", found, err)
	}
}

func TestUpdate(t *testing.T) {
	dirs := state.Dirs{Data: t.TempDir()}
	k := Key{KindConfigMap, "default", "count"}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := Update(dirs, k.Kind, k.Namespace, k.Name, func(old []byte) ([]byte, error) {
				n, _ := strconv.Atoi(string(old))
				return []byte(strconv.Itoa(n + 1)), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	refused := errors.New("refused")
	if err := Update(dirs, k.Kind, k.Namespace, k.Name, func([]byte) ([]byte, error) { return []byte("x"), refused }); !errors.Is(err, refused) {
		t.Errorf("a change that fails: %v", err)
	}
	if data, err := Get(dirs, k.Kind, k.Namespace, k.Name); err != nil || string(data) != "8" {
		t.Errorf("eight updates made %s, %v", data, err)
	}
}

func TestReaders(t *testing.T) {
	dirs := state.Dirs{Data: t.TempDir()}
	put := func(kind, name, data string) {
		t.Helper()
		if err := Put(dirs, kind, "default", name, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	put(KindConfigMap, "c", `{"kind":"ConfigMap","data":{"a":"1"},"binaryData":{"b":"AAE="}}`)
	put(KindSecret, "s", `{"kind":"Secret","data":{"p":"aHVudGVyMg=="}}`)
	put(KindSecret, "broken", `{"data":{"p":"%"}}`)
	put(KindClaim, "own", `{"spec":{"accessModes":["ReadWriteOnce"]}}`)
	put(KindClaim, "given", `{"spec":{"volumeName":"shared","accessModes":["ReadOnlyMany"]}}`)
	if data, binary, err := ConfigMap(dirs, "default", "c"); err != nil || data["a"] != "1" || string(binary["b"]) != "\x00\x01" {
		t.Errorf("the ConfigMap: %v, %v, %v", data, binary, err)
	}
	if data, err := Secret(dirs, "default", "s"); err != nil || string(data["p"]) != "hunter2" {
		t.Errorf("the Secret: %v, %v", data, err)
	}
	if _, err := Secret(dirs, "default", "broken"); err == nil || !strings.HasPrefix(err.Error(), `decode secrets "broken": `) {
		t.Errorf("a broken Secret: %v", err)
	}
	if _, err := Secret(dirs, "other", "s"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another namespace's Secret: %v", err)
	}
	for name, want := range map[string]string{"own": "default_own", "given": "shared"} {
		if v, err := Claim(dirs, "default", name); err != nil || v != want {
			t.Errorf("the claim %s: %s, %v; want %s", name, v, err, want)
		}
	}
}

package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"codeberg.org/minipod/minipod/pod"
)

type objects map[string]map[string]string

func (o objects) ConfigMap(name string) (map[string]string, map[string][]byte, error) {
	if data, ok := o[name]; ok {
		return data, map[string][]byte{"bin": {0, 1}}, nil
	}
	return nil, nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (o objects) File(volume, name string) ([]byte, error) {
	return nil, fmt.Errorf("%s/%s: %w", volume, name, fs.ErrNotExist)
}

func (o objects) Secret(name string) (map[string][]byte, error) {
	data, ok := o[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	all := map[string][]byte{}
	for k, v := range data {
		all[k] = []byte(v)
	}
	return all, nil
}

func maker(t *testing.T, o objects, volumes ...pod.Volume) *Maker {
	t.Helper()
	return &Maker{
		Pod: &pod.Pod{Metadata: pod.Metadata{Name: "p", Labels: map[string]string{"a": "b"}}, Spec: pod.Spec{Volumes: volumes}},
		Dir: t.TempDir(), Objects: o,
		Claim: func(string) (string, string, error) { return t.TempDir(), "ns_claim", nil },
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// Files appear and change all at once, and what is not there any more goes.
func TestFiles(t *testing.T) {
	mode := int32(0o400)
	o := objects{"m": {"a": "1", "b": "2"}}
	m := maker(t, o, pod.Volume{Name: "v", ConfigMap: &pod.Files{Name: "m", DefaultMode: &mode}})
	made, err := m.Make("/none")
	if err != nil {
		t.Fatal(err)
	}
	dir := made["v"].Dir
	if !made["v"].ReadOnly || read(t, dir+"/a") != "1" || read(t, dir+"/bin") != "\x00\x01" {
		t.Errorf("%+v", made)
	}
	if info, err := os.Stat(dir + "/a"); err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("%v, %v", info, err)
	}
	before, _ := os.Readlink(dir + "/..data")
	if _, err := m.Make("/none"); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.Readlink(dir + "/..data"); again != before {
		t.Errorf("nothing changed, and %s became %s", before, again)
	}
	o["m"] = map[string]string{"a": "new", "c": "3"}
	if _, err := m.Make("/none"); err != nil {
		t.Fatal(err)
	}
	if read(t, dir+"/a") != "new" || read(t, dir+"/c") != "3" {
		t.Error("it has not changed")
	}
	if _, err := os.Lstat(dir + "/b"); err == nil {
		t.Error("b is there")
	}
	if left, _ := filepath.Glob(dir + "/..2*"); len(left) != 1 {
		t.Errorf("left behind: %q", left)
	}
}

func TestProjected(t *testing.T) {
	m := maker(t, objects{"m": {"a": "1"}}, pod.Volume{Name: "v", Projected: &pod.Projected{Sources: []pod.Projection{
		{ConfigMap: &pod.Files{Name: "m", Items: []pod.ToPath{{Key: "a", Path: "deep/er/x"}}}},
		{DownwardAPI: &pod.Downward{Items: []pod.DownwardFile{{Path: "deep/labels", FieldRef: &pod.FieldRef{FieldPath: "metadata.labels"}}}}},
	}}})
	made, err := m.Make("/none")
	if err != nil {
		t.Fatal(err)
	}
	dir := made["v"].Dir
	if read(t, dir+"/deep/er/x") != "1" || read(t, dir+"/deep/labels") != `a="b"` {
		t.Error("the files are others")
	}
}

func TestBadFiles(t *testing.T) {
	yes := true
	o := objects{"m": {"a": "1", "..": "up"}, "k": {"a": "1"}}
	for want, v := range map[string]pod.Volume{
		`MountVolume.SetUp failed for volume "v" : configmap "none" not found`: {ConfigMap: &pod.Files{Name: "none"}},
		`secret "none" not found`:                         {Secret: &pod.Secret{SecretName: "none"}},
		`configmap references non-existent config key: z`: {ConfigMap: &pod.Files{Name: "k", Items: []pod.ToPath{{Key: "z", Path: "z"}}}},
		`invalid path "../x"`:                             {ConfigMap: &pod.Files{Name: "k", Items: []pod.ToPath{{Key: "a", Path: "../x"}}}},
		`invalid path "/x"`:                               {ConfigMap: &pod.Files{Name: "k", Items: []pod.ToPath{{Key: "a", Path: "/x"}}}},
		`invalid path "x/../../y"`:                        {ConfigMap: &pod.Files{Name: "k", Items: []pod.ToPath{{Key: "a", Path: "x/../../y"}}}},
		`invalid path ".."`:                               {ConfigMap: &pod.Files{Name: "m"}},
		``:                                                {ConfigMap: &pod.Files{Name: "none", Optional: &yes}},
	} {
		v.Name = "v"
		err := maker(t, o, v).Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestHostPath(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, kind string
		good       bool
	}{
		{dir, "", true},
		{dir + "/none", "", true}, // whoever mounts it says so
		{dir, "Directory", true},
		{file, "Directory", false},
		{dir + "/none", "Directory", false},
		{dir + "/made/deep", "DirectoryOrCreate", true},
		{file, "DirectoryOrCreate", false},
		{file, "File", true},
		{dir, "File", false},
		{dir + "/new", "FileOrCreate", true},
		{dir, "FileOrCreate", false},
		{dir + "/none/new", "FileOrCreate", false},
		{file, "Socket", false},
		{"/dev/null", "CharDevice", true},
		{"/dev/null", "BlockDevice", false},
		{file, "Nonsense", false},
		{"relative", "File", false},
	} {
		if err := checkHostPath(&pod.HostPath{Path: tt.path, Type: &tt.kind}); (err == nil) != tt.good {
			t.Errorf("%s as %q: %v", tt.path, tt.kind, err)
		}
	}
	if info, err := os.Stat(dir + "/made/deep"); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
}

func TestMounts(t *testing.T) {
	dir, outside, sandbox := t.TempDir(), t.TempDir(), t.TempDir()
	memory := sandbox + "/volumes/m"
	if err := errors.Join(os.MkdirAll(memory, 0o755), os.Symlink(outside, dir+"/link"), os.Symlink(outside, memory+"/link")); err != nil {
		t.Fatal(err)
	}
	volumes := map[string]Volume{"v": {Dir: dir}, "m": {Dir: "/volumes/m", Memory: true}, "r": {Dir: dir, ReadOnly: true}}
	env, err := pod.NewEnvironment(&pod.Pod{}, &pod.Container{Env: []pod.EnvVar{{Name: "N", Value: "x"}}}, pod.Facts{}, objects{})
	if err != nil {
		t.Fatal(err)
	}
	shared := "Bidirectional"
	for _, tt := range []struct {
		mount   pod.VolumeMount
		beneath string
		options string
		refused string
	}{
		{mount: pod.VolumeMount{Name: "v", MountPath: "/a/"}, options: "rbind rprivate rw"},
		{mount: pod.VolumeMount{Name: "v", MountPath: "/a", ReadOnly: true, MountPropagation: &shared}, options: "rbind rshared ro"},
		{mount: pod.VolumeMount{Name: "r", MountPath: "/a"}, options: "rbind rprivate ro"},
		{mount: pod.VolumeMount{Name: "v", MountPath: "/a", SubPath: "b/c"}, beneath: "b/c", options: "rbind rprivate rw"},
		{mount: pod.VolumeMount{Name: "v", MountPath: "/a", SubPathExpr: "d-$(N)"}, beneath: "d-x", options: "rbind rprivate rw"},
		{mount: pod.VolumeMount{Name: "v", MountPath: "/a", SubPathExpr: "$(NONE)"}, refused: "missing value"},
		{mount: pod.VolumeMount{Name: "v", MountPath: "/a", SubPath: "../x"}, refused: "must be relative"},
		{mount: pod.VolumeMount{Name: "v", MountPath: "/a", SubPath: "/x"}, refused: "must be relative"},
		{mount: pod.VolumeMount{Name: "v", MountPath: "/a", SubPath: "link/x"}, refused: "escapes"},
		{mount: pod.VolumeMount{Name: "v", MountPath: "/a", SubPath: "link"}, refused: "escapes"},
		{mount: pod.VolumeMount{Name: "m", MountPath: "/a", SubPath: "x/y"}, beneath: "x/y", options: "rbind rprivate rw"},
		{mount: pod.VolumeMount{Name: "m", MountPath: "/a", SubPath: "link/x"}, refused: "escapes"},
		{mount: pod.VolumeMount{Name: "none", MountPath: "/a"}, refused: "not one of the pod's"},
		{mount: pod.VolumeMount{Name: "v", MountPath: "/.."}, refused: "can't be mounted on /"},
	} {
		list, err := Mounts(&pod.Container{Name: "c", VolumeMounts: []pod.VolumeMount{tt.mount}}, volumes, sandbox, env)
		if tt.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%+v: %v", tt.mount, err)
			}
			continue
		}
		if err != nil || list[0].Target != "/a" || list[0].Beneath != tt.beneath || !slices.Equal(list[0].Options, strings.Fields(tt.options)) {
			t.Errorf("%+v: %+v, %v", tt.mount, list, err)
		}
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("something was made outside: %v", entries)
	}
	for _, made := range []string{dir + "/b/c", memory + "/x/y"} {
		if _, err := os.Stat(made); err != nil {
			t.Error(err)
		}
	}
}

func TestInMemory(t *testing.T) {
	size, group := pod.Quantity("1Mi"), int64(7)
	m := maker(t, nil, pod.Volume{Name: "a", EmptyDir: &pod.EmptyDir{Medium: "Memory", SizeLimit: &size}}, pod.Volume{Name: "b", EmptyDir: &pod.EmptyDir{}},
		pod.Volume{Name: "s", Secret: &pod.Secret{SecretName: "x"}})
	if got := m.InMemory(); len(got) != 2 || got["/volumes/a"] != "mode=0777,size=1048576" || got["/volumes/s"] != "mode=0755" {
		t.Errorf("%v", got)
	}
	m.Pod.Spec.SecurityContext = &pod.PodSecurityContext{FSGroup: &group}
	if got := m.InMemory(); got["/volumes/a"] != "mode=02777,gid=7,size=1048576" || got["/volumes/s"] != "mode=02755,gid=7" {
		t.Errorf("%v", got)
	}
}

// A container with powers over the sandbox's tree leads us nowhere else, and has us wait for nothing.
func TestHostileSandbox(t *testing.T) {
	o := objects{"s": {"a": "1"}}
	m := maker(t, o, pod.Volume{Name: "v", Secret: &pod.Secret{SecretName: "s"}})
	sandbox, host := t.TempDir(), t.TempDir()
	volumes := filepath.Join(sandbox, "volumes")
	if err := errors.Join(os.MkdirAll(filepath.Join(volumes, "v"), 0o700), os.WriteFile(filepath.Join(host, "precious"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	made, err := m.Make(sandbox)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(volumes, "v", "..data", "a")
	if err := errors.Join(os.Remove(name), syscall.Mkfifo(name, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := m.Refresh(made, sandbox); err != nil || read(t, filepath.Join(volumes, "v", "a")) != "1" {
		t.Errorf("instead of a FIFO: %v", err)
	}
	for _, link := range []string{"volumes/v", "volumes"} {
		if err := errors.Join(os.RemoveAll(filepath.Join(sandbox, link)), os.Symlink(host, filepath.Join(sandbox, link))); err != nil {
			t.Fatal(err)
		}
		if err := m.Refresh(made, sandbox); err == nil {
			t.Errorf("%s leads out of the sandbox, and was followed", link)
		}
		if list, err := os.ReadDir(host); err != nil || len(list) != 1 {
			t.Errorf("%s: on the host there is now %v, %v", link, list, err)
		}
	}
}

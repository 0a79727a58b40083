package image_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/minipod/minipod/image/registry/registrytest"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/state"
)

// TestPullKilled kills pulls at a dozen moments. Whatever they leave, the next one succeeds, and is the better for it.
func TestPullKilled(t *testing.T) {
	if name := os.Getenv("MINIPOD_TEST_PULL"); name != "" { // the one that is killed
		h := &home{t: t, dirs: state.Dirs{Data: os.Getenv("MINIPOD_TEST_DATA")}}
		h.store, _ = store.Open(h.dirs)
		h.mustPull(name)
		return
	}
	r, h := registrytest.New(t), newHome(t)
	var layers []registrytest.Layer
	for i := range 4 {
		layers = append(layers, registrytest.Tar(t, map[string][]byte{fmt.Sprint(i): noise(uint64(i), 2<<20)}).Gzip())
	}
	r.Push("app", "v1", host(), layers...)
	r.Break(func(w http.ResponseWriter, q *http.Request) bool { // 2 MiB in 100 ms
		if !registrytest.IsBlob(q, "") {
			return false
		}
		r.Good(slow{w}, q)
		return true
	})
	name := r.Host + "/app:v1"
	for i := range 12 {
		child := exec.Command(os.Args[0], "-test.run=^TestPullKilled$")
		child.Env = append(os.Environ(), "MINIPOD_TEST_PULL="+name, "MINIPOD_TEST_DATA="+h.dirs.Data)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(10+17*i) * time.Millisecond)
		child.Process.Kill()
		child.Wait()
		if _, err := h.store.List(); err != nil {
			t.Errorf("after kill %d: %v", i, err)
		}
	}
	r.Break(nil)
	img, _ := h.mustPull(name)
	for i := range layers {
		if h.read(img, fmt.Sprint(i)) != string(noise(uint64(i), 2<<20)) {
			t.Errorf("layer %d has other content", i)
		}
	}
	if _, err := h.store.Collect(t.Context()); err != nil { // the trees that the killed ones had begun
		t.Error(err)
	}
	for _, left := range h.left() {
		if strings.HasPrefix(left, "tmp/") || strings.HasPrefix(left, "layers/.") {
			t.Errorf("left: %s", left)
		}
	}
}

// slow writes in drops.
type slow struct{ http.ResponseWriter }

func (s slow) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		drop := p[:min(len(p), 64<<10)]
		var m int
		m, err = s.ResponseWriter.Write(drop)
		s.ResponseWriter.(http.Flusher).Flush()
		n += m
		p = p[len(drop):]
		time.Sleep(3 * time.Millisecond)
	}
	return n, err
}

// TestPullFromDockerRegistry pulls genuine images that skopeo pushed to Debian's docker-registry.
func TestPullFromDockerRegistry(t *testing.T) {
	server, err := exec.LookPath("docker-registry")
	if err != nil {
		if server = "/usr/sbin/docker-registry"; !executable(server) {
			t.Skip("docker-registry is not installed")
		}
	}
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo is not installed")
	}
	layout, err := filepath.Abs("../../shared/images/alpine")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(layout); err != nil {
		t.Skip("there is no genuine image in ../shared/images/alpine")
	}
	address := startRegistry(t, server)
	for tag, arg := range map[string]string{"3.20.3": "oci", "docker": "v2s2"} {
		push := exec.Command("skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "--format", arg,
			"oci:"+layout+":3.20.3", "docker://"+address+"/library/alpine:"+tag)
		if out, err := push.CombinedOutput(); err != nil {
			t.Fatalf("skopeo: %v: %s", err, out)
		}
	}
	h := newHome(t)
	for _, tag := range []string{"3.20.3", "docker"} { // OCI's and docker's manifest of the same layer
		img, report := h.mustPull(address + "/library/alpine:" + tag)
		if got := strings.TrimSpace(h.read(img, "etc/alpine-release")); got != "3.20.3" {
			t.Errorf("%s is alpine %q", tag, got)
		}
		if tag == "docker" && report.Downloaded() != 0 {
			t.Errorf("the same layer was downloaded again")
		}
	}
	out, err := exec.Command("skopeo", "inspect", "oci:"+h.dirs.Images()+":"+address+"/library/alpine:3.20.3").CombinedOutput()
	if err != nil {
		t.Errorf("skopeo does not read the store: %v: %s", err, out)
	}
}

func executable(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode()&0o111 != 0
}

// startRegistry runs a docker-registry on a free port until the test ends.
func startRegistry(t *testing.T, server string) (address string) {
	t.Helper()
	dir := t.TempDir()
	settings := filepath.Join(dir, "config.yml")
	text := "version: 0.1\nlog: {level: info, formatter: json}\nhttp: {addr: \"127.0.0.1:0\"}\nstorage: {filesystem: {rootdirectory: " + dir + "}}\n"
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(server, "serve", settings)
	command.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	log, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
	})
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if _, rest, found := strings.Cut(lines.Text(), "listening on "); found {
			address, _, _ = strings.Cut(rest, `"`)
			go func() {
				for lines.Scan() { // its log must not block it
				}
			}()
			return strings.TrimSuffix(address, ",")
		}
	}
	t.Fatalf("docker-registry did not start: %v", lines.Err())
	return ""
}

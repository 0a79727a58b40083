package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is the CLI: started under the name minipod it runs main, stages and all. `make test` names a real
// registry in $MINIPOD_REGISTRY (scripts/registry); a plain `go test` fills one in memory.
func TestMain(m *testing.M) {
	testscript.Main(withRegistry{m}, map[string]func(){"minipod": main, "watcher": watch, "podctl": podctl})
}

// withRegistry runs the tests beside a registry that holds library/alpine and library/busybox.
type withRegistry struct{ tests *testing.M }

func (w withRegistry) Run() int {
	if os.Getenv("MINIPOD_REGISTRY") != "" {
		return w.tests.Run()
	}
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range") // of which it knows another form than we send
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	if err := fill(address); err != nil {
		fmt.Fprintln(os.Stderr, "fill the test registry:", err)
		return 1
	}
	os.Setenv("MINIPOD_REGISTRY", address)
	return w.tests.Run()
}

// fill pushes the genuine Alpine where its layout stands beside the repository, and images of this machine's busybox.
func fill(address string) error {
	work, err := os.MkdirTemp("", "made-images")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for repository, tag := range map[string]string{"debian-busybox": "latest", "busybox": "latest", "alpine": "3.20.3"} {
		dir := genuineAlpine
		if repository != "alpine" || !hasGenuineAlpine() {
			dir = filepath.Join(work, repository)
			if out, err := exec.Command("scripts/make-image", dir, repository).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
		if err := push(dir, address+"/library/"+repository+":"+tag); err != nil {
			return err
		}
	}
	return nil
}

// push copies the one image of an OCI layout to a registry.
func push(layoutDir, name string) error {
	index, err := layout.ImageIndexFromPath(layoutDir)
	if err != nil {
		return err
	}
	manifests, err := index.IndexManifest()
	if err != nil {
		return err
	}
	image, err := index.Image(manifests.Manifests[0].Digest)
	if err != nil {
		return err
	}
	return crane.Push(image, name, crane.Insecure)
}

const genuineAlpine = "../shared/images/alpine"

func hasGenuineAlpine() bool {
	_, err := os.Stat(genuineAlpine)
	return err == nil
}

// TestScripts runs the stories in testdata/script. Beside testscript's own commands they have
//
//	exits STATUS COMMAND…   the command must end with this very status
//	nothing-left            no container, temporary file or half-made layer may be in the data folder
//	until COMMAND…          repeats the command until it succeeds, for at most a minute
//
// and the variables REGISTRY, ALPINE and BUSYBOX.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: false,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			for _, v := range environment(home) {
				name, value, _ := strings.Cut(v, "=")
				env.Setenv(name, value)
			}
			// Layers belong to the user's subordinate ids, which only minipod can remove again.
			env.Defer(func() {
				if err := removeAll(home); err != nil {
					env.T().Fatal("remove the story's home: ", err)
				}
			})
			return os.MkdirAll(home, 0o700)
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "genuine-alpine":
				return hasGenuineAlpine(), nil
			case "static":
				return static()
			case "nginx":
				_, err := crane.Head(os.Getenv("MINIPOD_REGISTRY")+"/library/nginx", crane.Insecure)
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":        exits,
			"nothing-left": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(nothingLeft(ts.Getenv("HOME"))) },
			"until":        until,
		},
	})
}

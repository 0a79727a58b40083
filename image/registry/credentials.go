package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
)

// credentialFiles are where docker login and podman login leave what they learn, the most deliberate first. We look
// into all that exist, since one user may have both programs; authn.DefaultKeychain stops at the first file.
func credentialFiles(getenv func(string) string) []string {
	var files []string
	add := func(dir string, name ...string) {
		if dir != "" {
			files = append(files, filepath.Join(append([]string{dir}, name...)...))
		}
	}
	add(getenv("REGISTRY_AUTH_FILE"))
	home := getenv("HOME")
	if dir := getenv("DOCKER_CONFIG"); dir != "" {
		add(dir, "config.json")
	} else {
		add(home, ".docker", "config.json")
	}
	add(getenv("XDG_RUNTIME_DIR"), "containers", "auth.json")
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		add(dir, "containers", "auth.json")
	} else {
		add(home, ".config", "containers", "auth.json")
	}
	return files
}

// credentials returns what to show host when asking for repository, and where it came from ("" if anonymous).
func credentials(files []string, host, repository string) (authn.Authenticator, string, error) {
	for _, name := range files {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", fmt.Errorf("read credentials: %w: %w", ErrDenied, err)
		}
		auths, err := config.LoadFromReader(f)
		f.Close()
		if err != nil {
			return nil, "", hint.Wrap(fmt.Errorf("read credentials in %s: %w: %w", name, ErrDenied, err), "correct "+name+", or remove it and log in again")
		}
		found, err := lookUp(auths, host, repository)
		if err != nil {
			return nil, "", hint.Wrap(fmt.Errorf("ask the credential helper that %s names: %w: %w", name, ErrDenied, err),
				"install that helper, or log in without it: podman login "+host)
		}
		if found.Username != "" || found.Auth != "" || found.IdentityToken != "" || found.RegistryToken != "" {
			return authn.FromConfig(authn.AuthConfig{
				Username: found.Username, Password: found.Password, Auth: found.Auth,
				IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken,
			}), name, nil
		}
	}
	return authn.Anonymous, "", nil
}

// lookUp finds the entry for the longest prefix of host/repository, as containers-auth.json(5) has it; docker's own
// files know hosts alone. A credential helper is asked only for the host that it is configured for.
func lookUp(auths *configfile.ConfigFile, host, repository string) (types.AuthConfig, error) {
	hosts, key := []string{host}, host
	if isDockerHub(host) {
		hosts, key = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}, authn.DefaultAuthKey
	}
	for path := "/" + repository; ; path = path[:strings.LastIndexByte(path, '/')] {
		for entry, a := range auths.AuthConfigs {
			for _, h := range hosts {
				if bareKey(entry) == strings.TrimSuffix(h+path, "/") && (a.Username != "" || a.IdentityToken != "" || a.RegistryToken != "") {
					return a, nil
				}
			}
		}
		if path == "" {
			break
		}
	}
	for _, h := range append(hosts, key) {
		if auths.CredentialHelpers[h] != "" {
			return auths.GetAuthConfig(h)
		}
	}
	if auths.CredentialsStore != "" {
		return auths.GetAuthConfig(key)
	}
	return types.AuthConfig{}, nil
}

// bareKey strips what old versions of docker put around a host: https://index.docker.io/v1/.
func bareKey(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	key = strings.TrimSuffix(key, "/")
	return strings.TrimSuffix(strings.TrimSuffix(key, "/v1"), "/v2")
}

func isDockerHub(host string) bool {
	return host == "docker.io" || host == "index.docker.io" || host == "registry-1.docker.io"
}

package seccomp

import (
	"errors"
	"fmt"
	"os"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"codeberg.org/minipod/minipod/internal/hint"
)

// Default returns Docker's default profile for a process whose bounding set holds these capabilities, on this
// machine's kernel and architecture: a container with CAP_SYS_ADMIN, for example, may call mount.
func Default(capabilities []string) (*specs.LinuxSeccomp, error) {
	profile, err := seccomp.GetDefaultProfile(process(capabilities))
	if err != nil {
		return nil, fmt.Errorf("default seccomp profile: %w", err)
	}
	return profile, nil
}

// Load reads a profile file in Docker's format, whose rules may depend on capabilities, or in the OCI's.
func Load(file string, capabilities []string) (*specs.LinuxSeccomp, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("seccomp profile: %w", err), "check the path given to --security-opt seccomp=")
	}
	profile, err := Parse(text, capabilities)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile %s: %w", file, err)
	}
	return profile, nil
}

// Parse is Load of a file's text.
func Parse(text []byte, capabilities []string) (*specs.LinuxSeccomp, error) {
	profile, err := seccomp.LoadProfile(string(text), process(capabilities))
	if err == nil && profile == nil {
		// Docker takes {} for "unconfined"; a protection should not vanish by a slip in a file.
		err = errors.New("it has neither a default action nor rules")
	}
	return profile, hint.Wrap(err, "start from https://github.com/moby/profiles/blob/main/seccomp/default.json, or use seccomp=unconfined")
}

// process is all that the moby package wants to know of a container.
func process(capabilities []string) *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}}}
}

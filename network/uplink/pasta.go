package uplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	stdruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
)

// pastaDate is that of the oldest version of pasta that will do: Ubuntu 24.04's, of the time when podman made it its default.
var pastaDate = time.Date(2024, 2, 20, 0, 0, 0, 0, time.UTC)

// PastaOptions say where pasta goes.
type PastaOptions struct {
	// Path is the program's, "" is looked for in PATH.
	Path string
	// User is the user namespace that owns Net, the network namespace that pasta makes its device in: files of /proc/PID/ns. It is nil
	// where that is the caller's own, which nobody can join again.
	User, Net *os.File
}

// FindPasta returns the path of a pasta that is new enough. The error says what is wrong with what there is, if anything.
func FindPasta(ctx context.Context) (path string, err error) {
	path, err = exec.LookPath("pasta")
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("look for pasta: %w", err), "install the package passt")
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	const newer = "install a newer passt from https://passt.top"
	date, err := pastaVersion(string(out))
	if err != nil { // Debian 12's says "unknown version"
		return "", hint.Wrap(fmt.Errorf("ask %s for its version: %w", path, err), newer)
	}
	if date.Before(pastaDate) {
		return "", hint.Wrap(fmt.Errorf("%s is of %s, before %s: %w", path, date.Format(time.DateOnly), pastaDate.Format(time.DateOnly), errors.ErrUnsupported), newer)
	}
	return path, nil
}

// pastaVersion finds the date in what `pasta --version` prints: "pasta 2024_09_06.6b38f07", or, as Debian packages it,
// "pasta 0.0~git20240220.1e6f92b-1".
func pastaVersion(text string) (time.Time, error) {
	for _, word := range strings.Fields(text) {
		digits := strings.ReplaceAll(strings.TrimPrefix(word, "0.0~git"), "_", "")
		digits, _, _ = strings.Cut(digits, ".")
		if date, err := time.Parse("20060102", digits); err == nil {
			return date, nil
		}
	}
	return time.Time{}, fmt.Errorf("no date in %s", strconv.Quote(strings.TrimSpace(text)))
}

// Pasta runs pasta for a network namespace until ctx ends, then returns nil: it makes a device there with the host's own
// address and routes, and carries its packets. Only packets from that address: see MasqueradeRules. This host's loopback is
// out of reach. An error says how pasta ended by itself.
func Pasta(ctx context.Context, o PastaOptions) error {
	path := o.Path
	if path == "" {
		found, err := FindPasta(ctx)
		if err != nil {
			return err
		}
		path = found
	}
	// Descriptors 3 and 4. It drops its privileges before it opens these, so a path of ours might be out of its reach.
	namespaces, files := []string{"--netns", "/proc/self/fd/3", "--netns-only"}, []*os.File{o.Net}
	if o.User != nil {
		namespaces, files = []string{"--netns", "/proc/self/fd/3", "--userns", "/proc/self/fd/4"}, []*os.File{o.Net, o.User}
	}
	cmd := exec.CommandContext(ctx, path, append(namespaces, "--foreground", "--quiet", "--config-net", "--no-map-gw", "--no-netns-quit",
		"--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none")...)
	cmd.ExtraFiles = files
	var said bytes.Buffer
	cmd.Stderr = &limitedBuffer{&said, 4 << 10}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}

	stdruntime.LockOSThread() // whose end would be the parent's death
	defer stdruntime.UnlockOSThread()
	if err := start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	err := cmd.Wait()
	switch text := strings.TrimSpace(said.String()); {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		return fmt.Errorf("%s ended by itself", path)
	case text != "":
		return fmt.Errorf("run %s: %w: %s", path, err, text)
	default:
		return fmt.Errorf("run %s: %w", path, err)
	}
}

// start starts cmd with SIGPIPE's default, which pasta expects. What is ignored stays so across execve(2), and we may have
// been started with SIGPIPE ignored; a signal that somebody is notified of is not ignored, and gets its default back.
func start(cmd *exec.Cmd) error {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	return cmd.Start()
}

// A limitedBuffer keeps the beginning of what a program says.
type limitedBuffer struct {
	*bytes.Buffer
	left int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	b.Buffer.Write(p[:n])
	return len(p), nil
}
